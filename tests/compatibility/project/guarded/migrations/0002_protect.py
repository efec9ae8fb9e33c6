import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

COMPILED = pgtrigger.compiler.Trigger(
    name="even_numbers",
    sql=pgtrigger.compiler.UpsertTriggerSql(
        func="NEW.number := NEW.number * 2; RETURN NEW;",
        hash="even",
        operation="UPDATE OF number",
        pgid="pgtrigger_even_numbers_guard",
        table="guarded_account",
        when="BEFORE",
    ),
)


class Migration(migrations.Migration):
    dependencies = [("guarded", "0001_initial")]
    operations = [
        pgtrigger.migrations.AddTrigger("account", COMPILED),
        migrations.RunSQL("UPDATE guarded_account SET number = number", migrations.RunSQL.noop),
        migrations.AlterField("account", "number", models.BigIntegerField(default=0)),
    ]
