"""The SDK over TLS: certificates are checked, connections kept, forked processes get their own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aegis_sdk import Aegis, Unavailable
from tests.gateways import HOST, Gateway
from tests.sdks import CLIENTS, Blocking, tools

pytestmark = pytest.mark.xdist_group("sdk_clients")


def certificate(directory: Path) -> Path:
    """A certificate for this machine, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aegis")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / "tls.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return file


class TlsRelay:
    """What operators put in front of a gateway: ends TLS, and passes on what it gets."""

    def __init__(self, gateway: Gateway, file: Path) -> None:
        self._to = (HOST, gateway.settings.port)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(file)
        self._listener = socket.create_server((HOST, 0))
        self.url = f"https://{HOST}:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with (
                self._context.wrap_socket(plain, server_side=True) as near,
                socket.create_connection(self._to) as far,
            ):
                self.connections += 1
                back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
                back.start()
                _pass_on(near, far)
                far.shutdown(socket.SHUT_RDWR)
                back.join()
        except OSError:  # the caller left, or did not trust the certificate
            plain.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65_536):
            target.sendall(piece)
    except OSError:  # either has left
        return


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def relay(file: Path) -> Iterator[tuple[TlsRelay, str]]:
    """A gateway behind TLS, with a key for it."""
    with Gateway(tools()) as gateway:
        relay = TlsRelay(gateway, file)
        yield relay, gateway.key()
        relay.close()


@pytest.mark.parametrize("which", CLIENTS, ids=["sync", "async"])
def test_over_tls(which: type[Aegis] | type[Blocking], relay: tuple[TlsRelay, str], file: Path) -> None:
    """With a context that trusts it, many calls go over one connection; without, nobody is asked."""
    server, key = relay
    trusting = ssl.create_default_context(cafile=file)
    before = server.connections
    with which(server.url, key, ssl_context=trusting) as client:
        for _ in range(5):
            assert Decimal("0.1") == client.settle(client.decide("desk.rank")).cost_usd
        assert before + 1 == server.connections
    with which(server.url, key) as stranger, pytest.raises(Unavailable, match="certificate"):
        stranger.decide("desk.rank")


def test_over_tls_in_forked_processes(relay: tuple[TlsRelay, str], file: Path) -> None:
    """A forked process opens a connection of its own, and its parent's goes on."""
    server, key = relay
    with Aegis(server.url, key, ssl_context=ssl.create_default_context(cafile=file)) as client:
        client.release(client.decide("desk.rank"))
        before = server.connections
        pid = os.fork()
        if not pid:
            code = 1
            try:
                client.release(client.decide("desk.rank"))
                code = 0
            finally:
                os._exit(code)
        client.release(client.decide("desk.rank"))
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert Decimal(0) == client.release(client.decide("desk.rank")).cost_usd
        assert before + 1 == server.connections
