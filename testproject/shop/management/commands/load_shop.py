"""``manage.py load_shop``: fill the shop with a wanted number of orders, always the same ones."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

BASE_MIGRATION = "0001_initial"
TABLES = "shop_customer, shop_product, shop_order, shop_orderline"
MAX_ORDERS = 500_000_000  # pick_number is an integer in the base schema

# The statements name only columns of the base schema, so they work before and after the pending
# migrations. What looks random is Knuth's multiplicative hash of the row's number,
# mod(i * 2654435761, 2^32): the same rows on every machine. Ids count from 1, as TRUNCATE
# restarted them.
INSERTS = (
    """
    INSERT INTO shop_customer (email, name, country, joined_at)
    SELECT 'customer' || i || '@example.com',
           'Customer ' || i,
           (ARRAY['DE', 'FR', 'ES', 'IT', 'NL', 'PL', 'SE', 'US'])[1 + mod(i, 8)],
           timestamptz '2022-01-01 00:00+00' + interval '365 days' * (i::float8 / %(customers)s)
      FROM generate_series(1, %(customers)s::bigint) AS i
    """,
    """
    INSERT INTO shop_product (sku, name, price)
    SELECT 'SKU-' || lpad(i::text, 8, '0'),
           'Product ' || i,
           1 + mod(i * 2654435761, 20000) / 100.0
      FROM generate_series(1, %(products)s::bigint) AS i
    """,
    # The square makes some customers order far more often than others.
    """
    INSERT INTO shop_order (number, customer_id, status, currency, placed_at)
    SELECT 'O' || lpad(i::text, 10, '0'),
           1 + floor(%(customers)s * (mod(i * 2654435761, 4294967296)::float8 / 4294967296) ^ 2),
           (ARRAY['new', 'paid', 'shipped', 'shipped', 'shipped', 'cancelled'])[1 + mod(i, 6)],
           (ARRAY['EUR', 'EUR', 'EUR', 'PLN', 'SEK', 'USD'])[1 + mod(i / 6, 6)],
           timestamptz '2023-01-01 00:00+00' + interval '1095 days' * (i::float8 / %(orders)s)
      FROM generate_series(1, %(orders)s::bigint) AS i
    """,
    # One to four lines an order, 2.5 on average.
    """
    INSERT INTO shop_orderline (order_id, product_id, quantity, unit_price, pick_number)
    SELECT i, p.id, 1 + mod(i + n, 3), p.price, 4 * i + n
      FROM generate_series(1, %(orders)s::bigint) AS i
     CROSS JOIN generate_series(0, mod(i, 4)) AS n
      JOIN shop_product AS p
        ON p.id = 1 + mod(mod((4 * i + n) * 2654435761, 4294967296), %(products)s)
    """,
)


def refuse_foreign_database() -> None:
    """Raise CommandError unless the database's name says that it is there to be overwritten.

    DATABASE_URL may well point to the database of a project that has its own shop.
    """
    name = connection.settings_dict["NAME"]
    if "confiture" not in name and not name.startswith("test_"):
        raise CommandError(
            f"The database {name!r} could hold real data: the shop replaces tables, so it only "
            "uses a database that has 'confiture' in its name, such as confiture_shop."
        )


class Command(BaseCommand):
    """Replace the shop's rows by a wanted number of orders and what belongs to them."""

    help = (
        "Replaces all rows of the shop by N orders, N/10 customers, N/100 products (at least 100) "
        "and 2.5 lines an order; the same N gives the same rows. Empties the read model."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the number of orders."""
        parser.add_argument(
            "--orders", type=int, default=200_000, metavar="N", help="Default: %(default)s."
        )

    def handle(self, *, orders: int, verbosity: int, **options: Any) -> None:  # noqa: ARG002
        """Load the rows in one transaction, then vacuum and analyze the tables."""
        if not 1 <= orders <= MAX_ORDERS:
            raise CommandError(f"--orders must be from 1 to {MAX_ORDERS}, not {orders}.")
        refuse_foreign_database()
        if ("shop", BASE_MIGRATION) not in MigrationRecorder(connection).applied_migrations():
            raise CommandError("The shop has no tables yet: run `manage.py migrate` first.")
        sizes = {
            "orders": orders,
            "customers": max(orders // 10, 1),
            "products": max(orders // 100, 100),
        }
        started = time.monotonic()
        with connection.cursor() as cursor:
            with transaction.atomic():
                cursor.execute(f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE")
                for statement in INSERTS:
                    cursor.execute(statement, sizes)
                lines = cursor.rowcount
            cursor.execute(f"VACUUM (ANALYZE) {TABLES}")
        if verbosity:
            self.stdout.write(
                f"Loaded {orders} orders, {lines} lines, {sizes['customers']} customers and "
                f"{sizes['products']} products in {time.monotonic() - started:.1f} s."
            )
