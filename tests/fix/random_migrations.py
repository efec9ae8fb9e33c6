"""Makes a random model with rows, and a random migration of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from tests.fix.corpus.harmful import Harmful

_ROWS = 3000


@dataclass(frozen=True)
class _Kind:
    """What columns of a type are like."""

    model_field: str
    value: str
    """SQL of the value of row ``i``."""
    default: str
    different: bool = False
    """Whether the rows' values differ."""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    wider: str = ""
    """The kind that its values fit into, too."""


_KINDS = {
    "small": _Kind("SmallIntegerField", "i", "1", different=True, wider="integer"),
    "integer": _Kind("IntegerField", "i", "2", different=True, wider="big"),
    "positive": _Kind("PositiveIntegerField", "i", "2", different=True, wider="big"),
    "big": _Kind("BigIntegerField", "i", "3", different=True),
    "char": _Kind(
        "CharField", "'t' || i", "'x'", different=True, options={"max_length": "20"}, wider="text"
    ),
    "text": _Kind("TextField", "'it''s %% ' || i", "''", different=True),
    "flag": _Kind("BooleanField", "i %% 2 = 0", "False"),
    "day": _Kind("DateField", "date '2026-01-01' + i %% 300", "datetime.date(2026, 5, 4)"),
    "price": _Kind(
        "DecimalField", "i / 4.0", "0", options={"max_digits": "12", "decimal_places": "2"}
    ),
    "data": _Kind("JSONField", "jsonb_build_object('n', i)", "dict"),
    "key": _Kind("UUIDField", "md5(i::text)::uuid", "uuid.UUID(int=5)", different=True),
}


@dataclass(frozen=True)
class _Column:
    kind: str
    null: bool = False
    db_index: bool = False
    unique: bool = False
    default: bool = False

    @property
    def source(self) -> str:
        kind = _KINDS[self.kind]
        options = dict(kind.options)
        for name in ("null", "db_index", "unique"):
            if getattr(self, name):
                options[name] = "True"
        if self.default:
            options["default"] = kind.default
        given = ", ".join(f"{name}={value}" for name, value in options.items())
        return f"models.{kind.model_field}({given})"

    @property
    def value(self) -> str:
        value = _KINDS[self.kind].value
        return f"CASE WHEN i %% 7 <> 0 THEN {value} END" if self.null else value


class _Migration:
    """Operations on a model whose columns change on the way."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.columns = {f"c{number}": self._column() for number in range(random.randint(3, 6))}
        self.operations: list[str] = []
        self.irreversible = False
        self._count = 0

    def _column(self) -> _Column:
        column = _Column(
            self.random.choice([*_KINDS]),
            null=self.random.random() < 0.4,
            db_index=self.random.random() < 0.2,
        )
        if _KINDS[column.kind].different and self.random.random() < 0.2:
            column = replace(column, unique=True, db_index=False)
        return column

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _one(self, wanted: Callable[[_Column], bool] = lambda _column: True) -> str | None:
        return self.random.choice([n for n, each in self.columns.items() if wanted(each)] or [None])

    def add_operation(self) -> None:
        """Add one operation, if there is a column for it."""
        self.random.choice(
            [
                self.add_index, self.add_check, self.add_unique, self.alter_field,
                self.alter_field, self.widen, self.add_field, self.add_foreign_key,
                self.remove_field, self.rename_field, self.unique_together, self.update_rows,
                self.index_in_sql,
            ]
        )()  # fmt: skip

    def add_index(self) -> None:
        names = self.random.sample([*self.columns], self.random.randint(1, 2))
        fields = [self.random.choice(["", "-"]) + each for each in names]
        where = ""
        if self.random.random() < 0.3:
            where = f", condition=models.Q({names[0]}__isnull=False)"
        index = f"models.Index(fields={fields}, name={self._name('i_')!r}{where})"
        self.operations.append(f'migrations.AddIndex("thing", {index}),')

    def add_check(self) -> None:
        if name := self._one(lambda column: column.kind in ("integer", "small", "big")):
            check = f"models.CheckConstraint(condition=models.Q({name}__gte=0), name="
            self.operations.append(
                f'migrations.AddConstraint("thing", {check}{self._name("k_")!r})),'
            )

    def add_unique(self) -> None:
        if name := self._one(lambda column: _KINDS[column.kind].different):
            unique = f"models.UniqueConstraint(fields=[{name!r}], name={self._name('u_')!r})"
            self.operations.append(f'migrations.AddConstraint("thing", {unique}),')

    def alter_field(self) -> None:
        name = self._one()
        assert name is not None
        column = self.columns[name]
        if column.null and self.random.random() < 0.5:
            column = replace(column, null=False, default=True)
        elif self.random.random() < 0.5:
            column = replace(column, db_index=not column.db_index and not column.unique)
        elif _KINDS[column.kind].different and not column.default:
            column = replace(column, unique=not column.unique, db_index=False)
        self._alter(name, column)

    def _alter(self, name: str, column: _Column) -> None:
        if column != self.columns[name]:
            self.columns[name] = column
            self.operations.append(f'migrations.AlterField("thing", {name!r}, {column.source}),')

    def widen(self) -> None:
        if name := self._one(lambda column: bool(_KINDS[column.kind].wider)):
            self.irreversible = True  # the names of its CHECK are others then
            column = self.columns[name]
            self._alter(name, replace(column, kind=_KINDS[column.kind].wider))

    def add_field(self) -> None:
        name = self._name("n")
        column = replace(self._column(), null=True)
        if self.random.random() < 0.3:
            column = replace(column, null=False, unique=False, default=True)
        self.columns[name] = replace(column, default=True)  # its rows are all the same
        self.operations.append(f'migrations.AddField("thing", {name!r}, {column.source}),')

    def add_foreign_key(self) -> None:
        key = 'models.ForeignKey("cases.customer", models.CASCADE, null=True, related_name="+")'
        self.operations.append(f'migrations.AddField("thing", {self._name("f")!r}, {key}),')

    def remove_field(self) -> None:
        if len(self.columns) > 2 and not self._used():
            name = self._one()
            assert name is not None
            del self.columns[name]
            self.irreversible = True
            self.operations.append(f'migrations.RemoveField("thing", {name!r}),')

    def rename_field(self) -> None:
        if not self._used():
            name, new = self._one(), self._name("r")
            assert name is not None
            self.columns[new] = self.columns.pop(name)
            self.operations.append(f'migrations.RenameField("thing", {name!r}, {new!r}),')

    def _used(self) -> bool:
        """Return whether indexes, constraints or scripts name columns already."""
        return any("fields=" in e or "Q(" in e or "RunSQL" in e or "Together" in e
                   for e in self.operations)  # fmt: skip

    def unique_together(self) -> None:
        if (name := self._one(lambda column: _KINDS[column.kind].different)) is not None:
            self.operations.append(
                f'migrations.AlterUniqueTogether("thing", {{({name!r}, "id")}}),'
            )

    def update_rows(self) -> None:
        name = self._one(lambda column: column.kind == "text" and not column.unique)
        if name is not None:
            sql = f"UPDATE cases_thing SET {name} = 'new ' || id WHERE id %% 2 = 0"
            sql = sql.replace("%%", "%")
            self.operations.append(f"migrations.RunSQL({sql!r}, migrations.RunSQL.noop),")

    def index_in_sql(self) -> None:
        if name := self._one(lambda column: column.kind != "data"):
            index = self._name("s_")
            sql = f"CREATE INDEX {index} ON cases_thing ({name})"
            self.operations.append(f"migrations.RunSQL({sql!r}, 'DROP INDEX {index}'),")


def random_migration(seed: int) -> Harmful:
    """Return a migration; the same for the same seed."""
    random = Random(seed)
    made = _Migration(random)
    fields = "".join(f"({name!r}, {each.source}), " for name, each in made.columns.items())
    names = ", ".join(made.columns)
    values = ", ".join(each.value for each in made.columns.values()).replace("%%", "%")
    insert = f"INSERT INTO cases_thing ({names}) SELECT {values} FROM generate_series(1, {_ROWS}) i"
    while len(made.operations) < random.randint(1, 4):
        made.add_operation()
    return Harmful(
        f"random_{seed}",
        "\n".join(made.operations),
        above="import datetime\nimport uuid\n",
        prepared=f'migrations.CreateModel("Thing", [KEY, {fields}]),\n'
        f"migrations.RunSQL({insert!r}, migrations.RunSQL.noop),",
        arguments=random.choice([(), ("--releases", "2")]),
        irreversible=made.irreversible,
    )
