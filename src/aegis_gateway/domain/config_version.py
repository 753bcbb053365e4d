"""A version of the configuration: what was applied, by whom, when and why.

Rule 1: a version is never changed. It is known by its content: `digest` of the files, `bundle_digest` of everything.
Rule 2: what is signed is `bundle`: all of the version but the signature, and by `previous` all versions before it.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from aegis_gateway.domain.share import WHOLE

_CONTEXT = b"aegis configuration v1\n"
"""Stands before what is signed, so that a signature of a version is none of anything else."""

_encode = msgspec.json.Encoder(order="sorted").encode


class Canary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For whom a version decides while others stay with the version `beside` it: these agents, or this share of all.

    `share` is in ten-thousandths.
    """

    beside: int
    share: int = 0
    agents: tuple[str, ...] = ()

    def includes(self, tenant: str, agent: str, key: bytes) -> bool:
        """Whether it decides for an agent.

        A keyed hash tells, so that it is the same at each call and in each process, nobody can choose a name for it,
        and whoever is in a share stays in when it grows.
        """
        if self.agents:
            return agent in self.agents
        about = f"canary\n{self.beside}\n{tenant}\n{agent}".encode()
        return int.from_bytes(hmac.digest(key, about, "sha256")[:8], "big") % WHOLE < self.share


class Watch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a version is taken back by itself: in the time after it was applied, or while it is a canary, so many more
    of its calls are refused, or fail, than were before, or than are beside it.

    Shares are in ten-thousandths of calls, and count from `of_at_least` calls on.
    """

    refusals_up_by: int | None = None
    errors_up_by: int | None = None
    of_at_least: int = 200
    within_ns: int = 600_000_000_000


class ConfigVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One applied configuration: the files' texts by relative path, who applied it, when, and why.

    `previous` is the bundle digest of the version before, `back_to` the version whose files these are, if it goes back
    to one. `approved_by` is the second person, where two were needed, `risk` whether applying it was found to widen or
    to narrow. `signed_by` is the public key, in hexadecimal.
    """

    version: int
    files: dict[str, str]
    applied_by: str
    applied_ns: int
    note: str = ""
    approved_by: str = ""
    previous: str = ""
    back_to: int | None = None
    risk: str = ""
    canary: Canary | None = None
    watch: Watch | None = None
    signed_by: str = ""
    signature: bytes = b""

    @property
    def digest(self) -> str:
        """SHA-256 of the files, by which a configuration is the same wherever it is applied; hexadecimal."""
        return hashlib.sha256(_encode(self.files)).hexdigest()

    @property
    def bundle(self) -> bytes:
        """What is signed: everything else, in canonical bytes."""
        return _CONTEXT + _encode(msgspec.structs.replace(self, signed_by="", signature=b""))

    @property
    def bundle_digest(self) -> str:
        """SHA-256 of the bundle; hexadecimal."""
        return hashlib.sha256(self.bundle).hexdigest()
