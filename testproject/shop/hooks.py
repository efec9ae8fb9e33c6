"""Hooks that the shop's migrations run."""

from typing import Any

import psycopg

from django_confiture import Hook, HookContext, HookPhase, HookResult


class BackfillCustomerLifetimeValue(Hook):
    """Fill the read model ``r_customer_lifetime_value`` from the orders.

    One ``INSERT … SELECT`` reads all orders and their lines and writes a row for each customer
    who has an order that was not cancelled. The table was created in the same migration, so
    no one else can see it yet and nothing has to be merged with rows that are already there.

    Backwards there is nothing to do: the migration drops the table.
    """

    phase = HookPhase.AFTER_DDL
    directions = ("forward",)

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:  # noqa: ARG002
        """Insert the rows inside the migration's transaction and report how many they were."""
        cursor = conn.execute("""
            INSERT INTO r_customer_lifetime_value
                (customer_id, order_count, lifetime_value, last_order_at)
            SELECT o.customer_id,
                   count(DISTINCT o.id),
                   sum(l.quantity * l.unit_price),
                   max(o.placed_at)
              FROM shop_order AS o
              JOIN shop_orderline AS l ON l.order_id = o.id
             WHERE o.status <> 'cancelled'
             GROUP BY o.customer_id
        """)
        return HookResult(
            phase=self.phase.name,
            hook_name=type(self).__name__,
            rows_affected=cursor.rowcount,
        )
