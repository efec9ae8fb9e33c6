from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Account",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("number", models.IntegerField(default=0)),
            ],
        ),
        migrations.RunSQL(
            "INSERT INTO guarded_account (number) SELECT generate_series(1, 50)",
            migrations.RunSQL.noop,
        ),
    ]
