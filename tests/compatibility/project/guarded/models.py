from django.db import models


class Account(models.Model):
    number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.number)
