"""The other sides of channels, for tests: real servers on this machine that keep to the published shapes.

Each keeps its own record of what it got, and answers what it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"


class Got(msgspec.Struct, frozen=True, kw_only=True):
    """One request: header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered: or, with `hangs_up`, a connection that ends in the middle."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""
    hangs_up: bool = False


Answering = Callable[[Got], Said]


class Receiver:
    """An HTTP server that answers by a function, after what it was told to answer first."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.got: list[Got] = []
        self.first: list[Said] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._serve(self)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        got = Got(path=handler.path, headers=headers, body=body)
        self.got.append(got)
        assert self.may_answer.wait(30)
        said = self.first.pop(0) if self.first else self._answering(got)
        if said.hangs_up:
            handler.close_connection = True
            return
        handler.send_response(said.status)
        for name, value in said.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(said.body)))
        with contextlib.suppress(ConnectionError):  # whoever asked may have waited for long enough
            handler.end_headers()
            handler.wfile.write(said.body)

    def close(self) -> None:
        """Stop listening."""
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiver(answering: Answering = lambda _got: Said()) -> Iterator[Receiver]:
    """A server for a while."""
    server = Receiver(answering)
    try:
        yield server
    finally:
        server.close()


class FakeSlack:
    """Slack's Web API, as far as channels use it: messages by channel and time, views that were opened."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.messages: dict[tuple[str, str], dict[str, Any]] = {}
        self.views: list[dict[str, Any]] = []
        self.whispers: list[dict[str, Any]] = []
        self.triggers: set[str] = set()
        self.calls: list[str] = []
        self.ratelimited_for_s = 0

    def __call__(self, got: Got) -> Said:
        """Answer a call of a method."""
        method = urlsplit(got.path).path.rpartition("/")[2]
        self.calls.append(method)
        if self.ratelimited_for_s:
            after, self.ratelimited_for_s = self.ratelimited_for_s, 0
            return _json({"ok": False, "error": "ratelimited"}, 429, {"retry-after": str(after)})
        if got.headers.get("authorization") != f"Bearer {self._token}":
            return _json({"ok": False, "error": "invalid_auth"})
        return _json(getattr(self, f"_{method.replace('.', '_')}", self._unknown)(got.json))

    def _unknown(self, _asked: dict[str, Any]) -> dict[str, Any]:
        return {"ok": False, "error": "unknown_method"}

    def _chat_postMessage(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        if not asked["channel"].startswith("C0"):
            return {"ok": False, "error": "channel_not_found"}
        if fault := block_fault(asked["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [fault]}}
        ts = f"{int(time.time())}.{len(self.messages):06d}"
        self.messages[asked["channel"], ts] = asked
        return {"ok": True, "channel": asked["channel"], "ts": ts, "message": {"text": asked["text"]}}

    def _chat_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        place = asked["channel"], asked["ts"]
        if place not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        if fault := block_fault(asked["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [fault]}}
        self.messages[place] = asked
        return {"ok": True, "channel": asked["channel"], "ts": asked["ts"], "text": asked["text"]}

    def _chat_postEphemeral(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        if not asked["channel"].startswith("C0"):
            return {"ok": False, "error": "channel_not_found"}
        if not asked["text"]:
            return {"ok": False, "error": "no_text"}
        self.whispers.append(asked)
        return {"ok": True, "message_ts": f"{int(time.time())}.000000"}

    def _views_open(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("trigger_id") not in self.triggers:
            return {"ok": False, "error": "invalid_trigger_id"}
        if fault := block_fault(asked["view"]["blocks"]):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [fault]}}
        self.triggers.remove(asked["trigger_id"])
        self.views.append(asked["view"])
        return {"ok": True, "view": {"id": f"V{len(self.views)}"}}


def block_fault(blocks: list[dict[str, Any]]) -> str:
    """What Slack would refuse about blocks; empty if nothing."""
    if len(blocks) > 50:
        return "more than 50 blocks"
    for block in blocks:
        match block["type"]:
            case "header" if not 1 <= len(block["text"]["text"]) <= 150:
                return "a header of 1 to 150 characters"
            case "section":
                texts = [*block.get("fields", []), *([block["text"]] if "text" in block else [])]
                if not texts or len(block.get("fields", [])) > 10:
                    return "a section of 1 to 10 fields"
                if any(
                    not 1 <= len(text["text"]) <= (2000 if text in block.get("fields", []) else 3000)
                    for text in texts
                ):
                    return "a text that is empty or too long"
            case "actions":
                names = [element["action_id"] for element in block["elements"]]
                if not 1 <= len(names) <= 25 or len(set(names)) < len(names):
                    return "1 to 25 elements with ids of their own"
                if any(len(element.get("value", "")) > 2000 for element in block["elements"]):
                    return "a value that is too long"
                asked = [element["confirm"] for element in block["elements"] if "confirm" in element]
                if any(len(each["title"]["text"]) > 100 or len(each["text"]["text"]) > 300 for each in asked):
                    return "a question that is too long"
    return ""


def buttons(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A message's buttons by their action's id."""
    return {
        element["action_id"]: element
        for block in message["blocks"]
        if block["type"] == "actions"
        for element in block["elements"]
    }


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Said:
    return Said(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(value).encode(),
    )


class Mailbox:
    """A mail server that keeps what it gets, and refuses whom it is told to."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.refuses: dict[str, str] = {}
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        self.asked += 1
        while not self.may_answer.is_set():  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.01)
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail."""
        assert isinstance(envelope.content, bytes)
        self.mails.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"


class _Anywhere(Controller):
    """A server on a port that the system gives."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd is not annotated there


@contextmanager
def mail_server(mailbox: Mailbox, **settings: Any) -> Iterator[str]:
    """A mail server for a while; gives its address."""
    controller = _Anywhere(mailbox, hostname=HOST, port=0, **settings)
    controller.start()
    try:
        yield f"smtp://{HOST}:{controller.port}"
    finally:
        controller.stop()
