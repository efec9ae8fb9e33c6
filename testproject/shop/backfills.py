"""Rows of the shop that are filled in batches."""

from django.db.models import F, Q, Value
from django.db.models.functions import Concat

from django_confiture.backfills import Backfill


class FillSearchText(Backfill):
    """What the support team searches orders by."""

    model = "shop.Order"
    where = Q(search_text=None)
    values = {  # noqa: RUF012
        "search_text": Concat(F("number"), Value(" "), F("status"), Value(" "), F("currency")),
    }
