from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from aegis_gateway.adapters.catalogue import CataloguePrices
from aegis_gateway.adapters.cedar import CedarPolicies, CompiledPolicies
from aegis_gateway.configuration.difference import warnings
from aegis_gateway.configuration.load import Configuration, load
from aegis_gateway.configuration.packs import pack_files, pack_tests, write_pack
from aegis_gateway.configuration.read import read_directory, read_tests
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.judge import PolicyRequest, judge


@pytest.fixture(scope="module")
def example() -> Configuration:
    """The example, loaded with the catalogue's prices."""
    return load(pack_files(), CataloguePrices(date(2026, 11, 23)))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """`aegis init` writes a directory that `aegis plan` reads."""
    written = write_pack(tmp_path / "new" / "conf")
    assert pack_files() == read_directory(tmp_path / "new" / "conf")
    assert pack_tests() == read_tests(tmp_path / "new" / "conf")
    assert sorted((*pack_files(), *pack_tests())) == sorted(
        file.relative_to(tmp_path / "new" / "conf").as_posix() for file in written
    )


@pytest.mark.parametrize("name", sorted(pack_files()))
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    """One file in the way, and none is written."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already; name an empty directory"):
        write_pack(tmp_path)
    assert [tmp_path / name] == [file for file in tmp_path.rglob("*") if file.is_file()]
    assert "mine" == (tmp_path / name).read_text()


def test_the_example_has_no_problem_and_no_warning(example: Configuration) -> None:
    """It loads, all its models have prices, and nothing in it is doubtful."""
    assert [] == warnings(None, example)
    assert ["northbank"] == list(example.registries)


def test_what_is_commented_out_is_right_too() -> None:
    """The one-off and the schema that the example only shows load when their comment signs are taken away."""
    files = pack_files()
    files["aegis.yaml"] = (
        files["aegis.yaml"]
        .replace("      # q4-pilot:", "      q4-pilot:")
        .replace("      #   ", "        ")
        .replace("            # schema:", "            schema:")
        .replace("    # proxy:", "    proxy:")
    )
    loaded = load(files, CataloguePrices(date(2026, 11, 23)))
    (payments,) = [
        each for each in loaded.registries["northbank"].connectors.values() if each.id == "payments"
    ]
    assert b"exclusiveMinimum" in payments.operations[0].body_schema
    assert loaded.registries["northbank"].takes_strangers
    assert "once" == loaded.registries["northbank"].budgets["q4-pilot"].period


@pytest.mark.parametrize(
    ("agent", "action", "resource", "amount", "effect", "by"),
    [
        ("loan-bot", "chat", "gpt-4o-mini", None, "allow", "agents-may-chat"),
        ("payments-bot", "chat", "house-llm", None, "allow", "agents-may-chat"),
        ("payments-bot", "payments.create-payment", "payments", "5000", "allow", "treasury-may-pay"),
        ("payments-bot", "payments.create-payment", "payments", "5000.01", "deny", "payment-ceiling"),
        ("payments-bot", "payments.create-payment", "payments", None, "deny", "payment-ceiling"),
        ("loan-bot", "payments.create-payment", "payments", "1", "deny", "payments.create-payment"),
        ("payments-bot", "payments.delete-payment", "payments", None, "deny", "payments.delete-payment"),
    ],
)
def test_its_policies_do_what_they_say(
    example: Configuration, agent: str, action: str, resource: str, amount: str | None, effect: str, by: str
) -> None:
    """Everybody may chat, treasury may pay up to the ceiling, a missing amount opens nothing."""
    files = tuple((file.path, file.text) for file in example.policies["northbank"])
    policies = CedarPolicies(example.registries["northbank"], CompiledPolicies(files))
    request = PolicyRequest(
        agent=agent,
        action=action,
        resource_type="Model" if action == "chat" else "Connector",
        resource=resource,
        context={
            "args": {} if amount is None else {"amount": Decimal(amount)},
            "environment": "production",
            "cost": {"expected_usd": Decimal("0.25"), "maximum_usd": Decimal("0.25")},
        },
    )
    verdict = judge(request, policies)
    assert (effect, by) == (verdict.effect, verdict.reasons[0].subject)
