import pytest

from aegis_gateway.configuration.difference import Change, FieldChange, difference, obstacles, warnings
from aegis_gateway.configuration.load import Configuration, load
from aegis_gateway.configuration.prices import NoPrices
from tests.unit.configuration.example_document import DOCUMENT, loaded, written

POLICIES = {"policies/a.cedar": "// one\n// two\n"}


def with_policies(text: str = DOCUMENT, **files: str) -> Configuration:
    """The document's configuration, with a policy file."""
    return load({"aegis.yaml": text, **(files or POLICIES)}, NoPrices())


def test_nothing_changed() -> None:
    """The same configuration has no difference from itself, and none from one written otherwise."""
    assert [] == difference(loaded(), loaded())
    assert [] == difference(loaded(), loaded(written(("limit: 20.00", "limit: 20"))))


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        ("limit: 20.00", "limit: 25.00", "changed budget lending-day: limit $20.00 → $25.00"),
        (
            "version: 1",
            "version: 1\nchanges: {roll_back_when: {refusals_up_by: 5%, within: 1h}}",
            "added roll back when: refusals up by 5.00%, of at least 200 calls, within 1h",
        ),
        (
            "kind: hard",
            "thresholds: [{at: 80%, do: [downgrade: gpt-4o-mini], grace: {amount: 1}, waits_for_word: true}]\n"
            "        on_exhaustion: {do: [notify, throttle_keys: {limit: 1, every: 1m}], restore: never}",
            "changed budget lending-day: at 80% downgrade to gpt-4o-mini; after $1.00 more; waits for somebody's word, "
            "when exhausted notify, throttle keys to 1 every 1m; keys don't come back by themselves",
        ),
        ("limit: 500", "limit: 750", "changed budget loan-day: limit 500 rows → 750 rows"),
        (
            "period: daily\n        kind: hard",
            "period: weekly\n        kind: soft",
            "changed budget lending-day: period daily → weekly, kind hard → soft",
        ),
        (
            "match: {team: lending}",
            "match: {team: risk, model: gpt-4o-mini}",
            "changed budget lending-day: match team lending → team risk, model gpt-4o-mini",
        ),
        (
            "        per: [agent]\n      loan-day",
            "      loan-day",
            "changed budget lending-day: per agent → none",
        ),
        (
            "to: 2026-12-31",
            "to: 2027-01-31",
            "changed budget pilot: days 2026-10-01 to 2026-12-31 → 2026-10-01 to 2027-01-31",
        ),
        ("every: 1s", "every: 250ms", "changed rate fx-api: limit 5 every 1s → 5 every 250ms"),
        (
            "input_per_million: 0.15",
            "input_per_million: 0.0000000015",
            "changed model gpt-4o-mini: input $0.15 a million tokens → $0.0000000015 a million tokens",
        ),
        (
            "price: {per_call: 0.25}",
            "price: {per_call: 0.25, amount: response.fee, max_amount: 1}",
            "changed operation payments.create-payment: "
            "price $0.25 a call → $0.25 a call + what response.fee says, at most $1.00",
        ),
        (
            "max_units: 1000",
            "max_units: 10",
            "changed operation payments.search: price $0.0001 a row (response.usage.rows, at most 1000) → "
            "$0.0001 a row (response.usage.rows, at most 10)",
        ),
        (
            "paid_out: body.amount",
            "rows: body.amount",
            "changed operation payments.create-payment: counts rows body.amount, counts paid_out body.amount → none",
        ),
        (
            "{type: string, from: body.currency}",
            "{type: string, from: body.currency, required: false}",
            "changed operation payments.create-payment: argument currency string from body.currency → "
            "optional string from body.currency",
        ),
        (
            "credential: env:OPENAI_API_KEY",
            "credential: env:OTHER",
            "changed connector openai: credential env:OPENAI_API_KEY → env:OTHER",
        ),
        (
            "owner: tom@northbank.example",
            "owner: eve@x",
            "changed team risk: owner tom@northbank.example → eve@x",
        ),
        (
            "tags: {channel: web}",
            "tags: {channel: app}",
            "changed agent loan-bot: tags channel=web → channel=app",
        ),
        (
            "kind: hard",
            "kind: hard\n        adapts: {every: daily, floor: 10, ceiling: 40, k: 2.5}",
            "changed budget lending-day: adapts daily from $10.00 to $40.00, 2.5 spreads above the median, "
            "by 20.00% at most, by a person's word",
        ),
        (
            "to: 2026-12-31",
            "to: 2026-12-31\n        within: lending-day",
            "changed budget pilot: within lending-day",
        ),
        ("rows: {decimals: 0}", "rows: {decimals: 2}", None),
        ("name: North Bank", "name: Bank", "changed tenant northbank: name North Bank → Bank"),
    ],
)
def test_changes_in_the_words_of_who_wrote_them(right: str, other: str, expected: str | None) -> None:
    """Each setting is shown as it was before and as it will be, in dollars, days and calls."""
    changes = difference(loaded(), loaded(written((right, other))))
    if expected is None:
        assert ["changed quantity rows: counts whole numbers → numbers with 2 decimals"] == [
            str(change) for change in changes if change.what == "quantity rows"
        ]
    else:
        assert [expected] == [str(change) for change in changes]


def test_a_change_is_also_a_value() -> None:
    """Programs read kind, tenant, thing and fields."""
    expected = Change(
        kind="changed",
        tenant="northbank",
        what="budget lending-day",
        fields=(FieldChange(name="limit", old="$20.00", new="$25.00"),),
    )
    assert [expected] == difference(loaded(), loaded(written(("limit: 20.00", "limit: 25.00"))))


def test_added_and_removed() -> None:
    """A renamed agent is one that comes and one that goes."""
    changes = difference(loaded(), loaded(written(("      loan-bot:", "      loans:"))))
    assert [("added", "agent loans"), ("removed", "agent loan-bot")] == [
        (change.kind, change.what) for change in changes
    ]
    assert "team lending" in str(changes[0])
    assert "removed agent loan-bot" == str(changes[1])


def test_the_first_configuration_is_all_added() -> None:
    """Before the first one there is nothing."""
    changes = difference(None, with_policies())
    assert {"added"} == {change.kind for change in changes}
    assert "policy file policies/a.cedar" == changes[0].what
    assert "tenant northbank" == changes[1].what
    assert not any("quantity usd" in change.what for change in changes)


def test_policy_files() -> None:
    """Files are told of once, whomever they hold for, with how many lines come and go."""
    two = DOCUMENT + "  southbank: {}\n"
    old = with_policies(two, **{"policies/a.cedar": "// one\n// two\n", "policies/southbank/b.cedar": "x"})
    new = with_policies(two, **{"policies/a.cedar": "// one\n// 2\n// 3\n", "policies/c.cedar": "x"})
    assert [
        (None, "changed policy file policies/a.cedar: lines +2 −1"),
        (None, "added policy file policies/c.cedar"),
        ("southbank", "removed policy file policies/southbank/b.cedar"),
    ] == [(change.tenant, str(change)) for change in difference(old, new)]


def test_the_document_warns_only_of_its_odd_budget() -> None:
    """An agent that lives on a budget of rows isn't bounded in dollars by it."""
    expected = [
        "northbank: agent `loan-bot` lives on budget `loan-day`, which counts `rows`: "
        "what its calls cost in dollars is bounded only by budgets that match it"
    ]
    assert expected == warnings(None, with_policies())


@pytest.mark.parametrize(
    ("right", "other", "expected"),
    [
        (
            "        price: {input_per_million: 0.15, output_per_million: 0.60, cache_read_per_million: 0.075}\n",
            "",
            "model `gpt-4o-mini` has no price, so calls to it are refused; "
            "state its `price`, or `provider` and `upstream` as the catalogue has them",
        ),
        (
            "https://api.openai.com/v1",
            "http://api.openai.com/v1",
            "connector `openai` sends its credential in the clear; use https",
        ),
        (
            "        match: {tool: chat}\n",
            "",
            "budget `pilot` counts nobody: it has no `match`, and no agent here lives on it",
        ),
        (
            "      loan-bot:",
            "      loans:",
            "agent `loan-bot` goes; if it has keys, they stop working with the next call",
        ),
        (
            "period: daily",
            "period: weekly",
            "budget `lending-day` has other windows; what was spent in its current one counts, open calls at most",
        ),
    ],
)
def test_warnings(right: str, other: str, expected: str) -> None:
    """What is allowed and may not be meant is said."""
    found = warnings(with_policies(), with_policies(written((right, other))))
    assert [f"northbank: {expected}"] == [
        words for words in found if "lives on budget `loan-day`" not in words
    ]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000/v1"]
)
def test_loopback_is_not_in_the_clear(address: str) -> None:
    """A credential that doesn't leave the machine needs no https."""
    found = warnings(None, with_policies(written(("https://api.openai.com/v1", f"'{address}'"))))
    assert [] == [words for words in found if "in the clear" in words]


def test_no_policies_and_no_tenant() -> None:
    """A tenant without policies can do nothing; one that goes takes its keys with it."""
    two, one = loaded(DOCUMENT + "  southbank: {}\n"), with_policies()
    assert "northbank: no policy holds here, so every call is refused; add some in policies/" in warnings(
        None, two
    )
    assert "southbank: this tenant goes; its agents' keys stop working with the next call" in warnings(
        two, one
    )


def test_a_budget_that_counts_something_else_needs_a_new_id() -> None:
    """A balance in nano-dollars is never read as a number of calls."""
    other = with_policies(written(("counts: usd", "counts: calls")))
    assert [
        "northbank: budget `lending-day` counts in another unit under its old name, and the balance of its current "
        "window would be read in it; give the new budget a new id"
    ] == obstacles(with_policies(), other)
    assert [] == obstacles(with_policies(), with_policies())
    assert [] == obstacles(None, other)


def test_bounds_of_owners() -> None:
    """They are told in words, those of all and of each owner that has others."""
    bounds = (
        "{max_agents_per_owner: 20, max_runs_per_owner: 10, idle: 1m, mode: shadow, "
        "owners: {ana@x: {max_depth: 2}}}"
    )
    (change,) = difference(
        loaded(),
        loaded(written(("    name: North Bank\n", f"    name: North Bank\n    replication: {bounds}\n"))),
    )
    assert (
        "changed tenant northbank: bounds 20 agents, 10 runs open at once, bounds of ana@x 2 calls deep, "
        "runs count for 1m, bounds are in shadow"
    ) == str(change)


def test_tools_that_are_called_by_name() -> None:
    """What their arguments and results are read from is told as it is written, and nothing that they haven't."""
    desk = """      desk:
        kind: local
        operations:
          crawl:
            arguments: {pages: {type: integer, from: args.pages}}
            price: {per_unit: 0.01, unit: page, units: result.pages, max_units: 50}
            counts: {rows: {from: result.rows, max: 1000}}
"""
    changes = difference(loaded(), loaded(written(("    connectors:\n", f"    connectors:\n{desk}"))))
    assert [
        "added connector desk: kind local",
        "added operation desk.crawl: price $0.01 a page (result.pages, at most 50), argument pages integer from "
        "args.pages, counts rows result.rows, at most 1000 rows",
    ] == [str(change) for change in changes]


def test_a_fiscal_year_of_weeks() -> None:
    """A budget of a fiscal calendar tells by which rule its years begin, and that its windows become others."""
    fiscal = (
        "period: monthly\n        timezone: UTC\n",
        "period: quarterly\n        calendar: fiscal\n        timezone: UTC\n",
    )
    year = "timezone: Europe/London\n    fiscal_year: {weeks: 4-5-4, ends: Last Saturday of january, named_by: begin}\n"
    old, new = loaded(written(fiscal)), loaded(written(fiscal, ("timezone: Europe/London\n", year)))
    expected = "4-5-4 weeks, ends last saturday of january, named by its begin"
    assert [f"changed budget loan-day: year starts {expected}"] == [
        str(each) for each in difference(old, new)
    ]
    assert any("budget `loan-day` has other windows" in warning for warning in warnings(old, new))


def test_a_budget_in_another_currency() -> None:
    """Its limit and what it carries over are in its currency, and each currency has its rates by date."""
    rates = (
        "timezone: Europe/London\n",
        "timezone: Europe/London\n    currencies: {EUR: {2026-11-01: 1.08}}\n",
    )
    terms = (
        "limit: 20.00",
        "limit: 20.00\n        currency: EUR\n        carry_over: {most: 5.5, expires: 6h}",
    )
    assert [
        "added currency EUR: 2026-11-01 $1.08",
        "changed budget lending-day: limit $20.00 → 20.00 EUR, carry over at most 5.50 EUR, for 6h",
    ] == [str(each) for each in difference(loaded(), loaded(written(rates, terms)))]
    assert ["changed currency EUR: 2026-11-01 $1.08 → $1.10"] == [
        str(each)
        for each in difference(
            loaded(written(rates, terms)),
            loaded(written(rates, terms, ("2026-11-01: 1.08", "2026-11-01: 1.1"))),
        )
    ]
