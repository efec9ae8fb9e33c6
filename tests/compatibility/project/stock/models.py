from django.db import models


class Item(models.Model):
    code = models.CharField(max_length=10, null=True)  # noqa: DJ001 - added to a table with rows

    class Meta:
        indexes = [models.Index(fields=["code"], name="stock_item_code")]  # noqa: RUF012

    def __str__(self) -> str:
        return str(self.code)
