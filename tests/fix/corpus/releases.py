"""What the running release can't live with."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES: list[Harmful] = [
    Harmful("field_renamed", """
        migrations.RenameField("order", "note", "remark"),
    """, "refused", "db_column"),
    Harmful("model_renamed", """
        migrations.RenameModel("Line", "Item"),
    """, "refused"),
]  # fmt: skip
