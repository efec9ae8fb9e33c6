"""Fill the column that 0002 added, in batches."""

from django.db import migrations
from django.db.models import F, Max, Value
from django.db.models.functions import Concat

BATCH_SIZE = 50_000


def _update_in_batches(apps, schema_editor, search_text):
    orders = apps.get_model("shop", "Order").objects.using(schema_editor.connection.alias)
    last = orders.aggregate(last=Max("pk"))["last"] or 0
    for first in range(1, last + 1, BATCH_SIZE):
        batch = orders.filter(pk__range=(first, first + BATCH_SIZE - 1))
        batch.update(search_text=search_text)


def fill_search_text(apps, schema_editor):
    _update_in_batches(
        apps, schema_editor, Concat(F("number"), Value(" "), F("status"), Value(" "), F("currency"))
    )


def clear_search_text(apps, schema_editor):
    _update_in_batches(apps, schema_editor, None)


class Migration(migrations.Migration):
    dependencies = [("shop", "0008_order_public_id")]

    operations = [migrations.RunPython(fill_search_text, clear_search_text)]
