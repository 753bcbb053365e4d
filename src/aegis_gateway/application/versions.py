"""Signed versions: a configuration decides only if it is, to the byte, what somebody with the key applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from aegis_gateway.application.ports import Signatures
from aegis_gateway.domain.config_version import Canary, ConfigVersion
from aegis_gateway.domain.errors import ConfigurationError, VersionForged

KEY_ID_CHARACTERS = 16
"""How much of a public key people compare."""


def signed(version: ConfigVersion, signatures: Signatures) -> ConfigVersion:
    """A version with its signature.

    Raises:
        ConfigurationError: there is no private key to sign with.
    """
    signature = signatures.sign(version.bundle)
    return msgspec.structs.replace(version, signed_by=signatures.public_key, signature=signature)


def verify(version: ConfigVersion, signatures: Signatures) -> None:
    """Make sure that a version is as it was signed, by a key that is trusted here.

    Raises:
        VersionForged: it is not.
    """
    if version.signed_by not in signatures.trusted:
        whose = f"by key `{version.signed_by[:KEY_ID_CHARACTERS]}`" if version.signed_by else "by nobody"
        raise VersionForged(
            f"configuration {version.version} was signed {whose}, and trusted here is "
            f"{', '.join(f'`{key[:KEY_ID_CHARACTERS]}`' for key in signatures.trusted)}; "
            "put the key back that AEGIS_SIGNING_KEY refers to, or add the public one to its file"
        )
    if not signatures.is_signature(version.signed_by, version.bundle, version.signature):
        raise VersionForged(
            f"configuration {version.version} in the store is not what was signed: somebody changed it there; "
            "`aegis versions verify` checks all, `aegis rollback VERSION` goes back to one that is intact"
        )


def is_intact(version: ConfigVersion, signatures: Signatures) -> bool:
    """Whether a version is as it was signed."""
    try:
        verify(version, signatures)
    except VersionForged:
        return False
    return True


def canary_beside(
    latest: ConfigVersion | None, files: dict[str, str], canary: Canary | None, ends: int | None
) -> Canary | None:
    """The canary that a version becomes which follows the latest; None for one that is in force for all.

    Raises:
        ConfigurationError: what is under way forbids it.
    """
    under_way = latest.canary if latest is not None else None
    if latest is not None and under_way is not None and ends != latest.version:
        if canary is None or latest.files != files:
            raise ConfigurationError(
                f"configuration {latest.version} is a canary that is under way; "
                "`aegis canary promote` or `aegis canary abort` ends it first"
            )
    elif ends is not None and under_way is None:
        raise ConfigurationError(
            f"canary {ends} is not under way any more; `aegis versions` says what followed"
        )
    if canary is None:
        return None
    if latest is None:
        raise ConfigurationError(
            "no configuration is in force yet for the others; apply one without --canary"
        )
    if under_way is None and latest.files == files:
        raise ConfigurationError(
            f"there is nothing to try: configuration {latest.version} is in force and the same"
        )
    beside = latest.version if under_way is None else under_way.beside
    return msgspec.structs.replace(canary, beside=beside)


def checked_versions(
    versions: Iterable[ConfigVersion], signatures: Signatures
) -> Iterator[tuple[ConfigVersion, list[str]]]:
    """All versions, given from the first on, each with what is wrong with it."""
    expected, previous = 1, ""
    for version in versions:
        wrong = []
        if version.version != expected:
            last = version.version - 1
            missing = f"{expected}" if last == expected else f"{expected} to {last}"
            wrong.append(f"what was applied before it is not there: {missing}")
        elif version.previous != previous:
            wrong.append("it follows another configuration than the one that is stored before it")
        try:
            verify(version, signatures)
        except VersionForged as fault:
            wrong.append(str(fault))
        yield version, wrong
        expected, previous = version.version + 1, version.bundle_digest
