"""What is kept of answers, encrypted: AES-256-GCM, a key for each tenant, derived from the installation's pepper."""

from __future__ import annotations

import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aegis_gateway.domain.errors import StoreError

_NONCE_BYTES = 12


class AesSealer:
    """Seals under a pepper. With another pepper what was sealed before cannot be opened."""

    def __init__(self, pepper: bytes) -> None:
        """Derive tenants' keys from a pepper."""
        self._cipher = lru_cache(maxsize=1_024)(
            lambda tenant: AESGCM(hmac.digest(pepper, f"answers:{tenant}".encode(), "sha256"))
        )

    def seal(self, tenant: str, data: bytes, about: bytes) -> bytes:
        """Encrypt, bound to what it is about; a fresh nonce stands first."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(tenant).encrypt(nonce, data, about)

    def open(self, tenant: str, sealed: bytes, about: bytes) -> bytes:
        """Decrypt.

        Raises:
            StoreError: it is not what was sealed, or about something else.
        """
        try:
            return self._cipher(tenant).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
        except (InvalidTag, ValueError) as fault:  # the latter where it is too short to be any
            raise StoreError("a kept answer cannot be opened; was the pepper changed?") from fault
