from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("confiture_history", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="dryrun",
            name="plan",
            field=models.JSONField(default=dict),
        ),
    ]
