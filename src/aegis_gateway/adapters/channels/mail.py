"""E-mail: text and HTML in one message, over a connection to a vetted address, encrypted before anything is said.

Rule 1: a mail server that does not take STARTTLS gets nothing, but where the operator says that it is on their own
        network (`network: private`) and it needs no password.
Rule 2: the mail's id is the delivery's, so a mail that came twice can be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import smtplib
import socket
import ssl
import threading
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import urlsplit

from aegis_gateway.adapters.addresses import Addresses
from aegis_gateway.application.ports import Secrets
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.delivery import Delivery, NotSent, Outcome, Sent
from aegis_gateway.domain.errors import UpstreamFault

TIMEOUT_S = 15.0
"""How long one answer of the server may take."""
TOTAL_S = 45.0
"""How long all of it may take, however slowly the server goes on answering: less than a delivery is taken for."""

_SECOND_NS = 1_000_000_000
_PORTS = {"smtp": 587, "smtps": 465}
_NEVER = range(500, 600)


class MailChannel:
    """Mails by one server."""

    def __init__(
        self,
        channel: Channel,
        secrets: Secrets,
        tls: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        """`tls` says which certificates count; the system's, if it is left out."""
        self._total_s = total_s
        self._channel = channel
        self._secrets = secrets
        self._tls = tls

    def send(self, delivery: Delivery, _before: tuple[str, ...]) -> Outcome:
        """Send the message as a mail.

        Raises:
            ConfigurationError: there is no password.
        """
        user, _, password = (
            self._secrets.resolve(self._channel.credential) if self._channel.credential else ""
        ).partition(":")
        parts = urlsplit(self._channel.address)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        tls = self._tls or ssl.create_default_context()
        try:
            found = asyncio.run(Addresses().of(host, port, self._channel.network))
            address = found[0] if found else host
            begins = parts.scheme == "smtps"
            with _Connection(host, port, address, tls, self._total_s, begins=begins) as server:
                if parts.scheme == "smtp" and not self._encrypt(server, tls, has_password=bool(user)):
                    return NotSent(fault="the mail server takes no STARTTLS; nothing was sent", is_final=True)
                if user:
                    server.login(user, password)
                server.send_message(mail(delivery, self._channel.sender))
        except UpstreamFault as fault:
            words = str(fault).replace("the upstream", "the mail server").replace("an upstream", "a channel")
            return NotSent(fault=words.replace("for its connector", "for the channel"))
        except smtplib.SMTPRecipientsRefused as fault:
            return _refused(*next(iter(fault.recipients.values())))
        except smtplib.SMTPResponseException as fault:
            return _refused(fault.smtp_code, fault.smtp_error)
        except ssl.SSLCertVerificationError as fault:
            return NotSent(fault=f"the mail server's certificate doesn't count: {fault.verify_message}")
        except (OSError, smtplib.SMTPException):
            return NotSent(fault="the connection to the mail server failed, or broke off")
        return Sent()

    def _encrypt(self, server: smtplib.SMTP, tls: ssl.SSLContext, *, has_password: bool) -> bool:
        """Whether it may go on: the connection is encrypted, or need not be."""
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=tls)
            server.ehlo()
            return True
        return self._channel.network == "private" and not has_password


class _Connection(smtplib.SMTP):
    """A connection to the address that was vetted, under the name whose certificate is asked for, for a while."""

    def __init__(
        self, host: str, port: int, address: str, tls: ssl.SSLContext, total_s: float, *, begins: bool
    ) -> None:
        self._address = address
        self._first = tls if begins else None
        self._total_s = total_s
        self._over: threading.Timer | None = None
        self._watched: socket.socket | None = None
        super().__init__(host, port, timeout=TIMEOUT_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((self._address, port), timeout)
        self._watched = connection.dup()
        self._over = threading.Timer(self._total_s, _cut, (self._watched,))
        self._over.daemon = True
        self._over.start()
        if self._first is None:
            return connection
        return self._first.wrap_socket(connection, server_hostname=host)

    def close(self) -> None:
        """Close it in time."""
        if self._over is not None and self._watched is not None:
            self._over.cancel()
            self._watched.close()
        super().close()


def _cut(connection: socket.socket) -> None:
    """End a connection that others are at."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _refused(code: int, words: bytes | str) -> NotSent:
    said = words.decode(errors="replace") if isinstance(words, bytes) else words
    return NotSent(fault=f"the mail server answered {code}: {said}", is_final=code in _NEVER)


def mail(delivery: Delivery, sender: str) -> EmailMessage:
    """The mail that a message is."""
    message = delivery.message
    written = EmailMessage()
    written["Subject"] = message.title
    written["From"] = f"Aegis <{sender}>"
    written["To"] = delivery.recipient
    written["Date"] = format_datetime(datetime.fromtimestamp(message.at_ns // _SECOND_NS, UTC))
    written["Message-ID"] = f"<{delivery.id}@{sender.rpartition('@')[2]}>"
    written["Auto-Submitted"] = "auto-generated"
    written.set_content(_text(delivery))
    written.add_alternative(_html(delivery), subtype="html")
    return written


def _text(delivery: Delivery) -> str:
    message = delivery.message
    facts = "\n".join(f"{label}: {value}" for label, value in message.facts)
    links = "\n".join(f"{link.label}: {link.url}" for link in message.links)
    return (
        "\n\n".join(filter(None, (message.title, message.text, facts, links, f"-- \n{delivery.id}"))) + "\n"
    )


def _html(delivery: Delivery) -> str:
    message, said = delivery.message, html.escape
    rows = "".join(
        f'<tr><th align="left" valign="top" style="padding:2px 12px 2px 0">{said(label)}</th>'
        f"<td>{said(value)}</td></tr>"
        for label, value in message.facts
    )
    links = "".join(
        f'<p><a href="{said(link.url, quote=True)}">{said(link.label)}</a></p>' for link in message.links
    )
    return (
        f'<!doctype html><html lang="en"><body style="font-family:sans-serif"><h2>{said(message.title)}</h2>'
        f"<p>{said(message.text)}</p><table>{rows}</table>{links}"
        f'<p style="color:#666;font-size:small">{said(delivery.id)}</p></body></html>'
    )
