"""Signatures of configurations: Ed25519 (RFC 8032), by keys in PEM as `openssl genpkey -algorithm ed25519` makes them.

Rule 1: the first private key signs. Public keys beside it are trusted too: those that signed before, or, on a gateway
        that nobody applies from, the only ones there are.
"""

from __future__ import annotations

import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aegis_gateway.domain.errors import ConfigurationError

_PEM = re.compile(r"-----BEGIN (PRIVATE|PUBLIC) KEY-----.*?-----END \1 KEY-----", re.DOTALL)


def new_private_key() -> str:
    """A new private key, in PEM."""
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


class Ed25519Signatures:
    """Signs and verifies with the keys of one text."""

    def __init__(self, pem: str, reference: str) -> None:
        """Read the keys; `reference` says in messages where they are.

        Raises:
            ConfigurationError: there is none, or one is no Ed25519 key.
        """
        self._reference = reference
        self._private: Ed25519PrivateKey | None = None
        self._public: dict[str, Ed25519PublicKey] = {}
        for block in _PEM.finditer(pem):
            self._add(block[0].encode(), is_private=block[1] == "PRIVATE")
        if not self._public:
            raise ConfigurationError(
                f"`{reference}` has no key; write one in PEM, Ed25519, without a passphrase"
            )

    @property
    def public_key(self) -> str:
        """The public key of what is signed here; hexadecimal."""
        return next(iter(self._public))

    @property
    def trusted(self) -> tuple[str, ...]:
        """All public keys whose signatures count; hexadecimal."""
        return tuple(self._public)

    @property
    def why_not_sign(self) -> str:
        """Why nothing can be signed here; empty if it can be."""
        if self._private is not None:
            return ""
        return f"`{self._reference}` has public keys only, so nothing can be applied here"

    def sign(self, data: bytes) -> bytes:
        """Sign.

        Raises:
            ConfigurationError: there is no private key.
        """
        if self._private is None:
            raise ConfigurationError(self.why_not_sign)
        return self._private.sign(data)

    def is_signature(self, public_key: str, data: bytes, signature: bytes) -> bool:
        """Whether it is this trusted key's signature of the data."""
        try:
            self._public[public_key].verify(signature, data)
        except (InvalidSignature, KeyError):
            return False
        return True

    def _add(self, pem: bytes, *, is_private: bool) -> None:
        try:
            key = (
                serialization.load_pem_private_key(pem, None)
                if is_private
                else serialization.load_pem_public_key(pem)
            )
        except (ValueError, TypeError) as fault:
            raise ConfigurationError(
                f"a key in `{self._reference}` cannot be read; is it whole, and without a passphrase?"
            ) from fault
        if isinstance(key, Ed25519PrivateKey):
            public = key.public_key()
            if self._private is None:
                self._private = key
                self._public = {_name(public): public, **self._public}
        elif isinstance(key, Ed25519PublicKey):
            public = key
        else:
            raise ConfigurationError(
                f"a key in `{self._reference}` is not Ed25519; make one with `openssl genpkey -algorithm ed25519`"
            )
        self._public.setdefault(_name(public), public)


def _name(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()
