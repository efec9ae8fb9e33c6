"""A hook that notes each of its runs in a file, whatever becomes of the transaction."""

import json
import os
from pathlib import Path
from typing import Any

import psycopg

from django_confiture import Hook, HookContext, HookPhase, HookResult


class Note(Hook):
    """Notes migration, phase and so on; asks the database, to prove that it can."""

    phase = HookPhase.AFTER_DDL
    directions = ("forward", "backward")

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        phase = context.options["phase"]
        conn.execute("SELECT")
        note = [context.label, phase, context.direction, context.dry_run]
        with Path(os.environ["COMPAT_LOG"]).open("a", encoding="utf-8") as log:
            log.write(json.dumps(note) + "\n")
        return HookResult(phase=phase, hook_name="Note")
