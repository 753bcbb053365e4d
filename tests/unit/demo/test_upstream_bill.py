import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from aegis_gateway.demo.upstream import prose
from aegis_gateway.demo.upstream.bill import PAGE, Bill, accounts, masked
from aegis_gateway.demo.upstream.completion import ChatRequest, complete, prompt_tokens
from aegis_gateway.demo.upstream.directives import NONE, DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.payments import usd
from aegis_gateway.demo.upstream.prices import MODELS

MINI = MODELS["gpt-4o-mini"]


def charged(bill: Bill, nano_usd: int, *, agent: str = "a", model: str = "", paid_out: int = 0) -> None:
    """Charge a call of one kind or the other."""
    bill.charge(
        account="sk-...0001",
        agent=agent,
        operation="chat" if model else "pay",
        model=model,
        nano_usd=nano_usd,
        quantities={"calls": 1},
        paid_out_nano_usd=paid_out,
    )


def request(**fields: object) -> tuple[ChatRequest, int]:
    """A chat request as it arrives, and its size in bytes."""
    body = msgspec.json.encode({"model": "gpt-4o-mini", **fields})
    return msgspec.json.decode(body, type=ChatRequest), len(body)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["", "gpt-4o", "gpt-4.1"]),
            st.integers(0, 2**62),
            st.integers(0, 2**62),
        )
    )
)
def test_sums_are_exact(charges: list[tuple[str, str, int, int]]) -> None:
    """Every grouping adds up to the nano-dollar, also past 64 bits."""
    bill = Bill(detail_kept=3)
    for agent, model, nano_usd, paid_out in charges:
        charged(bill, nano_usd, agent=agent, model=model, paid_out=paid_out)

    seen = bill.summary()

    total = sum(nano_usd for _, _, nano_usd, _ in charges)
    assert total == seen.total_nano_usd
    assert sum(paid_out for *_, paid_out in charges) == seen.paid_out_nano_usd
    assert len(charges) == seen.requests
    for groups in (seen.by_account, seen.by_agent, seen.by_operation):
        assert total == sum(group.nano_usd for group in groups.values())
        assert len(charges) == sum(group.quantities["calls"] for group in groups.values())
    of_models = sum(nano_usd for _, model, nano_usd, _ in charges if model)
    assert of_models == sum(group.nano_usd for group in seen.by_model.values())
    assert seen == msgspec.json.decode(msgspec.json.encode(seen), type=type(seen))


def test_detail_is_bounded_and_sums_are_not() -> None:
    """Old charges lose their detail, are counted as dropped, and stay in the sums."""
    bill = Bill(detail_kept=2)
    for nano_usd in (1, 2, 4):
        charged(bill, nano_usd)

    page = bill.since(0)

    assert [2, 4] == [charge.nano_usd for charge in page.charges]
    assert 1 == page.dropped
    assert 3 == page.last
    assert 7 == bill.summary().total_nano_usd


def test_pages_follow_each_other() -> None:
    """Reading on from `last` gives every charge once, in order, and then nothing."""
    bill = Bill()
    for nano_usd in range(PAGE + 5):
        charged(bill, nano_usd)

    first = bill.since(0)
    second = bill.since(first.last)
    third = bill.since(second.last)

    assert list(range(1, PAGE + 6)) == [charge.number for charge in first.charges + second.charges]
    assert ([], PAGE + 5, 0) == (third.charges, third.last, third.dropped)


def test_reset_starts_at_zero() -> None:
    """After a reset the bill is as new."""
    bill = Bill()
    bill.arrive()
    charged(bill, 5)

    bill.reset()

    assert Bill().summary() == bill.summary()
    charged(bill, 1)
    assert 1 == bill.since(0).charges[0].number


def test_nothing_is_paid_back() -> None:
    """A negative charge is a fault."""
    with pytest.raises(ValueError, match="negative"):
        charged(Bill(), -1)


def test_keys_are_masked() -> None:
    """A masked key shows its two ends; a short one shows nothing."""
    assert "sk-...0001" == masked("sk-upstream-0001")
    assert "..." == masked("sk-secret")


def test_keys_share_no_account() -> None:
    """Two keys that would be billed under one name are refused."""
    with pytest.raises(ValueError, match=r"sk-\.\.\.0001"):
        accounts(["sk-upstream-0001", "sk-other-key-0001"])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_prices_are_the_published_ones(name: str) -> None:
    """The hand-written list agrees with the catalogue that the gateway prices by."""
    _, found = get_snapshot().find_provider_model(name, None, "openai", None)
    listed = found.get_prices(datetime(2026, 11, 1, tzinfo=UTC))
    ours = MODELS[name]

    per_token = [
        Decimal(str(price)) * 1000
        for price in (listed.input_mtok, listed.cache_read_mtok, listed.output_mtok)
    ]

    assert [ours.input_nano_usd, ours.cached_input_nano_usd, ours.output_nano_usd] == per_token


@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"role": st.just("user"), "content": st.text()}),
            st.fixed_dictionaries(
                {
                    "role": st.just("user"),
                    "content": st.lists(
                        st.one_of(
                            st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}),
                            st.fixed_dictionaries({"image_url": st.fixed_dictionaries({"url": st.text()})}),
                        )
                    ),
                }
            ),
            st.fixed_dictionaries({"role": st.just("assistant"), "tool_calls": st.lists(st.integers())}),
        ),
        min_size=1,
    ),
    st.lists(st.dictionaries(st.text(), st.integers())),
)
def test_bytes_bound_tokens(messages: list[dict[str, object]], tools: list[dict[str, int]]) -> None:
    """No prompt has more tokens than its request has bytes, and none is free."""
    asked, size = request(messages=messages, tools=tools)

    assert 0 < prompt_tokens(asked, 1_000_000) <= size


def test_prompt_tokens_by_hand() -> None:
    """A quarter of the characters rounded up, three a message, three a prompt."""
    asked, size = request(
        messages=[{"role": "system", "content": "12345"}, {"role": "user", "content": "1234"}]
    )

    assert (2 + 3) + (1 + 3) + 3 == prompt_tokens(asked, size)


def test_same_conversation_same_answer() -> None:
    """Limits and stream options don't change what is answered, only where it is cut; the seed does."""
    messages = [{"role": "user", "content": "Compare the offers."}]
    plain, size = request(messages=messages)
    limited, _ = request(messages=messages, max_tokens=5, stream=True)

    whole = complete(plain, MINI, NONE, limit=None, body_bytes=size, seed=7)
    cut = complete(limited, MINI, NONE, limit=5, body_bytes=size, seed=7)
    others = [complete(plain, MINI, NONE, limit=None, body_bytes=size, seed=seed) for seed in range(8)]

    assert whole == complete(plain, MINI, NONE, limit=None, body_bytes=size, seed=7)
    assert whole.choices[0].start == cut.choices[0].start
    assert (5, "length") == (cut.completion_tokens, cut.choices[0].finish_reason)
    assert 1 < len({other.completion_tokens for other in others})


def test_reasoning_is_part_of_the_completion() -> None:
    """Tokens that aren't shown count and are cut like any other."""
    asked, size = request(messages=[{"role": "user", "content": "x"}], n=2)
    ordered = Directives(tokens=30, reasoning=20)

    done = complete(asked, MODELS["gpt-5-mini"], ordered, limit=25, body_bytes=size, seed=7)

    assert (50, 40) == (done.completion_tokens, done.reasoning_tokens)
    assert [(5, "length")] * 2 == [(choice.tokens, choice.finish_reason) for choice in done.choices]


@given(st.integers(0, 2**32), st.integers(0, 2_000))
def test_a_stream_says_the_same(number: int, tokens: int) -> None:
    """Piece by piece or whole: the same text, one word to the token."""
    start = prose.opening(number)

    assert prose.text(start, tokens).encode() == b"".join(prose.pieces(start, tokens))
    assert tokens == len(prose.text(start, tokens).split())


def test_directives_are_read() -> None:
    """Names and values are found anywhere in the text; what isn't one is text."""
    assert Directives(tokens=400, hang=True) == parse("Say [[tokens=400]] words, then [[hang]].")
    assert NONE == parse("a list of lists: [[1, 2], [3, 4]]")


@pytest.mark.parametrize(
    "text", ["[[tokenz=4]]", "[[tokens=-4]]", "[[tokens]]", "[[fail=200]]", "[[usage=odd]]"]
)
def test_wrong_directives_are_refused(text: str) -> None:
    """A typing error isn't passed over."""
    with pytest.raises(DirectiveError, match=text.strip("[]").split("=")[0]):
        parse(text)


@pytest.mark.parametrize(
    ("nano_usd", "expected"),
    [(0, "0.00"), (250_000_000, "0.25"), (12_300_000, "0.0123"), (1, "0.000000001"), (5 * 10**9, "5.00")],
)
def test_dollars_are_exact(nano_usd: int, expected: str) -> None:
    """Nano-dollars become a decimal string without loss."""
    assert expected == usd(nano_usd)


def test_the_oracle_is_independent() -> None:
    """The running upstream has loaded nothing of the gateway but itself."""
    program = "import sys, aegis_gateway.demo.upstream.server; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    ours = [name for name in loaded.stdout.split() if name.startswith("aegis_gateway")]

    own = ("aegis_gateway.demo.upstream.", "aegis_gateway.demo.upstream")
    assert {"aegis_gateway", "aegis_gateway.demo"} == {name for name in ours if not name.startswith(own)}
