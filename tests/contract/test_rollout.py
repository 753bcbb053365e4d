"""What is kept for the rollout, on every store: reviews, tests of channels, and who looked from outside."""

from __future__ import annotations

import pytest

from aegis_gateway.adapters.rollout_reports import RolloutReports
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Store
from aegis_gateway.application.redelivering import Redelivering
from aegis_gateway.application.reviewing import Reviews
from aegis_gateway.configuration.settings import Settings
from aegis_gateway.configuration.telemetry import TelemetrySettings
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import NotSent, Outcome, Sent
from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.review import QUARTER_NS
from aegis_gateway.entrypoints.jobs import jobs
from tests.ledgers import DAY_NS, TurnableClock

CALLER = Caller(local_name="ann")
OPS = Channel(id="ops", kind="slack", place="C012")
MAIL = Channel(id="mail", kind="email", recipients=("fin@acme.example", "ana@acme.example"))


def test_reviews_stand_in_the_record(store: Store, clock: TurnableClock) -> None:
    """The newest first, with who and what and when again, of one tenant alone; a quarter later where nobody says."""
    reviews = Reviews(store, b"pepper", CALLER)
    first = reviews.record("acme", " all  of it\n", None)
    assert ("local:ann", "all of it", first.at_ns + QUARTER_NS) == (first.by, first.note, first.next_ns)
    clock.at_ns += DAY_NS
    second = reviews.record("acme", "again", clock.at_ns + 5 * DAY_NS)
    found = RolloutReports(store.query)
    assert [second, first] == found.reviews("acme", 10)
    assert [second] == found.reviews("acme", 1)
    assert [] == found.reviews("zeta", 10)


def test_a_review_has_words_and_a_day_to_come(store: Store, clock: TurnableClock) -> None:
    """Without a note, or with a next time that is over or too far away, nothing is recorded."""
    reviews = Reviews(store, b"pepper", CALLER)
    for note, next_ns in (("  ", None), ("x", clock.at_ns), ("x", clock.at_ns + 1_000 * DAY_NS)):
        with pytest.raises(ConfigurationError):
            reviews.record("acme", note, next_ns)
    assert [] == RolloutReports(store.query).reviews("acme", 10)


def test_a_channel_is_tested_when_all_of_a_test_was_sent(store: Store, clock: TurnableClock) -> None:
    """A test that failed, or was sent to some only, is none; the last that was sent counts."""
    acts = Redelivering(store, b"pepper", CALLER)
    reports = RolloutReports(store.query)
    outcomes: list[Outcome] = [
        NotSent(fault="no"),
        Sent(),
        NotSent(fault="no"),
        Sent(),
        Sent(),
        Sent(),
        NotSent(fault="no"),
    ]
    told = iter(outcomes)
    acts.test("acme", OPS, lambda _: next(told))
    assert {} == reports.tested("acme")
    acts.test("acme", MAIL, lambda _: next(told))
    assert {} == reports.tested("acme")
    clock.at_ns += DAY_NS
    acts.test("acme", MAIL, lambda _: next(told))
    first_ns = clock.at_ns
    clock.at_ns += DAY_NS
    acts.test("acme", OPS, lambda _: next(told))
    assert {"mail": first_ns, "ops": clock.at_ns} == reports.tested("acme")
    clock.at_ns += DAY_NS
    acts.test("acme", OPS, lambda _: next(told))
    assert {"mail": first_ns, "ops": clock.at_ns - DAY_NS} == reports.tested("acme")
    assert {} == reports.tested("zeta")


def test_telemetry_that_is_sent_is_noted(store: Store) -> None:
    """The steward notes that spans or metrics are sent; where none are, it notes nothing."""
    for settings, noted in (
        (Settings(), set()),
        (Settings(telemetry=TelemetrySettings(traces="grpc")), {"telemetry"}),
    ):
        (job,) = (job for job in jobs(settings) if job.name == "noting telemetry")
        job.begin(store)()
        assert noted == set(RolloutReports(store.query).seen())


def test_who_looked_last_is_kept(store: Store, reader: Store) -> None:
    """One time for each way of looking, the last that was noted."""
    assert {} == RolloutReports(reader.query).seen()
    for name, at_ns in (("metrics", 5), ("telemetry", 6), ("metrics", 7)):
        with store.change([]) as change:
            change.note_seen(name, at_ns)  # type: ignore[arg-type]  # one of those that there are
    assert {"metrics": 7, "telemetry": 6} == RolloutReports(reader.query).seen()
