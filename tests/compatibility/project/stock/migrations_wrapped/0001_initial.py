from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [("contenttypes", "0001_initial")]
    operations = [
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("number", models.IntegerField(null=True)),
                ("code", models.CharField(max_length=10, null=True)),
            ],
        ),
        migrations.RunSQL(
            "INSERT INTO stock_item (number) SELECT generate_series(1, 50000)",
            migrations.RunSQL.noop,
        ),
    ]
