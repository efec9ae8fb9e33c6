"""Enums of PostgreSQL's parse tree, with the values that the rules ask for.

The names are PostgreSQL's own (``parsenodes.h``), so that its sources and ours are found by the
same word; the values are the parser's.
"""

from __future__ import annotations

from enum import IntEnum

from django_confiture.dry_run.sql.parsing.library import pg


class AlterTableType(IntEnum):
    """``AlterTableCmd.subtype``: the subcommands of ALTER TABLE."""

    AddColumn = pg.AT_AddColumn
    ColumnDefault = pg.AT_ColumnDefault
    DropNotNull = pg.AT_DropNotNull
    SetNotNull = pg.AT_SetNotNull
    SetExpression = pg.AT_SetExpression
    DropExpression = pg.AT_DropExpression
    SetStatistics = pg.AT_SetStatistics
    SetOptions = pg.AT_SetOptions
    ResetOptions = pg.AT_ResetOptions
    SetStorage = pg.AT_SetStorage
    DropColumn = pg.AT_DropColumn
    AddConstraint = pg.AT_AddConstraint
    AlterConstraint = pg.AT_AlterConstraint
    ValidateConstraint = pg.AT_ValidateConstraint
    DropConstraint = pg.AT_DropConstraint
    AlterColumnType = pg.AT_AlterColumnType
    ChangeOwner = pg.AT_ChangeOwner
    ClusterOn = pg.AT_ClusterOn
    DropCluster = pg.AT_DropCluster
    SetLogged = pg.AT_SetLogged
    SetUnLogged = pg.AT_SetUnLogged
    SetRelOptions = pg.AT_SetRelOptions
    ResetRelOptions = pg.AT_ResetRelOptions
    ReplaceRelOptions = pg.AT_ReplaceRelOptions
    EnableTrig = pg.AT_EnableTrig
    EnableAlwaysTrig = pg.AT_EnableAlwaysTrig
    EnableReplicaTrig = pg.AT_EnableReplicaTrig
    DisableTrig = pg.AT_DisableTrig
    EnableTrigAll = pg.AT_EnableTrigAll
    DisableTrigAll = pg.AT_DisableTrigAll
    EnableTrigUser = pg.AT_EnableTrigUser
    DisableTrigUser = pg.AT_DisableTrigUser
    AddInherit = pg.AT_AddInherit
    DropInherit = pg.AT_DropInherit
    AttachPartition = pg.AT_AttachPartition
    DetachPartition = pg.AT_DetachPartition
    DetachPartitionFinalize = pg.AT_DetachPartitionFinalize
    AddIdentity = pg.AT_AddIdentity
    SetIdentity = pg.AT_SetIdentity
    DropIdentity = pg.AT_DropIdentity


TRIGGER_SWITCHES = frozenset(
    each for each in AlterTableType if each.name.startswith(("Enable", "Disable"))
)
"""The subcommands that enable and disable triggers."""


class ConstrType(IntEnum):
    """``Constraint.contype``, also of what stands in a column's definition."""

    NULL = pg.CONSTR_NULL
    NOTNULL = pg.CONSTR_NOTNULL
    DEFAULT = pg.CONSTR_DEFAULT
    IDENTITY = pg.CONSTR_IDENTITY
    GENERATED = pg.CONSTR_GENERATED
    CHECK = pg.CONSTR_CHECK
    PRIMARY = pg.CONSTR_PRIMARY
    UNIQUE = pg.CONSTR_UNIQUE
    EXCLUSION = pg.CONSTR_EXCLUSION
    FOREIGN = pg.CONSTR_FOREIGN
    ATTR_DEFERRABLE = pg.CONSTR_ATTR_DEFERRABLE
    ATTR_NOT_DEFERRABLE = pg.CONSTR_ATTR_NOT_DEFERRABLE
    ATTR_DEFERRED = pg.CONSTR_ATTR_DEFERRED
    ATTR_IMMEDIATE = pg.CONSTR_ATTR_IMMEDIATE


class ObjectType(IntEnum):
    """What DROP, RENAME, COMMENT and GRANT are about."""

    AGGREGATE = pg.OBJECT_AGGREGATE
    COLUMN = pg.OBJECT_COLUMN
    DOMAIN = pg.OBJECT_DOMAIN
    EXTENSION = pg.OBJECT_EXTENSION
    FOREIGN_TABLE = pg.OBJECT_FOREIGN_TABLE
    FUNCTION = pg.OBJECT_FUNCTION
    INDEX = pg.OBJECT_INDEX
    MATVIEW = pg.OBJECT_MATVIEW
    POLICY = pg.OBJECT_POLICY
    ROUTINE = pg.OBJECT_ROUTINE
    RULE = pg.OBJECT_RULE
    SCHEMA = pg.OBJECT_SCHEMA
    SEQUENCE = pg.OBJECT_SEQUENCE
    STATISTIC_EXT = pg.OBJECT_STATISTIC_EXT
    TABCONSTRAINT = pg.OBJECT_TABCONSTRAINT
    TABLE = pg.OBJECT_TABLE
    TRIGGER = pg.OBJECT_TRIGGER
    TYPE = pg.OBJECT_TYPE
    VIEW = pg.OBJECT_VIEW


RELATIONS = frozenset(
    (
        ObjectType.FOREIGN_TABLE,
        ObjectType.INDEX,
        ObjectType.MATVIEW,
        ObjectType.SEQUENCE,
        ObjectType.TABLE,
        ObjectType.VIEW,
    )
)
"""What has a row in ``pg_class``."""


class ReindexObjectType(IntEnum):
    """``ReindexStmt.kind``."""

    INDEX = pg.REINDEX_OBJECT_INDEX
    TABLE = pg.REINDEX_OBJECT_TABLE
    SCHEMA = pg.REINDEX_OBJECT_SCHEMA
    SYSTEM = pg.REINDEX_OBJECT_SYSTEM
    DATABASE = pg.REINDEX_OBJECT_DATABASE


class CmdType(IntEnum):
    """``MergeWhenClause.command_type``."""

    UPDATE = pg.CMD_UPDATE
    INSERT = pg.CMD_INSERT
    DELETE = pg.CMD_DELETE


class DropBehavior(IntEnum):
    """RESTRICT or CASCADE."""

    RESTRICT = pg.DROP_RESTRICT
    CASCADE = pg.DROP_CASCADE


class GrantTargetType(IntEnum):
    """``GrantStmt.targtype``."""

    OBJECT = pg.ACL_TARGET_OBJECT


class AlterPublicationAction(IntEnum):
    """``AlterPublicationStmt.action``."""

    SetObjects = pg.AP_SetObjects


class OnCommitAction(IntEnum):
    """``ON COMMIT`` of a temporary table."""

    DELETE_ROWS = pg.ONCOMMIT_DELETE_ROWS
    DROP = pg.ONCOMMIT_DROP
