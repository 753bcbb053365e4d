"""Agents that come one by one or in bulk: what a registration must have, and what an import would change.

Rule 1: an agent has an owner, a team, a cost centre, a purpose, an environment and a budget (its own or its
        team's default), or it is not registered; the mistake names the tag and says what to write.
Rule 2: all mistakes of a file are found in one reading; while there is one, nothing of it is registered.
Rule 3: the configuration file has the last word: what it defines is changed there, never by an import.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping

import msgspec

from aegis_gateway.domain.registry import Agent, Registry

ID_CHARACTERS_MAX = 64
TEXT_CHARACTERS_MAX = 500
TAGS_MAX = 50
ROWS_MAX = 10_000
CSV_BYTES_MAX = 5 * 1024 * 1024

TAG_COLUMN = "tag:"
COLUMNS = (
    "id", "owner", "team", "cost_centre", "purpose", "environment", "project", "budget", "external_id", "role",
)  # fmt: skip
COLUMNS_NEEDED = ("owner", "team", "cost_centre", "purpose", "environment")

_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
_NAMES_LISTED_MAX = 8
_CELLS_MAX = 200


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one tag of one agent, and what to write instead. Row 1 of a file is its header.

    The message continues the sentence that the column's name begins: `owner` *is missing*…
    """

    column: str
    message: str
    row: int | None = None

    def __str__(self) -> str:
        """As people read it: row 4: `owner` is missing…"""
        place = "" if self.row is None else f"row {self.row}: "
        subject = f"`{self.column}` " if self.column else ""
        return f"{place}{subject}{self.message}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One agent of a file, as it stands there: its row's number and its cells by column."""

    number: int
    fields: dict[str, str]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has: the rows that could be read, and what is wrong with the others."""

    rows: tuple[Row, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that an import would write: what it was, if it was there, and what it becomes."""

    agent: Agent
    before: Agent | None = None

    def fields(self) -> tuple[tuple[str, str, str], ...]:
        """The tags that change, each with its old and its new value."""
        if self.before is None:
            return ()
        return tuple(
            (name, _written(old), _written(new))
            for name in Agent.__struct_fields__
            if (old := getattr(self.before, name)) != (new := getattr(self.agent, name))
        )


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """What an import comes to. With a mistake in it, it comes to nothing."""

    created: tuple[Changed, ...] = ()
    updated: tuple[Changed, ...] = ()
    unchanged: tuple[Agent, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agents to be written."""
        return tuple(changed.agent for changed in (*self.created, *self.updated))


def check_agent(fields: Mapping[str, str], registry: Registry) -> Agent | list[Mistake]:
    """Make an agent of tags by name (`tag:NAME` for free ones), or say everything that is wrong with them."""
    values = {name: value.strip() for name, value in fields.items()}
    mistakes = [
        Mistake(column=name, message=problem)
        for name, value in values.items()
        if (problem := _text_problem(name, value))
    ]
    faulty = {mistake.column for mistake in mistakes}
    for name, check in _CHECKS:
        if name not in faulty and (problem := check(values, registry)):
            mistakes.append(Mistake(column=name, message=problem))
    if mistakes:
        return sorted(mistakes, key=lambda mistake: _place(mistake.column))
    team = registry.teams[values["team"]]
    return Agent(
        id=values["id"],
        owner=values["owner"],
        team=team.id,
        cost_centre=values["cost_centre"],
        purpose=values["purpose"],
        environment=values["environment"],
        budget=values.get("budget") or team.default_budget or "",
        project=values.get("project") or None,
        external_id=values.get("external_id") or None,
        tags={
            name.removeprefix(TAG_COLUMN): value
            for name, value in values.items()
            if name.startswith(TAG_COLUMN) and value
        },
        role=values.get("role", ""),
    )


def read_agents_csv(text: str) -> Rows:
    """The rows of a CSV file with commas or semicolons, with or without a byte-order mark.

    They are numbered as a spreadsheet numbers them: the header is row 1. Empty rows are left out. With a
    mistake in the header no row can be understood, so none is read.
    """
    text = text.removeprefix("\ufeff")
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True))
    except csv.Error as fault:
        return _unread(f"this is not CSV: {fault}; is a quote opened and never closed?")
    if not records or not any(cell.strip() for cell in records[0]):
        return _unread(f"the first row must name the columns: {_listed(COLUMNS)}", row=1)
    if len(records) - 1 > ROWS_MAX:
        return _unread(f"{len(records) - 1} rows are too many; import at most {ROWS_MAX} at a time")
    columns = [_column(cell) for cell in records[0]]
    mistakes = _header_mistakes(columns)
    if mistakes:
        return Rows(mistakes=tuple(mistakes))
    rows = []
    for number, cells in enumerate(records[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        problem = _shape_problem(columns, cells)
        if problem is None:
            cells += [""] * (len(columns) - len(cells))
            fields = {column: cell for column, cell in zip(columns, cells, strict=False) if column}
            rows.append(Row(number=number, fields=fields))
        else:
            mistakes.append(Mistake(row=number, column="", message=problem))
    if not rows and not mistakes:
        return _unread("no agents, only the header; write one agent in each row")
    return Rows(rows=tuple(rows), mistakes=tuple(mistakes))


def plan_import(read: Rows, registry: Registry, stored: Mapping[str, Agent]) -> Import:
    """What an import would change. `registry` is the configuration's, `stored` the agents imported before.

    An agent is known by its external id, where the row has one that is known, else by its id. Columns that
    the file does not have stay as they are; an empty cell clears.
    """
    by_external_id = {agent.external_id: agent for agent in stored.values() if agent.external_id}
    configured = {agent.external_id: agent.id for agent in registry.agents.values() if agent.external_id}
    created: list[Changed] = []
    updated: list[Changed] = []
    unchanged: list[Agent] = []
    mistakes = list(read.mistakes)
    ids: dict[str, int] = {}
    external_ids: dict[str, int] = {}
    for row in read.rows:
        fields = dict(row.fields)
        known = by_external_id.get(fields.get("external_id", "").strip())
        if known is not None and not fields.get("id", "").strip():
            fields["id"] = known.id
        before = known or stored.get(fields.get("id", "").strip())
        if before is not None:
            fields = {**_kept(before, fields), **fields}
        checked = check_agent(fields, registry)
        problems = [
            *_twice("id", fields.get("id", ""), row.number, ids),
            *_twice("external_id", fields.get("external_id", ""), row.number, external_ids),
        ]
        if isinstance(checked, list):
            problems += [(mistake.column, mistake.message) for mistake in checked]
        else:
            problems += _ownership_problems(checked, known, registry, configured)
        mistakes += [Mistake(row=row.number, column=column, message=words) for column, words in problems]
        if isinstance(checked, list) or problems:
            continue
        if before is None:
            created.append(Changed(agent=checked))
        elif before == checked:
            unchanged.append(checked)
        else:
            updated.append(Changed(agent=checked, before=before))
    if mistakes:
        return Import(mistakes=tuple(sorted(mistakes, key=lambda mistake: mistake.row or 0)))
    return Import(created=tuple(created), updated=tuple(updated), unchanged=tuple(unchanged))


def left_without(registry: Registry, stored: Iterable[Agent]) -> list[Mistake]:
    """Imported agents that a configuration would leave without their team, project or budget."""
    mistakes = []
    for agent in sorted(stored, key=lambda each: each.id):
        if agent.id in registry.agents:
            continue
        for kind, name, known in (
            ("team", agent.team, registry.teams),
            ("project", agent.project, registry.projects),
            ("budget", agent.budget, registry.budgets),
        ):
            if name is not None and name not in known:
                message = (
                    f"of imported agent `{agent.id}` is `{name}`, which this configuration does not have; "
                    f"keep the {kind}, or import the agent with another one first"
                )
                mistakes.append(Mistake(column=kind, message=message))
    return mistakes


def _kept(before: Agent, fields: Mapping[str, str]) -> dict[str, str]:
    """What an agent keeps of the columns that a file may leave out. A new team means that team's budget."""
    kept = {f"{TAG_COLUMN}{name}": value for name, value in before.tags.items()}
    kept["external_id"] = before.external_id or ""
    kept["role"] = before.role
    if fields.get("team", "").strip() == before.team:
        kept["budget"] = before.budget
        kept["project"] = before.project or ""
    return kept


def _id_problem(values: Mapping[str, str], _registry: Registry) -> str | None:
    name = values.get("id", "")
    if not name:
        return "is missing: what the agent is called; write one, as in invoice-matcher"
    return _unfit_id(name)


def _owner_problem(values: Mapping[str, str], _registry: Registry) -> str | None:
    missing = "is missing: who answers for the agent; write a person, as in ana@northbank.example"
    return None if values.get("owner") else missing


def _team_problem(values: Mapping[str, str], registry: Registry) -> str | None:
    team = values.get("team", "")
    if not team:
        return f"is missing: whose agent it is; write one of {_listed(registry.teams)}"
    if team not in registry.teams:
        return f"is `{_short(team)}`, and there is no such team; {_instead(team, registry.teams)}"
    return None


def _cost_centre_problem(values: Mapping[str, str], registry: Registry) -> str | None:
    if values.get("cost_centre"):
        return None
    team = registry.teams.get(values.get("team", ""))
    example = f"{team.cost_centre}, its team's" if team else "CC-1001"
    return f"is missing: who pays for the agent; write one, as in {example}"


def _purpose_problem(values: Mapping[str, str], _registry: Registry) -> str | None:
    missing = "is missing: what the agent is for; write it in a few words"
    return None if values.get("purpose") else missing


def _environment_problem(values: Mapping[str, str], _registry: Registry) -> str | None:
    environment = values.get("environment", "")
    if not environment:
        return "is missing: where the agent runs; write one, as in production"
    return _unfit_id(environment)


def _project_problem(values: Mapping[str, str], registry: Registry) -> str | None:
    project = values.get("project", "")
    if not project:
        return None
    if project not in registry.projects:
        return f"is `{_short(project)}`, and there is no such project; {_instead(project, registry.projects)}"
    owner, team = registry.projects[project].team, values.get("team", "")
    if team in registry.teams and owner != team:
        return f"is `{project}`, a project of team `{owner}`, not of `{team}`"
    return None


def _budget_problem(values: Mapping[str, str], registry: Registry) -> str | None:
    budget, team = values.get("budget", ""), registry.teams.get(values.get("team", ""))
    if budget and budget not in registry.budgets:
        return f"is `{_short(budget)}`, and there is no such budget; {_instead(budget, registry.budgets)}"
    if not budget and team is not None and team.default_budget is None:
        known = _listed(registry.budgets)
        return f"is missing, and team `{team.id}` has no default budget; write one of {known}"
    return None


def _tags_problem(values: Mapping[str, str], _registry: Registry) -> str | None:
    tags = sum(name.startswith(TAG_COLUMN) for name in values)
    return f"are too many: {tags}; an agent has at most {TAGS_MAX}" if tags > TAGS_MAX else None


_CHECKS: tuple[tuple[str, Callable[[Mapping[str, str], Registry], str | None]], ...] = (
    ("id", _id_problem),
    ("owner", _owner_problem),
    ("team", _team_problem),
    ("cost_centre", _cost_centre_problem),
    ("purpose", _purpose_problem),
    ("environment", _environment_problem),
    ("project", _project_problem),
    ("budget", _budget_problem),
    ("tags", _tags_problem),
)
"""What an agent must have, and what must be there for it to refer to."""


def _unfit_id(name: str) -> str | None:
    if len(name) <= ID_CHARACTERS_MAX and _ID.fullmatch(name):
        return None
    fixed = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:ID_CHARACTERS_MAX]
    words = (
        f"is `{_short(name)}`, and ids are a-z, 0-9, `-`, `_` and `.`, at most {ID_CHARACTERS_MAX} of them"
    )
    return f"{words}; write {fixed}" if fixed else words


def _ownership_problems(
    agent: Agent, known: Agent | None, registry: Registry, configured: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    """Why this row may not write this agent."""
    external_id = agent.external_id or ""
    if agent.id in registry.agents:
        yield (
            "id",
            f"is `{agent.id}`, an agent of the configuration file; change it there and `aegis apply` it",
        )
    elif external_id in configured:
        other = configured[external_id]
        yield (
            "external_id",
            f"is `{_short(external_id)}`, that of agent `{other}` in the configuration file; change it there",
        )
    elif known is not None and known.id != agent.id:
        yield (
            "id",
            f"is `{agent.id}`, and external id `{_short(external_id)}` is that of agent `{known.id}`; "
            f"ids do not change: write {known.id}, or leave the id empty",
        )


def _twice(column: str, written: str, row: int, seen: dict[str, int]) -> list[tuple[str, str]]:
    """Whether a row above has the same, and remember this one."""
    value = written.strip()
    if not value or seen.setdefault(value, row) == row:
        return []
    return [(column, f"is `{_short(value)}`, as in row {seen[value]}; each agent has one row")]


def _text_problem(name: str, value: str) -> str | None:
    """What makes a value unfit to be stored and shown, whatever it is."""
    if name.startswith(TAG_COLUMN):
        tag = name.removeprefix(TAG_COLUMN)
        if problem := _unfit_id(tag):
            return f"has a name that {problem}"
    elif name not in COLUMNS:
        return f"is not a tag of agents; {_instead(name, COLUMNS)}"
    for position, character in enumerate(value, start=1):
        if unicodedata.category(character) in _INVISIBLE:
            return f"has the control character U+{ord(character):04X} at position {position}; remove it"
    if len(value) > TEXT_CHARACTERS_MAX:
        return f"has {len(value)} characters; write at most {TEXT_CHARACTERS_MAX}"
    return None


def _unread(message: str, *, row: int | None = None) -> Rows:
    return Rows(mistakes=(Mistake(row=row, column="", message=message),))


def _shape_problem(columns: list[str], cells: list[str]) -> str | None:
    """Why a row's values cannot be told apart."""
    if any(cell.strip() for cell in cells[len(columns) :]):
        return (
            f"{len(cells)} values, and the header names {len(columns)}; "
            "put quotes around a value that has a separator in it"
        )
    if any(cell.strip() for column, cell in zip(columns, cells, strict=False) if not column):
        return "a value stands in a column without a name; name the column, or remove the value"
    return None


def _separator(text: str) -> str:
    """A comma or a semicolon: whichever the header has more of."""
    header = text.partition("\n")[0]
    return ";" if header.count(";") > header.count(",") else ","


def _column(cell: str) -> str:
    """A column's name as it is meant: `Cost Centre` is cost_centre."""
    name = cell.strip()
    if name.lower().startswith(TAG_COLUMN):
        return TAG_COLUMN + name[len(TAG_COLUMN) :].strip()
    return re.sub(r"[\s-]+", "_", name.lower())


def _header_mistakes(columns: list[str]) -> list[Mistake]:
    if len(columns) > _CELLS_MAX:
        message = f"{len(columns)} columns are too many; at most {_CELLS_MAX} are read"
        return [Mistake(row=1, column="", message=message)]
    mistakes = []
    for place, column in enumerate(columns):
        if not column:
            continue  # a spreadsheet's empty column; a cell in it has no name and is not read
        problem = _text_problem(column, "")
        if problem is None and column in columns[:place]:
            problem = "stands in the header twice; leave one out"
        if problem is not None:
            mistakes.append(Mistake(row=1, column=_short(column), message=problem))
    guessed = {close for column in columns for close in _close(column, COLUMNS)}
    missing = [name for name in COLUMNS_NEEDED if name not in columns and name not in guessed]
    if "id" not in columns and "external_id" not in columns and not guessed & {"id", "external_id"}:
        missing.insert(0, "id")
    for name in missing:
        message = "is not in the header, and each agent must have it; add the column"
        mistakes.append(Mistake(row=1, column=name, message=message))
    return mistakes


def _place(column: str) -> tuple[int, str]:
    """Mistakes are told in the order of the columns."""
    return (COLUMNS.index(column) if column in COLUMNS else len(COLUMNS), column)


def _close(written: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(written.lower()[:200], sorted(known), n=1, cutoff=0.6)


def _instead(written: str, known: Iterable[str]) -> str:
    names = list(known)
    close = _close(written, names)
    return f"did you mean `{close[0]}`?" if close else f"there is {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    if not quoted:
        return "none yet"
    more = len(quoted) - _NAMES_LISTED_MAX
    return ", ".join(quoted[:_NAMES_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def _short(value: str) -> str:
    """A value as messages quote it, without what a terminal would obey."""
    shown = "".join(" " if unicodedata.category(each) in _INVISIBLE else each for each in value)
    return f"{shown[:60]}…" if len(shown) > 60 else shown


def _written(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in sorted(value.items()))
    return "" if value is None else str(value)
