from __future__ import annotations

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.configuration.load import PolicyFile, load
from aegis_gateway.configuration.prices import NoPrices
from aegis_gateway.domain.adapts import Adapts
from aegis_gateway.domain.config_version import Watch
from aegis_gateway.domain.errors import ConfigurationError, Problem
from aegis_gateway.domain.money import UnitPrice
from aegis_gateway.domain.price import ModelPrice, Tier, ToolPrice
from aegis_gateway.domain.registry import Agent, Argument, Budget, Count, Quantity, Rate, Registry, Team
from aegis_gateway.domain.window import Window
from tests.unit.configuration.example_document import DOCUMENT, loaded, told, written

DOLLAR = 1_000_000_000
LIST_PRICE = ModelPrice(
    tiers=(
        Tier(
            above_input_tokens=0,
            prices={"input": UnitPrice(nano_usd=1), "output": UnitPrice(nano_usd=2)},
        ),
    ),
    source="list",
    version="1",
)


class Catalogue:
    """A catalogue with one price for one model, that remembers what it was asked."""

    def __init__(self, provider: str, model: str) -> None:
        self.has = (provider, model)
        self.asked: list[tuple[str, str]] = []

    def model_price(self, provider: str, model: str) -> ModelPrice | None:
        self.asked.append((provider, model))
        return LIST_PRICE if (provider, model) == self.has else None


def northbank(*changes: tuple[str, str]) -> Registry:
    """The document's tenant, with some of the text changed."""
    return loaded(written(*changes)).registries["northbank"]


def test_an_agent_as_it_is_written() -> None:
    """Every tag of an agent reaches the registry."""
    expected = Agent(
        id="loan-bot",
        owner="ana@northbank.example",
        team="lending",
        project="mortgages",
        cost_centre="CC-1009",
        purpose="answers mortgage questions",
        environment="production",
        budget="loan-day",
        external_id="svc-1",
        tags={"channel": "web"},
    )
    assert expected == northbank().agents["loan-bot"]


def test_an_agent_inherits_from_its_team() -> None:
    """Without a cost centre or a budget of its own an agent has its team's."""
    agent = northbank(("        cost_centre: CC-1009\n", ""), ("        budget: loan-day\n", "")).agents[
        "loan-bot"
    ]
    assert ("CC-1001", "lending-day") == (agent.cost_centre, agent.budget)


def test_an_empty_setting_is_one_left_out() -> None:
    """`budget:` with nothing after it falls back like a line that isn't there."""
    assert "lending-day" == northbank(("budget: loan-day", "budget:")).agents["loan-bot"].budget


def test_names_default_to_ids() -> None:
    """A team without a name is called by its id."""
    expected = Team(id="risk", name="risk", cost_centre="CC-2002", owner="tom@northbank.example")
    assert expected == northbank().teams["risk"]


def test_quantities_join_those_built_in() -> None:
    """Money counts in nano-dollars, other quantities in units of their last decimal."""
    quantities = northbank(
        ("rows: {decimals: 0}", "rows: {decimals: 3}"), ("limit: 500", "limit: 0.5")
    ).quantities
    assert ["usd", "tokens", "calls", "paid_out", "rows"] == list(quantities)
    assert Quantity(id="paid_out", scale=DOLLAR, is_money=True) == quantities["paid_out"]
    assert Quantity(id="rows", scale=1000) == quantities["rows"]


def test_budgets_count_in_smallest_units() -> None:
    """Limits are integers of what they count; the zone is the tenant's unless the budget has its own."""
    budgets = northbank().budgets
    assert (
        Budget(
            id="lending-day",
            owner="ana@northbank.example",
            deputy="ben@northbank.example",
            quantity="usd",
            limit=20 * DOLLAR,
            period="daily",
            zone="Europe/London",
            hard=True,
            match=(("team", "lending"),),
            per=("agent",),
        )
        == budgets["lending-day"]
    )
    assert (500, "UTC", False) == (
        budgets["loan-day"].limit,
        budgets["loan-day"].zone,
        budgets["loan-day"].hard,
    )


def test_a_limit_that_follows_use() -> None:
    """Its bounds are integers of what the budget counts; else it is three spreads, 20 %, a person's word."""
    adapts = "        adapts: {every: weekly, floor: 7.50, ceiling: 40"
    after = "        per: [agent]\n      loan-day"
    budget = northbank((after, f"{adapts}}}\n        within: pilot\n{after}")).budgets["lending-day"]
    expected = Adapts(every="weekly", floor=7_500_000_000, ceiling=40 * DOLLAR)
    assert ("pilot", expected) == (budget.within, budget.adapts)
    assert (3_000, 2_000, "approval") == (expected.k_thousandths, expected.most_change, expected.applies)
    all_of_it = f"{adapts}, k: 2.5, most_change: 7.5%, applies: automatic}}\n{after}"
    expected = msgspec.structs.replace(expected, k_thousandths=2_500, most_change=750, applies="automatic")
    assert expected == northbank((after, all_of_it)).budgets["lending-day"].adapts


def test_budgets_within_each_other_are_told() -> None:
    """Each of them, since either is the one to change; what is only within one of them is not."""
    text = written(
        (
            "        per: [agent]\n      loan-day",
            "        per: [agent]\n        within: pilot\n      loan-day",
        ),
        ("        match: {tool: chat}", "        match: {tool: chat}\n        within: lending-day"),
    )
    words = "which leads back here; name another, or none"
    assert [
        f"aegis.yaml:81: tenants.northbank.budgets.lending-day.within is `pilot`, {words}",
        f"aegis.yaml:98: tenants.northbank.budgets.pilot.within is `lending-day`, {words}",
    ] == told({"aegis.yaml": text})


def test_a_one_off_ends_after_its_last_day() -> None:
    """From the first instant of the first day to the last of the last, in the budget's zone."""
    # London is an hour ahead of UTC on 1 October, and not on 31 December.
    expected = Window(
        label="once-2026-10-01", starts_ns=1_790_809_200 * DOLLAR, ends_ns=1_798_761_600 * DOLLAR
    )
    assert expected == northbank().budgets["pilot"].once


def test_a_longer_one_off_keeps_its_balance() -> None:
    """Its window is named by the first day, so a later last day finds what was spent."""
    longer = northbank(("to: 2026-12-31", "to: 2027-01-31")).budgets["pilot"].once
    assert longer is not None
    assert "once-2026-10-01" == longer.label


def test_when_a_version_is_taken_back() -> None:
    """Shares are ten-thousandths of calls; nothing is watched unless it is said."""
    changes = (
        "changes: {roll_back_when: {refusals_up_by: 5%, errors_up_by: 0.25%, of_at_least: 10, within: 1m}}"
    )
    expected = Watch(refusals_up_by=500, errors_up_by=25, of_at_least=10, within_ns=60 * DOLLAR)
    assert expected == loaded(written(("version: 1", f"version: 1\n{changes}"))).watch
    assert loaded().watch is None


@pytest.mark.parametrize("share", ["5", "0%", "101%", "0.001%", "five", "-1%"])
def test_no_share(share: str) -> None:
    """A share is written in percent, above nothing and at most all."""
    changed = written(("version: 1", f"version: 1\nchanges: {{roll_back_when: {{errors_up_by: {share}}}}}"))
    (words,) = told({"aegis.yaml": changed})
    assert "changes.roll_back_when.errors_up_by" in words
    assert "write a share above 0% and up to 100%" in words


def test_match_has_a_fixed_order() -> None:
    """However it is written, the dimensions come in one order."""
    expected = (("team", "lending"), ("connector", "payments"), ("environment", "production"))
    changed = (
        "match: {team: lending}",
        "match: {environment: production, connector: payments, team: lending}",
    )
    assert expected == northbank(changed).budgets["lending-day"].match


def test_rates() -> None:
    """The burst is the limit unless it is said."""
    expected = Rate(
        id="fx-api", limit=5, period_ns=DOLLAR, burst=5, match=(("connector", "payments"),), per=("agent",)
    )
    assert expected == northbank().rates["fx-api"]
    assert 2 == northbank(("every: 1s", "every: 1s\n        burst: 2")).rates["fx-api"].burst


@pytest.mark.parametrize(
    ("every", "expected_ns"),
    [
        ("250ms", 250_000_000),
        ("1s", DOLLAR),
        ("1m", 60 * DOLLAR),
        ("1h", 3600 * DOLLAR),
        ("1d", 86_400 * DOLLAR),
    ],
)
def test_durations(every: str, expected_ns: int) -> None:
    """A time has its unit."""
    assert expected_ns == northbank(("every: 1s", f"every: {every}")).rates["fx-api"].period_ns


def test_operations() -> None:
    """Arguments, prices and counts become typed paths and integers."""
    payments = northbank().connectors["payments"]
    create, search = payments.operations
    assert (
        Argument(name="amount", type="number", source=("body", "amount"), shown=True),
        Argument(name="currency", type="string", source=("body", "currency")),
    ) == create.arguments
    assert DOLLAR // 4 == create.price.per_call_nano_usd
    assert (Count(quantity="paid_out", source=("body", "amount"), scale=DOLLAR),) == create.counts
    expected = ToolPrice(
        per_unit=UnitPrice(nano_usd=100_000),
        unit="row",
        units_from=("response", "usage", "rows"),
        units_max=1000,
        version=search.price.version,
    )
    assert expected == search.price
    assert (
        Count(quantity="rows", source=("response", "usage", "rows"), scale=1, maximum=1000),
    ) == search.counts


def test_a_price_s_version_changes_with_its_numbers_alone() -> None:
    """Another number is another version; another way to write the same number isn't."""

    def version(price: str) -> str:
        operations = northbank(("per_call: 0.25", price)).connectors["payments"].operations
        return operations[0].price.version

    assert version("per_call: 0.25") == version("per_call: 0.250")
    assert version("per_call: 0.25") != version("per_call: 0.26")


def test_credentials_are_sent_as_bearer_unless_the_header_is_another() -> None:
    """The prefix follows the header, and can be set."""
    connectors = northbank().connectors
    assert ("authorization", "Bearer ") == (
        connectors["openai"].credential_header,
        connectors["openai"].credential_prefix,
    )
    assert ("x-api-key", "") == (
        connectors["payments"].credential_header,
        connectors["payments"].credential_prefix,
    )
    changed = ("X-Api-Key", 'X-Api-Key\n        credential_prefix: "Key "')
    assert "Key " == northbank(changed).connectors["payments"].credential_prefix


def test_a_contract_price() -> None:
    """What the file states is a contract, per million tokens."""
    price = northbank().models["gpt-4o-mini"].price
    assert price is not None
    assert "contract" == price.source
    expected = {
        "input": UnitPrice(nano_usd=150_000_000, per=1_000_000),
        "output": UnitPrice(nano_usd=600_000_000, per=1_000_000),
        "cache_read": UnitPrice(nano_usd=75_000_000, per=1_000_000),
    }
    assert expected == price.tiers[0].prices


@pytest.mark.parametrize(
    ("provider", "upstream", "asked"),
    [
        ("provider: openai", "upstream: gpt-4o-mini-2024-07-18", ("openai", "gpt-4o-mini-2024-07-18")),
        ("provider: azure", "upstream: x/Y:z", ("azure", "x/Y:z")),
        ("", "", ("openai", "gpt-4o-mini")),
    ],
)
def test_a_list_price(provider: str, upstream: str, asked: tuple[str, str]) -> None:
    """Without a contract the catalogue is asked, by the connector's provider and the upstream's name."""
    text = written(
        (
            "        price: {input_per_million: 0.15, output_per_million: 0.60, cache_read_per_million: 0.075}\n",
            "",
        ),
        ("provider: openai", provider),
        ("upstream: gpt-4o-mini-2024-07-18", upstream),
    )
    catalogue = Catalogue(*asked)
    registry = load({"aegis.yaml": text}, catalogue).registries["northbank"]
    assert [asked] == catalogue.asked
    assert LIST_PRICE == registry.models["gpt-4o-mini"].price


def test_an_unknown_price_is_none() -> None:
    """A model that neither file nor catalogue knows has no price, which isn't a price of nothing."""
    text = written(
        (
            "        price: {input_per_million: 0.15, output_per_million: 0.60, cache_read_per_million: 0.075}\n",
            "",
        )
    )
    assert loaded(text).registries["northbank"].models["gpt-4o-mini"].price is None


def test_output_limits_fit_into_a_small_model() -> None:
    """Defaults that weren't written never exceed a maximum that was."""
    model = northbank(("max_output_tokens: 4096", "max_output_tokens: 8")).models["gpt-4o-mini"]
    assert (8, 8, 8) == (
        model.default_output_tokens,
        model.min_output_tokens,
        model.expected_output_tokens,
    )


def test_policies_by_tenant() -> None:
    """Files beside each other hold for everybody, those in a tenant's directory for it; ordered by path."""
    text = DOCUMENT + "  southbank: {}\n"
    files = {
        "aegis.yaml": text,
        "policies/20-b.cedar": "b",
        "policies/10-a.cedar": "a",
        "policies/southbank/x.cedar": "x",
    }
    configuration = load(files, NoPrices())
    shared = (
        PolicyFile(path="policies/10-a.cedar", text="a"),
        PolicyFile(path="policies/20-b.cedar", text="b"),
    )
    expected = {
        "northbank": shared,
        "southbank": (*shared, PolicyFile(path="policies/southbank/x.cedar", text="x")),
    }
    assert expected == configuration.policies


def test_policy_files_are_bounded() -> None:
    """A policy file above the limit is told of."""
    expected = ["policies/a.cedar: the file is larger than 256 KiB; split it"]
    assert expected == told({"aegis.yaml": DOCUMENT, "policies/a.cedar": "/" * 300_000})


@pytest.mark.parametrize(
    "path", ["policies/a.txt", "policies/a/b/c.cedar", "policies/../x.cedar", "/etc/passwd", "a.cedar"]
)
def test_other_files_are_not_ignored(path: str) -> None:
    """A file that would not hold is a mistake, not a rule that silently doesn't hold."""
    expected = [f"{path}: this is not read; policies are policies/NAME.cedar, or policies/TENANT/NAME.cedar"]
    assert expected == told({"aegis.yaml": DOCUMENT, path: ""})


def test_tools_of_two_connectors_may_not_share_a_name() -> None:
    """Ids have dots, so `a.b` of `c` and `a` of `b.c` could be one tool; policies must tell them apart."""
    second = """\
      payments.create-payment:
        kind: http
        base_url: https://x.example.com
        operations:
          now: {method: GET, path: /x, price: {per_call: 0}}
    models:"""
    first = ("          search:\n", "          create-payment.now:\n")
    found = told({"aegis.yaml": written(first, ("    models:\n      gpt", second + "\n      gpt"))})
    expected = (
        "aegis.yaml:69: tenants.northbank.connectors.payments.create-payment.operations.now makes a tool "
        "`payments.create-payment.now`, and so does connector `payments`; give one another id"
    )
    assert [expected] == found


def test_the_same_files_make_the_same_configuration() -> None:
    """Loading is a function of the files and the prices."""
    encoded = [msgspec.json.encode(loaded()) for _ in range(2)]
    assert encoded[0] == encoded[1]


LINES = DOCUMENT.splitlines()
ODD = st.sampled_from(
    [
        "",
        "~",
        "[]",
        "{}",
        "[1, {a: b}]",
        "{a: {b: c}}",
        "true",
        "-1",
        "0.5",
        "1e20",
        "'",
        "x: y",
        "&a",
        "*a",
        "☃",
    ]
)


FOREIGN_WORDS = ("Input", "valid ", "pydantic", "NoneType", "dict", "str ", "instance", "decimal.", "None")


@given(
    st.lists(st.tuples(st.integers(0, len(LINES) - 1), ODD), min_size=1, max_size=3),
    st.lists(st.integers(0, len(LINES) - 1), max_size=2),
)
def test_whatever_is_written_is_loaded_or_told_in_our_words(
    changes: list[tuple[int, str]], gone: list[int]
) -> None:
    """Odd values in any place, and missing lines, raise nothing else and leak nobody else's words."""
    lines = list(LINES)
    for number, value in changes:
        lines[number] = f"{lines[number].partition(':')[0]}: {value}"
    text = "\n".join(line for number, line in enumerate(lines) if number not in gone)
    problems: tuple[Problem, ...] | None = None
    try:
        load({"aegis.yaml": text}, NoPrices())
    except ConfigurationError as fault:
        problems = fault.problems
    assert problems != ()
    for problem in problems or ():
        assert problem.line is not None
        assert [] == [words for words in FOREIGN_WORDS if words in problem.message]


def test_pydantic_stays_inside() -> None:
    """A caller meets one kind of error only."""
    assert not issubclass(ConfigurationError, pydantic.ValidationError)


SCHEMA = "schema: {type: object, properties: {amount: {type: number}, currency: {type: string}}}"


def test_arguments_of_a_schema() -> None:
    """An argument needs no type where the operation's schema has one."""
    registry = northbank(
        ("{type: number, from: body.amount, shown: true}", "{from: body.amount, shown: true}"),
        (
            "            arguments:\n              amount",
            f"            {SCHEMA}\n            arguments:\n              amount",
        ),
    )
    operation = next(each for each in registry.connectors["payments"].operations if each.body_schema)
    assert ("create-payment", "number") == (operation.id, operation.arguments[0].type)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("{type: number, from: body.amount", "{from: body.amount"),
            "has no `type`; write what kind of value it is",
        ),
        (
            ("{type: number, from: body.amount", "{type: integer, from: body.amount"),
            "the operation's schema says `number`",
        ),
        (
            ("amount: {type: number}", "amount: {type: numbr}"),
            "schema is no JSON Schema: `properties.amount.type`",
        ),
    ],
)
def test_what_is_wrong_with_a_schema(change: tuple[str, str], words: str) -> None:
    """It is told by its line: a type that nothing says, or that two say otherwise, and a schema that is none."""
    with_schema = (
        "            arguments:\n              amount",
        f"            {SCHEMA}\n            arguments:\n              amount",
    )
    text = written(change) if change[1] == "{from: body.amount" else written(with_schema).replace(*change)
    (problem,) = told({"aegis.yaml": text})
    assert words in problem


LOCAL = """      desk:
        kind: local
        region: eu-west
        operations:
          rank:
            arguments:
              limit: {type: integer, from: args.limit}
            price: {per_unit: 0.01, unit: row, units: result.rows, max_units: 5}
"""


def test_tools_that_run_in_the_agents() -> None:
    """A local connector has tools without addresses; their arguments and results are what bodies are elsewhere."""
    connector = northbank(("    connectors:\n", f"    connectors:\n{LOCAL}")).connectors["desk"]
    (operation,) = connector.operations
    assert ("local", "", "eu-west") == (connector.kind, connector.base_url, connector.region)
    assert (("body", "limit"), ("response", "rows")) == (
        operation.arguments[0].source,
        operation.price.units_from,
    )


@pytest.mark.parametrize(
    ("written_as", "instead", "words"),
    [
        (
            "kind: local",
            "kind: local\n        base_url: https://x.example",
            "desk.base_url is for what is called",
        ),
        ("kind: local", "kind: local\n        credential: env:X", "desk.credential is for what is called"),
        (
            "          rank:\n",
            "          rank:\n            method: GET\n",
            "rank.method is for operations over",
        ),
        ("kind: local", "kind: http\n        base_url: https://x.example", "rank has no `method`; write its"),
        ("kind: local", "kind: http", "desk has no `base_url`; write where it is"),
        (
            "kind: local",
            "kind: openai\n        base_url: https://x.example",
            "for kinds `http`, `mcp` and `local`",
        ),
    ],
)
def test_what_a_local_connector_is_not(written_as: str, instead: str, words: str) -> None:
    """It has no address, and what is called over the network has one."""
    local = LOCAL.replace(written_as, instead)
    found = told({"aegis.yaml": written(("    connectors:\n", f"    connectors:\n{local}"))})
    assert any(words in problem for problem in found), found


MCP = """      desk:
        kind: mcp
        base_url: https://mcp.example.com/mcp
        operations:
          find:
            tool: findIt
            arguments:
              limit: {type: integer, from: args.limit}
            price: {per_unit: 0.01, unit: row, units: result.rows, max_units: 5}
        other_tools: {price: {per_call: 0.02}}
"""
PROGRAM = """      desk:
        kind: mcp
        command: [some-server, --stdio]
        env: {API_TOKEN: "env:DESK_TOKEN"}
        operations: {find: {price: {per_call: 0}}}
"""


def test_tools_of_an_mcp_server() -> None:
    """They are called by name; those that nobody declared are one operation, whose argument is their name."""
    connector = northbank(("    connectors:\n", f"    connectors:\n{MCP}")).connectors["desk"]
    find, others = connector.operations
    assert ("find", "findIt", ("body", "limit")) == (find.id, find.tool, find.arguments[0].source)
    assert ("?", "", "tool") == (others.id, others.tool, others.arguments[0].name)
    program = northbank(("    connectors:\n", f"    connectors:\n{PROGRAM}")).connectors["desk"]
    assert (("some-server", "--stdio"), {"API_TOKEN": "env:DESK_TOKEN"}) == (
        program.command,
        program.variables,
    )
    assert "find" == program.operations[0].tool


@pytest.mark.parametrize(
    ("server", "written_as", "instead", "words"),
    [
        (MCP, "args.limit", "query.limit", "arguments.limit.from is `query.limit`, and a tool has arguments"),
        (
            MCP,
            "tool: findIt",
            "method: GET",
            "find.method is for operations over HTTP; an MCP server's tools",
        ),
        (
            MCP,
            "per_call: 0.02",
            "amount: result.cost",
            "price.amount is read from a tool's arguments or result",
        ),
        (MCP, "kind: mcp", "kind: http", "desk.other_tools is for connectors of kind `mcp`, not `http`"),
        (
            MCP,
            "        operations:\n",
            "        env: {X: env:X}\n        operations:\n",
            "desk.env is the environment",
        ),
        (MCP, "        base_url: https://mcp.example.com/mcp\n", "", "desk has no `base_url`"),
        (PROGRAM, "env:DESK_TOKEN", "the-token-itself", "secrets are never written here"),
        (PROGRAM, "API_TOKEN", "API-TOKEN", "is not the name of a variable"),
        (PROGRAM, "[some-server, --stdio]", "some-server --stdio", "write a program and its arguments"),
        (PROGRAM, "kind: mcp", "kind: mcp\n        credential: env:X", "a `command` is started here"),
        (
            PROGRAM,
            "      desk:",
            "      desk_2: {kind: mcp, base_url: 'https://x.example'}\n      desk:",
            "desk_2 begins with `desk_`",
        ),
        (
            PROGRAM,
            "{find: {price: {per_call: 0}}}",
            "{find: {price: {per_call: 0}}, more: {tool: find, price: {per_call: 0}}}",
            "more is tool `find`, and so is `find`",
        ),
    ],
)
def test_what_is_wrong_with_an_mcp_server(server: str, written_as: str, instead: str, words: str) -> None:
    """It is told by its setting, with what to write."""
    assert written_as in server
    changed = server.replace(written_as, instead, 1)
    found = told({"aegis.yaml": written(("    connectors:\n", f"    connectors:\n{changed}"))})
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("terms", "told_of"),
    [
        (
            "currency: EUR\n        counts: rows",
            "currency is for budgets of money, and this one counts rows; leave it out",
        ),
        (
            "currency: EUR\n        period: rolling\n        length: 24h",
            "currency has its rate fixed when a window begins, and this budget's never does; leave it out",
        ),
        (
            "currency: EUR\n        adapts: {every: daily, floor: 1, ceiling: 2}",
            "currency is for limits that don't follow use, which is in dollars; leave it out, or `adapts`",
        ),
        (
            "currency: EUR\n        within: lending-day",
            "within is `lending-day`, which is in USD, and this one in EUR; name one in the same currency",
        ),
        (
            "carry_over: {most: 1}\n        period: rolling\n        length: 24h",
            "carry_over is for budgets whose windows follow each other, and this one is rolling; leave it out",
        ),
    ],
)
def test_terms_that_do_not_fit(terms: str, told_of: str) -> None:
    """A currency is for money, and both are for windows that begin."""
    text = written(
        ("timezone: Europe/London\n", "timezone: Europe/London\n    currencies: {EUR: {2026-11-01: 1.08}}\n")
    )
    budget = "owner: ana@northbank.example, deputy: ben, limit: 1".replace(", ", "\n        ")
    if "period" not in terms:
        terms += "\n        period: daily"
    text = text.replace("    budgets:\n", f"    budgets:\n      odd:\n        {budget}\n        {terms}\n", 1)
    assert [f"tenants.northbank.budgets.odd.{told_of}"] == [
        line.split(": ", 2)[-1] for line in told({"aegis.yaml": text})
    ]


def test_a_window_that_began_before_the_first_rate() -> None:
    """It is told of at the budget's line, with currency and date, where it is asked what holds now; later it isn't."""
    text = written(
        ("timezone: Europe/London\n", "timezone: Europe/London\n    currencies: {EUR: {2026-11-24: 1.08}}\n"),
        ("limit: 20.00", "limit: 20.00\n        currency: EUR"),
    )
    noon_ns = 1_795_435_200 * DOLLAR  # 2026-11-23
    with pytest.raises(ConfigurationError) as fault:
        load({"aegis.yaml": text}, NoPrices(), noon_ns)
    assert [
        "tenants.northbank.budgets.lending-day.currency is EUR, and no rate of it is dated 2026-11-23, when the "
        "budget's window began, or before; add one, as in currencies: {EUR: {2026-11-23: 1.08}}"
    ] == [problem.message for problem in fault.value.problems]
    assert [78] == [problem.line for problem in fault.value.problems]
    later = load({"aegis.yaml": text}, NoPrices(), noon_ns + 86_400 * DOLLAR)
    assert later == load({"aegis.yaml": text}, NoPrices())
    budget = later.registries["northbank"].budgets["lending-day"]
    assert ("EUR", 20 * DOLLAR) == (budget.currency.code if budget.currency else "", budget.limit)


def test_too_many_rates() -> None:
    """A table goes with the claims of its budgets, so it has an end."""
    days = ", ".join(f"{year}-{month:02d}-01: 1.1" for year in range(1970, 2004) for month in range(1, 13))
    text = written(
        ("timezone: Europe/London\n", f"timezone: Europe/London\n    currencies: {{EUR: {{{days}}}}}\n")
    )
    assert [
        "aegis.yaml:6: tenants.northbank.currencies.EUR has 408 rates; leave out old ones that no window needs, "
        "so that at most 400 stay"
    ] == told({"aegis.yaml": text})
