"""Registering agents: what one must have, and what a file of them would change."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.application.agents import (
    ROWS_MAX,
    Changed,
    Import,
    Mistake,
    Row,
    Rows,
    check_agent,
    left_without,
    plan_import,
    read_agents_csv,
)
from aegis_gateway.domain.registry import BUILT_IN_QUANTITIES, Agent, Budget, Project, Registry, Team


def _budget(name: str) -> Budget:
    return Budget(
        id=name, owner="ana", deputy="ben", quantity="usd", limit=20_000_000_000, period="daily", zone="UTC"
    )


LOAN_BOT = Agent(
    id="loan-bot",
    owner="ana@northbank.example",
    team="lending",
    cost_centre="CC-1001",
    purpose="answers mortgage questions",
    environment="production",
    budget="lending-day",
    external_id="svc-0",
)
REGISTRY = Registry(
    tenant="northbank",
    name="North Bank",
    zone="UTC",
    teams={
        "lending": Team(
            id="lending", name="Lending", cost_centre="CC-1001", owner="ana", default_budget="lending-day"
        ),
        "treasury": Team(id="treasury", name="Treasury", cost_centre="CC-2040", owner="tom"),
    },
    projects={"mortgages": Project(id="mortgages", name="Mortgages", team="lending")},
    agents={"loan-bot": LOAN_BOT},
    connectors={},
    models={},
    quantities=BUILT_IN_QUANTITIES,
    budgets={"lending-day": _budget("lending-day"), "treasury-month": _budget("treasury-month")},
    rates={},
)
FIELDS = {
    "id": "matcher",
    "owner": "ben@northbank.example",
    "team": "lending",
    "cost_centre": "CC-1001",
    "purpose": "matches invoices",
    "environment": "production",
}
MATCHER = Agent(
    id="matcher",
    owner="ben@northbank.example",
    team="lending",
    cost_centre="CC-1001",
    purpose="matches invoices",
    environment="production",
    budget="lending-day",
)
HEADER = "id,owner,team,cost_centre,purpose,environment,external_id"


def checked(**changes: str) -> Agent | list[Mistake]:
    """The fields of an agent with some changed, checked. `__` stands for the colon of a tag."""
    return check_agent(
        {**FIELDS, **{name.replace("__", ":"): value for name, value in changes.items()}}, REGISTRY
    )


def told(mistakes: Agent | list[Mistake]) -> list[tuple[str, str]]:
    """Columns and messages of mistakes."""
    assert isinstance(mistakes, list)
    return [(mistake.column, mistake.message) for mistake in mistakes]


def planned(text: str, *stored: Agent) -> Import:
    """What importing a file's text would change."""
    return plan_import(read_agents_csv(text), REGISTRY, {agent.id: agent for agent in stored})


def stored(**changes: object) -> Agent:
    """An agent as it was imported before."""
    return msgspec.structs.replace(MATCHER, **changes)


def test_an_agent_with_all_its_tags() -> None:
    """What is given becomes an agent on its team's default budget; white space around it does not count."""
    assert MATCHER == checked(owner="  ben@northbank.example ")


def test_free_tags_and_what_may_be_left_out() -> None:
    """Tags, project, budget and external id are taken over; an empty tag is none."""
    expected = stored(
        budget="treasury-month", project="mortgages", external_id="svc-1", tags={"region": "eu"}
    )
    given = checked(
        budget="treasury-month", project="mortgages", external_id="svc-1", tag__region="eu", tag__old=""
    )
    assert expected == given


@pytest.mark.parametrize("tag", ["id", "owner", "team", "cost_centre", "purpose", "environment"])
def test_a_missing_tag_is_named(tag: str) -> None:
    """Whatever lacks, the mistake names it and says what to write."""
    ((column, message),) = told(checked(**{tag: " "}))
    assert (tag, True, True) == (column, message.startswith("is missing"), "write" in message)


def test_everything_that_lacks_is_told_at_once() -> None:
    """No tag at all: all of them are named, in the order of the columns."""
    expected = ["id", "owner", "team", "cost_centre", "purpose", "environment"]
    assert expected == [column for column, _ in told(check_agent({}, REGISTRY))]


def test_an_agent_needs_a_budget() -> None:
    """A team without a default budget leaves none to live on; one of its own does."""
    assert [
        (
            "budget",
            "is missing, and team `treasury` has no default budget; write one of `lending-day`, `treasury-month`",
        )
    ] == told(checked(team="treasury"))
    assert stored(team="treasury", budget="treasury-month") == checked(
        team="treasury", budget="treasury-month"
    )


def test_what_is_referred_to_must_be_there() -> None:
    """Unknown teams, budgets and projects are told with what was probably meant."""
    assert [
        ("team", "is `lendin`, and there is no such team; did you mean `lending`?"),
        ("project", "is `mortgage`, and there is no such project; did you mean `mortgages`?"),
        ("budget", "is `zzz`, and there is no such budget; there is `lending-day`, `treasury-month`"),
    ] == told(checked(team="lendin", project="mortgage", budget="zzz"))


def test_a_project_belongs_to_its_team() -> None:
    """A project of another team is refused."""
    assert [("project", "is `mortgages`, a project of team `lending`, not of `treasury`")] == told(
        checked(team="treasury", budget="treasury-month", project="mortgages")
    )


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("owner", "ana\x1b[31m", "has the control character U+001B at position 4; remove it"),
        ("purpose", "pays\nbills", "has the control character U+000A at position 5; remove it"),
        ("purpose", "safe\u202egnp.exe", "has the control character U+202E at position 5; remove it"),
        ("owner", "x" * 501, "has 501 characters; write at most 500"),
    ],
)
def test_text_that_a_terminal_or_a_table_would_stumble_over(column: str, value: str, words: str) -> None:
    """Control characters, line breaks, reversed text and novels are refused."""
    assert [(column, words)] == told(checked(**{column: value}))


def test_ids_are_ids() -> None:
    """An id that references could not use is refused with one that they could."""
    words = "and ids are a-z, 0-9, `-`, `_` and `.`, at most 64 of them"
    assert [("id", f"is `Invoice Matcher`, {words}; write invoice-matcher")] == told(
        checked(id="Invoice Matcher")
    )
    assert [("environment", f"is `Prod!`, {words}; write prod")] == told(checked(environment="Prod!"))
    assert [("tag:Cost Unit", f"has a name that is `Cost Unit`, {words}; write cost-unit")] == told(
        check_agent({**FIELDS, "tag:Cost Unit": "1"}, REGISTRY)
    )


def test_no_more_tags_than_an_agent_may_have() -> None:
    """Fifty tags are enough."""
    fields = {**FIELDS, **{f"tag:t{number}": "x" for number in range(51)}}
    assert [("tags", "are too many: 51; an agent has at most 50")] == told(check_agent(fields, REGISTRY))


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_as_spreadsheets_write_them(separator: str, mark: str, newline: str) -> None:
    """Commas or semicolons, with or without a byte-order mark, and headers as people write them."""
    lines = ["ID,Owner,Team,Cost Centre,Purpose,Environment,Tag:region", "a,b,lending,c,d,e,eu"]
    text = mark + newline.join(line.replace(",", separator) for line in lines) + newline
    fields = {
        "id": "a",
        "owner": "b",
        "team": "lending",
        "cost_centre": "c",
        "purpose": "d",
        "environment": "e",
        "tag:region": "eu",
    }
    assert Rows(rows=(Row(number=2, fields=fields),)) == read_agents_csv(text)


def test_rows_are_numbered_as_a_spreadsheet_numbers_them() -> None:
    """Empty rows count, and so does a value of two lines count as one row."""
    text = f'{HEADER}\n\na,b,lending,c,"two\nlines",e,\n,,\nz,b,lending,c,d,e\n'
    assert [3, 5] == [row.number for row in read_agents_csv(text).rows]


def test_a_header_that_is_wrong_is_told_alone() -> None:
    """What is misspelt, twice there, or not there at all, with what was probably meant."""
    text = "id,owner,owner,team,cost_center,enviroment,colour of hair\n1,2,3,4,5,6,7\n"
    assert [
        "row 1: `owner` stands in the header twice; leave one out",
        "row 1: `cost_center` is not a tag of agents; did you mean `cost_centre`?",
        "row 1: `enviroment` is not a tag of agents; did you mean `environment`?",
        "row 1: `colour_of_hair` is not a tag of agents; there is `id`, `owner`, `team`, `cost_centre`, "
        "`purpose`, `environment`, `project`, `budget` and 2 more",
        "row 1: `purpose` is not in the header, and each agent must have it; add the column",
    ] == [str(mistake) for mistake in read_agents_csv(text).mistakes]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first row must name the columns"),
        ("\n\n", "the first row must name the columns"),
        (f"{HEADER}\n", "no agents, only the header"),
        (f'{HEADER}\n"a,b\n', "this is not CSV"),
        (f"{HEADER}\n" + "a\n" * (ROWS_MAX + 1), f"{ROWS_MAX + 1} rows are too many"),
        (f"{HEADER}\na,b,lending,c,d,e,f,g\n", "8 values, and the header names 7"),
        (f"{HEADER},\na,b,lending,c,d,e,f,g\n", "a value stands in a column without a name"),
        ("x," * 300, "301 columns are too many"),
    ],
)
def test_files_that_cannot_be_read(text: str, words: str) -> None:
    """What is no table of agents is told as such."""
    (mistake,) = read_agents_csv(text).mistakes
    assert words in str(mistake)


def test_an_import_creates_updates_and_leaves_alone() -> None:
    """New agents, changed ones with what changes, and those that are as they were."""
    text = f"{HEADER}\nnew,ann,lending,CC,x,test,\nmatcher,eve,lending,CC-1001,matches invoices,production,\n"
    text += "same,ann,lending,CC,x,test,svc-9\n"
    same = Agent(
        id="same",
        owner="ann",
        team="lending",
        cost_centre="CC",
        purpose="x",
        environment="test",
        budget="lending-day",
        external_id="svc-9",
    )
    new = msgspec.structs.replace(same, id="new", external_id=None)
    found = planned(text, MATCHER, same)
    eve = Changed(agent=stored(owner="eve"), before=MATCHER)
    assert Import(created=(Changed(agent=new),), updated=(eve,), unchanged=(same,)) == found
    assert (("owner", "ben@northbank.example", "eve"),) == eve.fields()
    assert (new, eve.agent) == found.agents


def test_an_agent_is_known_by_its_external_id() -> None:
    """With a known external id the id may be left out; an id that is another one is refused."""
    known = stored(external_id="svc-7")
    by_external_id = planned(
        f"{HEADER}\n,ben@northbank.example,lending,CC-1001,new purpose,production,svc-7\n", known
    )
    assert (stored(external_id="svc-7", purpose="new purpose"),) == by_external_id.agents
    renamed = planned(f"{HEADER}\nother,ann,lending,CC,x,test,svc-7\n", known)
    assert [
        "row 2: `id` is `other`, and external id `svc-7` is that of agent `matcher`; "
        "ids do not change: write matcher, or leave the id empty"
    ] == [str(mistake) for mistake in renamed.mistakes]


def test_the_configuration_file_has_the_last_word() -> None:
    """Agents of the file are neither overwritten nor given away by their external id."""
    text = f"{HEADER}\nloan-bot,ann,lending,CC,x,test,\nother,ann,lending,CC,x,test,svc-0\n"
    assert [
        "row 2: `id` is `loan-bot`, an agent of the configuration file; change it there and `aegis apply` it",
        "row 3: `external_id` is `svc-0`, that of agent `loan-bot` in the configuration file; change it there",
    ] == [str(mistake) for mistake in planned(text).mistakes]


def test_the_same_agent_twice_in_a_file() -> None:
    """A second row for an agent is refused, by whichever of its names it comes."""
    text = f"{HEADER}\na,ann,lending,CC,x,test,svc-1\na,ann,lending,CC,x,test,svc-2\nb,,lending,CC,x,test,svc-1\n"
    assert [
        "row 3: `id` is `a`, as in row 2; each agent has one row",
        "row 4: `external_id` is `svc-1`, as in row 2; each agent has one row",
        "row 4: `owner` is missing: who answers for the agent; write a person, as in ana@northbank.example",
    ] == [str(mistake) for mistake in planned(text).mistakes]


def test_columns_that_are_not_there_stay_as_they_are() -> None:
    """A file without a column leaves what it says; an empty cell clears it."""
    known = stored(
        external_id="svc-7", budget="treasury-month", project="mortgages", tags={"a": "1", "b": "2"}
    )
    without = "id,owner,team,cost_centre,purpose,environment"
    line = "matcher,ben@northbank.example,lending,CC-1001,matches invoices,production"
    assert (known,) == planned(f"{without}\n{line}\n", known).unchanged
    cleared = planned(f"{without},budget,project,external_id,tag:a\n{line},,,,\n", known)
    assert (stored(tags={"b": "2"}),) == cleared.agents


def test_a_new_team_means_that_team_s_budget() -> None:
    """An agent that changes its team does not go on living on the old team's budget."""
    known = stored(team="treasury", budget="treasury-month")
    text = f"{HEADER}\nmatcher,ben@northbank.example,lending,CC-1001,matches invoices,production,\n"
    assert (MATCHER,) == planned(text, known).agents


def test_one_mistake_and_nothing_is_imported() -> None:
    """All mistakes of all rows are there, by row; the good rows wait for the bad ones."""
    text = f"{HEADER}\ngood,ann,lending,CC,x,test,\nbad,,lending,,x,test,\nlong,ann,lending,CC,x,test,,more\n"
    found = planned(text)
    assert ((), [(3, "owner"), (3, "cost_centre"), (4, "")]) == (
        found.agents,
        [(mistake.row, mistake.column) for mistake in found.mistakes],
    )


def test_a_configuration_may_not_leave_imported_agents_without() -> None:
    """Imported agents whose team, project or budget would go are named; those the file now defines are not."""
    homeless = stored(team="gone", project="gone-too", budget="lending-day")
    now_in_the_file = msgspec.structs.replace(LOAN_BOT, team="gone")
    assert [
        "`team` of imported agent `matcher` is `gone`, which this configuration does not have; "
        "keep the team, or import the agent with another one first",
        "`project` of imported agent `matcher` is `gone-too`, which this configuration does not have; "
        "keep the project, or import the agent with another one first",
    ] == [str(mistake) for mistake in left_without(REGISTRY, [homeless, now_in_the_file])]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300), st.booleans())
def test_any_text_is_read_or_told_of(text: str, with_header: bool) -> None:
    """Whatever is in a file, it ends in agents or in mistakes, never in an exception."""
    found = planned(f"{HEADER}\n{text}" if with_header else text)
    assert bool(found.mistakes) != bool(found.agents or found.unchanged)
