"""One hook, and something that is none."""

from django_confiture import Hook, HookPhase, HookResult

NOT_A_HOOK = "a string"


class Fine(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn, context):
        return HookResult(phase="AFTER_DDL", hook_name="Fine")
