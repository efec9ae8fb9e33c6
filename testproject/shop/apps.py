"""The shop's app configuration."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """A shop with customers, products, orders and their lines."""

    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"
