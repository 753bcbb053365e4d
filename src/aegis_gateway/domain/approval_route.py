"""Whose word is wanted, by when, and who is asked if nobody answers. Pure: people come in as they are now.

Rule 1: where a route names people or groups, only those may answer; where it names a role, whoever holds it now.
Rule 2: each `Want` has to be met by itself: what one policy wants of finance, security cannot give.
Rule 3: who is asked when nobody answered may stand in for any of them, and is one person all the same.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from aegis_gateway.domain.people import ALL_TENANTS, Person, Role, may

_HOUR_NS = 3_600 * 1_000_000_000


class Group(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who is asked, under a name: people by their ids, or whoever holds a role in the tenant; where it has both, those
    of the people who hold the role.
    """

    name: str
    people: tuple[str, ...] = ()
    role: Role | None = None

    def has(self, person: Person, tenant: str) -> bool:
        """Whether somebody is of it now. Who is suspended is of no group."""
        if person.suspended_ns is not None or (self.people and person.id not in self.people):
            return False
        if self.role is None:
            return bool(self.people)
        if self.role == "approver":
            return may(person, "approve", tenant)
        return any(
            grant.role in (self.role, "admin") and grant.tenant in (tenant, ALL_TENANTS)
            for grant in person.grants
        )


APPROVERS = Group(name="approvers", role="approver")
"""Who is asked where nothing else is said: everybody who may approve in the tenant."""


BUDGET_OWNER = "budget_owner"
"""What the group is called that a budget's owner and deputy are, where somebody asks for more of it."""

LIMIT_CHANGERS = Group(name="whoever may change limits", role="finops")
"""Who is asked for more where nobody else is named, or nobody who is could answer."""


class Want(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """So many people of some groups have to agree."""

    groups: tuple[Group, ...] = (APPROVERS,)
    needs: int = 1


class Escalation(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Who else is asked, once nobody has decided for so long; in nanoseconds."""

    after_ns: int
    groups: tuple[Group, ...]


class Route(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Whose word a request wants, and until when; a grant may then be used for `valid_for_ns`. In nanoseconds.

    All `wants` have to be met. Whom a route names is settled when the request is made; roles, and who is suspended,
    are looked up when somebody answers.
    """

    wants: tuple[Want, ...] = (Want(),)
    within_ns: int = 4 * _HOUR_NS
    valid_for_ns: int = _HOUR_NS
    escalation: Escalation | None = None

    def asked(self, level: int) -> tuple[Group, ...]:
        """Everybody who is asked at a level of escalation, each group once."""
        groups = [group for want in self.wants for group in want.groups]
        if level and self.escalation is not None:
            groups += self.escalation.groups
        return tuple(dict.fromkeys(groups))

    def met_by(self, person: Person | None, tenant: str, level: int) -> tuple[int, ...]:
        """Which wants somebody may give their word for, by number.

        Nobody in particular (`None`: whoever can open the store, while there are no accounts) may for all.
        """
        everything = tuple(range(len(self.wants)))
        if person is None:
            return everything
        if level and self.escalation is not None and _is_in(self.escalation.groups, person, tenant):
            return everything
        return tuple(number for number, want in enumerate(self.wants) if _is_in(want.groups, person, tenant))


def _is_in(groups: Collection[Group], person: Person, tenant: str) -> bool:
    return any(group.has(person, tenant) for group in groups)


def joined(routes: Collection[Route]) -> Route:
    """One route for all that want a word of the same request: every want, the shortest times, all who are asked later.

    The default one where there are none.
    """
    if not routes:
        return Route()
    escalations = [route.escalation for route in routes if route.escalation is not None]
    return Route(
        wants=tuple(dict.fromkeys(want for route in routes for want in route.wants)),
        within_ns=min(route.within_ns for route in routes),
        valid_for_ns=min(route.valid_for_ns for route in routes),
        escalation=Escalation(
            after_ns=min(each.after_ns for each in escalations),
            groups=tuple(dict.fromkeys(group for each in escalations for group in each.groups)),
        )
        if escalations
        else None,
    )
