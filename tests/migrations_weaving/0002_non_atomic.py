from django.db import migrations

from tests.recording import operation


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("cases", "0001_atomic")]
    operations = [migrations.RunPython(operation, operation, atomic=True)]
