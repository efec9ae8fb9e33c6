"""The shop after all of its migrations, the pending ones included."""

from django.contrib.postgres.functions import RandomUUID
from django.db import models


class Customer(models.Model):
    """A customer."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200)
    country = models.CharField(max_length=2)
    joined_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """Something that is sold."""

    sku = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    price = models.DecimalField(max_digits=10, decimal_places=2)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What a customer bought at one time."""

    class Status(models.TextChoices):
        """Where an order stands."""

        NEW = "new"
        PAID = "paid"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    number = models.CharField(max_length=20, unique=True)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    currency = models.CharField(max_length=3)
    placed_at = models.DateTimeField()
    # Nullable, so that adding it costs nothing; 0009 fills it.
    search_text = models.TextField(blank=True, null=True)  # noqa: DJ001
    public_id = models.UUIDField(db_default=RandomUUID(), editable=False, unique=True)

    class Meta:
        indexes = [  # noqa: RUF012
            models.Index(fields=["status", "placed_at"], name="shop_order_status_placed"),
        ]

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    """One product of an order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveSmallIntegerField()
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    pick_number = models.BigIntegerField(help_text="The warehouse's number for the pick.")

    class Meta:
        indexes = [  # noqa: RUF012
            models.Index(fields=["pick_number"], name="shop_orderline_pick_number"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of product {self.product_id}"


class CustomerLifetimeValue(models.Model):
    """Read model: what each customer has bought so far, cancelled orders left out."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True)
    order_count = models.PositiveIntegerField()
    lifetime_value = models.DecimalField(max_digits=14, decimal_places=2)
    last_order_at = models.DateTimeField()

    class Meta:
        db_table = "r_customer_lifetime_value"

    def __str__(self) -> str:
        return f"{self.lifetime_value} of customer {self.customer_id}"
