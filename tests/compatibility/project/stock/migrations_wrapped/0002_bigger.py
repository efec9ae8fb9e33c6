from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stock", "0001_initial")]
    operations = [
        migrations.AlterField("item", "number", models.BigIntegerField(null=True)),
        migrations.RunSQL(
            "SELECT 1; ROLLBACK; BEGIN READ WRITE;"
            " UPDATE stock_item SET code = 'LEAK'; COMMIT; BEGIN",
            migrations.RunSQL.noop,
        ),
    ]
