from django.db import migrations

from tests.recording import operation


class Migration(migrations.Migration):
    dependencies = []
    operations = [migrations.RunPython(operation, operation)]
