"""What the operator gets wrong, and the words that come back: the table is the specification."""

from pathlib import Path

import pytest

from tests.unit.configuration.example_document import DOCUMENT, loaded, told, written

MISTAKES_FILE = Path(__file__).with_name("mistakes.txt")


def mistakes() -> list[tuple[str, str, list[str]]]:
    """The table: what is right, what is wrong, what is told."""
    blocks = MISTAKES_FILE.read_text(encoding="utf-8").split("\n\n")[1:]
    table = []
    for block in filter(str.strip, blocks):
        lines = block.strip("\n").split("\n")
        right = "\n".join(line[2:] for line in lines if line.startswith("-"))
        wrong = "\n".join(line[2:] for line in lines if line.startswith("+"))
        table.append((right, wrong, [line for line in lines if line[0] not in "-+"]))
    return table


@pytest.mark.parametrize(("right", "wrong", "expected"), mistakes())
def test_a_mistake_has_its_line_and_its_remedy(right: str, wrong: str, expected: list[str]) -> None:
    """Each mistake is told once, on its line, with what to write instead."""
    assert [f"aegis.yaml:{line}" for line in expected] == told({"aegis.yaml": written((right, wrong))})


def test_an_agent_without_any_budget() -> None:
    """An agent that neither names a budget nor falls under its team's default is told how to get one."""
    text = written(
        ("        default_budget: lending-day\n", ""),
        ("        budget: loan-day\n", ""),
    )
    expected = (
        "aegis.yaml:23: tenants.northbank.agents.loan-bot has no `budget`, and team `lending` has no "
        "`default_budget`; name the budget that the agent lives on, as in budget: loan-day"
    )
    assert [expected] == told({"aegis.yaml": text})


def test_the_document_itself_is_right() -> None:
    """What all those mistakes are made in has none."""
    assert ["northbank"] == list(loaded(DOCUMENT).registries)


def test_all_mistakes_are_told_at_once() -> None:
    """Mistakes in different entries, sections and files come back together, in the order of the lines."""
    text = written(
        ("owner: ana@northbank.example", "owner:"),
        ("purpose: answers mortgage questions", "porpose: answers"),
        ("team: lending\n        project", "team: lendign\n        project"),
        ("limit: 20.00", "limit: none"),
        ("every: 1s", "every: 1"),
    )
    found = told({"aegis.yaml": text, "policies/soutbank/a.cedar": "", "notes.txt": ""})
    assert [
        "aegis.yaml:13",
        "aegis.yaml:26",
        "aegis.yaml:29",
        "aegis.yaml:76",
        "aegis.yaml:100",
        "notes.txt: this is not read; policies are policies/NAME.cedar, or policies/TENANT/NAME.cedar",
        "policies/soutbank/a.cedar: there is no tenant `soutbank`; did you mean `northbank`?",
    ] == [line.split(": tenants")[0] for line in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "aegis.yaml:1: aegis.yaml is empty; run `aegis init DIR` for an example"),
        ("hello", "aegis.yaml:1: aegis.yaml is `hello`; write settings, as in version: 1"),
        ("- a", "aegis.yaml:1: aegis.yaml is a list; write settings, as in version: 1"),
        (
            "version: 1\ntenants:",
            "aegis.yaml:2: tenants is empty; name who uses this gateway, as in northbank: {name: North Bank}",
        ),
        (
            "version: 1\ntenants: 5",
            "aegis.yaml:2: tenants is `5`; write each entry below it under an id of its own",
        ),
        (
            "version: 1\ntenants:\n  a: 5",
            "aegis.yaml:3: tenants.a is `5`; write its settings below it, each as `name: value`",
        ),
        (
            "version: 1",
            "aegis.yaml:1: aegis.yaml has no `tenants`; "
            "write who uses this gateway, as in tenants: {northbank: {name: North Bank}}",
        ),
    ],
)
def test_a_document_that_is_none(text: str, expected: str) -> None:
    """A file that isn't a configuration at all says what to begin with."""
    assert [expected] == told({"aegis.yaml": text})


def test_a_missing_main_file() -> None:
    """Without aegis.yaml there is nothing to load."""
    expected = "aegis.yaml: there is no aegis.yaml; write one, or run `aegis init DIR` for an example"
    assert [expected] == told({"policies/a.cedar": ""})


def test_one_mistake_is_not_told_as_two() -> None:
    """What refers to something faulty is right; only the faulty thing is told of."""
    text = written(("        owner: tom@northbank.example\n", ""), ("decimals: 0", "decimals: many"))
    assert [7 + 1, 15] == [int(line.split(":")[1]) for line in told({"aegis.yaml": text})]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("credential: env:OPENAI_API_KEY", "credential: sk-canary"),
        ("credential: env:OPENAI_API_KEY", "credential: [sk-canary]"),
        ("credential: env:OPENAI_API_KEY", "credential: {value: sk-canary}"),
        ("credential: env:OPENAI_API_KEY", "credential: 'env:sk-canary'"),
        ("credential: env:OPENAI_API_KEY", "api_key: sk-canary"),
        ("credential: env:OPENAI_API_KEY", "credential_prefix: Bearer sk-canary-canary"),
        ("credential: env:OPENAI_API_KEY", "credential_header: 'Authorization: Bearer sk-canary'"),
        ("https://api.openai.com/v1", "https://sk-canary@api.openai.com/v1"),
        ("https://api.openai.com/v1", "https://api.openai.com/v1?key=sk-canary"),
    ],
)
def test_a_secret_in_the_file_is_not_repeated(right: str, wrong: str) -> None:
    """A secret that was written where a reference belongs appears in no message."""
    found = told({"aegis.yaml": written((right, wrong))})
    assert 1 == len(found)
    assert "sk-canary" not in found[0]
