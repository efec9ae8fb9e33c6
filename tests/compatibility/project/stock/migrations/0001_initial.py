from django.db import migrations, models

from django_confiture import RunHook


class Migration(migrations.Migration):
    initial = True
    dependencies = [("contenttypes", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=10, null=True)),
                (
                    "content_type",
                    models.ForeignKey("contenttypes.ContentType", models.CASCADE, null=True),
                ),
            ],
        ),
        migrations.RunSQL("INSERT INTO stock_item (name) VALUES ('a')", migrations.RunSQL.noop),
        RunHook("compat_hooks.Note", phase="AFTER_DDL", options={"phase": "RunHook"}),
    ]
