"""Months of a tenant's zone, as an address or a command names them: `2026-11`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from aegis_gateway.domain.errors import ConfigurationError
from aegis_gateway.domain.hourly import HOUR_NS
from aegis_gateway.domain.report import Stretch
from aegis_gateway.domain.window import window_at

_MONTH = re.compile(r"(19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-(0[1-9]|1[0-2])")
_NANOS = 1_000_000_000
_MIDST = 15


class Month(msgspec.Struct, frozen=True, kw_only=True):
    """A month and the one before, from and to whole hours. `until_ns` is its end, `now_ns` when it is looked at."""

    label: str
    name: str
    zone: str
    since_ns: int
    until_ns: int
    now_ns: int
    before_since_ns: int
    before_name: str

    @property
    def is_over(self) -> bool:
        """Whether it is whole."""
        return self.now_ns >= self.until_ns

    @property
    def is_to_come(self) -> bool:
        """Whether it hasn't begun."""
        return self.now_ns < self.since_ns

    @property
    def period(self) -> Stretch:
        """As much of it as there is, up to the end of the present hour."""
        if self.is_over:
            return Stretch(since_ns=self.since_ns, until_ns=self.until_ns, words=self.name)
        until_ns = max(self.since_ns, self.now_ns - self.now_ns % HOUR_NS + HOUR_NS)
        return Stretch(
            since_ns=self.since_ns, until_ns=until_ns, words=_up_to(self.name, self.now_ns, self.zone)
        )

    @property
    def before(self) -> Stretch:
        """The month before, or as much of it as there is of this one."""
        end_ns = self.since_ns
        if self.is_over:
            return Stretch(since_ns=self.before_since_ns, until_ns=end_ns, words=self.before_name)
        period = self.period
        until_ns = min(self.before_since_ns + period.until_ns - period.since_ns, end_ns)
        words = self.before_name if until_ns == end_ns else _up_to(self.before_name, until_ns, self.zone)
        return Stretch(since_ns=self.before_since_ns, until_ns=until_ns, words=words)

    @property
    def days(self) -> list[tuple[int, int]]:
        """Its days, from and to whole hours, also those to come."""
        found: list[tuple[int, int]] = []
        at_ns = self.since_ns
        while at_ns < self.until_ns:
            # By the end of the hour: a day may begin in the midst of the one that it is taken from.
            day = window_at("daily", ZoneInfo(self.zone), at_ns + HOUR_NS - 1)
            found.append((at_ns, _whole(day.ends_ns)))
            at_ns = _whole(day.ends_ns)
        return found

    @property
    def whole_before(self) -> tuple[int, int]:
        """All of the month before."""
        return self.before_since_ns, self.since_ns


def month_of(text: str, zone: str, now_ns: int) -> Month:
    """The month that a text names; the present one where it is empty.

    Raises:
        ConfigurationError: it names none, or one that hasn't begun.
    """
    where = ZoneInfo(zone)
    at_ns = now_ns
    if text:
        found = _MONTH.fullmatch(text)
        if found is None:
            raise ConfigurationError(f"`{text[:20]}` is no month; write it as in 2026-11")
        moment = datetime(int(found[1]), int(found[2]), _MIDST, 12, tzinfo=where)
        at_ns = int(moment.timestamp()) * _NANOS
    window = window_at("monthly", where, at_ns)
    before = window_at("monthly", where, window.starts_ns - 1)
    month = Month(
        label=window.label,
        name=_name(window.label),
        zone=zone,
        since_ns=_whole(window.starts_ns),
        until_ns=_whole(window.ends_ns),
        now_ns=now_ns,
        before_since_ns=_whole(before.starts_ns),
        before_name=_name(before.label),
    )
    if month.is_to_come:
        raise ConfigurationError(f"{month.name} is yet to come; write a month that has begun")
    return month


def _name(label: str) -> str:
    return f"{datetime.fromisoformat(f'{label}-01'):%B %Y}"


def _up_to(name: str, at_ns: int, zone: str) -> str:
    moment = datetime.fromtimestamp(at_ns // _NANOS, UTC).astimezone(ZoneInfo(zone))
    return f"{name} up to {moment:%-d %b, %H:%M}"


def _whole(at_ns: int) -> int:
    """The beginning of the hour, as sums are kept by the hour."""
    return at_ns - at_ns % HOUR_NS


def months_back(zone: str, now_ns: int, count: int) -> list[tuple[str, str]]:
    """So many months from the present one back: as an address names them, and as people do."""
    where, at_ns, found = ZoneInfo(zone), now_ns, []
    for _ in range(count):
        window = window_at("monthly", where, at_ns)
        found.append((window.label, _name(window.label)))
        at_ns = window.starts_ns - 1
    return found
