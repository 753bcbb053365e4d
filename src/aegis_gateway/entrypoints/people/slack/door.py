"""`POST /slack/interactions`: people's answers, as Slack brings them.

Rule 1: nothing is done for a request, and nothing written about it, before the signature of the very channel that it
        names is checked. Others are counted in the log.
Rule 2: each is taken once, by whichever process; what was decided was decided before Slack is told so, unless that
        takes longer than Slack waits.
Rule 3: whose answer it is follows from the channel's `users`; what it is worth is decided where all answers are.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aegis_gateway import bootstrap
from aegis_gateway.adapters.approval_rows import ApprovalReports
from aegis_gateway.adapters.channels.slack_blocks import Pressed, escaped
from aegis_gateway.adapters.channels.slack_signature import signature_of
from aegis_gateway.adapters.channels.slack_views import REASON_BLOCK, reason_view, telling_view
from aegis_gateway.application.approvals import Approvals
from aegis_gateway.application.operators import Caller
from aegis_gateway.application.ports import Secrets, Store
from aegis_gateway.application.untaken import Untaken, is_first, record_untaken
from aegis_gateway.domain.approval import AnswerKind, Approval
from aegis_gateway.domain.channel import Channel
from aegis_gateway.domain.errors import AegisError, CallError, ConfigurationError, NotPermitted
from aegis_gateway.entrypoints.people.office import Office
from aegis_gateway.entrypoints.people.slack.payload import BODY_BYTES_MAX, Interaction, interaction_of
from aegis_gateway.entrypoints.people.slack.telling import SlackTelling

ACK_S = 2.0
"""How long an answer may take before Slack, which waits for three seconds, is told that it has come."""
THREADS = 4
LATE_MAX = 32

_SECOND_NS = 1_000_000_000
_LOGGED_EVERY_NS = 10 * _SECOND_NS

_log = logging.getLogger("aegis.slack")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What Slack is answered, and what the person is told: in `body`, where that can show it, or else by a message."""

    status: int = 200
    body: dict[str, Any] | None = None
    words: str = ""
    channel: Channel | None = None
    interaction: Interaction | None = None


class SlackDoor:
    """Takes what people do in Slack."""

    def __init__(self, office: Office, secrets: Secrets, pages_url: str) -> None:
        """`secrets` has what channels sign with, and their tokens; `pages_url` is where people answer the rest."""
        self._office = office
        self._pages_url = pages_url
        self._secrets = secrets
        self._tell = SlackTelling(secrets, bootstrap.system_clock())
        # Threads of its own: Slack's three seconds don't wait for pages.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="slack")
        self._late: set[asyncio.Future[Reply]] = set()
        self._untaken = 0
        self._logged_ns = 0

    async def endpoint(self, request: Request) -> Response:
        """Answer one request in time."""
        body = await request.body()
        if len(body) > BODY_BYTES_MAX:
            self._note("it is too long")
            return Response(status_code=413)
        if len(self._late) >= LATE_MAX:
            return Response(status_code=503)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._take, body, dict(request.headers.items()))
        await asyncio.wait({work}, timeout=ACK_S)
        if not work.done():
            self._late.add(work)
            work.add_done_callback(self._tell_late)
            return Response()
        reply = work.result()
        if reply.body is not None:
            return JSONResponse(reply.body, reply.status)
        self._tell_person(reply)
        return Response(status_code=reply.status)

    def _tell_late(self, work: asyncio.Future[Reply]) -> None:
        self._late.discard(work)
        fault = None if work.cancelled() else work.exception()
        if fault is not None:
            _log.error("an answer from Slack failed in a way nobody foresaw", exc_info=fault)
        elif not work.cancelled():
            self._tell_person(work.result())

    def _tell_person(self, reply: Reply) -> None:
        if reply.words and reply.channel is not None and reply.interaction is not None:
            self._tell(reply.channel, *_whisper(reply.interaction, reply.words))

    # -- in a thread ---------------------------------------------------------------------------------------

    def _take(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        try:
            interaction = interaction_of(body)
            channel = self._channel_of(interaction.about)
            secret = self._secrets.resolve(channel.secret)
        except CallError as fault:
            self._note(str(fault))
            return Reply(status=fault.status)
        except ConfigurationError as fault:
            self._note(f"it can't be checked: {fault}")
            return Reply(status=503)
        signature = signature_of(
            secret,
            body,
            headers.get("x-slack-request-timestamp", ""),
            headers.get("x-slack-signature", ""),
            self._office.now_ns() / _SECOND_NS,
        )
        if signature == "bad":
            self._note("it is not signed with the channel's secret")
            return Reply(status=401)
        if interaction.asked == "nothing":
            return Reply()
        try:
            with self._office.store() as store:
                taking = _Taking(self._office, self._pages_url, store, channel, interaction, self._tell)
                return taking.take(is_stale=signature == "stale")
        except AegisError as fault:
            _log.warning("an answer from Slack was not taken: %s", fault)
            words = f"Nothing was decided: {fault}. Try again in a moment."
            return Reply(status=503, words=words, channel=channel, interaction=interaction)

    def _channel_of(self, about: Pressed) -> Channel:
        view = self._office.tenants().get(about.tenant)
        channel = view.registry.channels.get(about.channel) if view is not None else None
        if channel is None or channel.kind != "slack" or not channel.secret:
            raise CallError("it names no channel that can be answered in", status=401)
        return channel

    def _note(self, why: str) -> None:
        """Say in the log that something was not taken: not each time, since anybody can send anything."""
        self._untaken += 1
        now_ns = self._office.now_ns()
        if now_ns - self._logged_ns >= _LOGGED_EVERY_NS:
            _log.warning("%d requests as if from Slack were not taken; the last: %s", self._untaken, why)
            self._untaken, self._logged_ns = 0, now_ns


class _Taking:
    """What is done about one interaction that Slack has signed."""

    def __init__(
        self,
        office: Office,
        pages_url: str,
        store: Store,
        channel: Channel,
        interaction: Interaction,
        tell: SlackTelling,
    ) -> None:
        self._pepper = office.pepper
        self._registries = office.registries
        self._pages_url = pages_url
        self._store = store
        self._channel = channel
        self._interaction = interaction
        self._tell = tell

    def take(self, *, is_stale: bool) -> Reply:
        """Take it, if it is fresh and comes for the first time, and is somebody's."""
        about, user = self._interaction.about, self._interaction.user
        parts = (about.tenant, about.channel, self._interaction.trigger)
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        if is_stale:
            self._record("it was signed more than five minutes ago", once_as=f"slack:stale:{name}")
            return Reply(status=401)
        if not is_first(self._store, f"slack:{name}"):
            self._record("it was sent again", once_as=f"slack:again:{name}")
            return Reply(status=409)
        person = self._channel.users.get(user)
        if person is None:
            words = f"Slack's user `{user}` is nobody's; add them to `users` of the channel `{about.channel}`"
            self._record(words)
            return self._not_taken(words)
        match self._interaction.asked:
            case "form":
                self._open_form()
                return Reply()
            case "refuse" if not self._interaction.reason:
                words = "Say why you refuse: whoever asked is told so."
                return self._reply(words, {"response_action": "errors", "errors": {REASON_BLOCK: words}})
            case _:
                return self._answer(person)

    def _answer(self, person: str) -> Reply:
        about = self._interaction.about
        approvals = Approvals(
            self._store,
            self._pepper,
            Caller(person=person, via="slack"),
            bootstrap.outcomes_of(self._registries, self._store, about.tenant, about.approval),
        )
        try:
            after = approvals.answer(about.tenant, about.approval, self._kind, self._interaction.reason)
        except NotPermitted as fault:
            return self._not_taken(str(fault))
        except ConfigurationError as fault:
            self._record(str(fault))
            return self._not_taken(str(fault))
        if after.state == "waiting":
            return self._reply("Your approval is taken. It wants somebody else's besides.")
        return self._reply(self._of_others(after))

    def _of_others(self, approval: Approval) -> str:
        """What the message that was answered doesn't show: others that are told with it."""
        others = len(ApprovalReports(self._store.rows).together_with(approval))
        return f"{others} more like it still wait; see {self._pages_url}/approvals" if others else ""

    @property
    def _kind(self) -> AnswerKind:
        return "grant" if self._interaction.asked == "grant" else "refuse"

    def _open_form(self) -> None:
        pressed = msgspec.structs.replace(self._interaction.about, place=self._interaction.place)
        asked = {"trigger_id": self._interaction.trigger, "view": reason_view(pressed)}
        words = "Slack could not open the form in time; nothing was decided. Press again."
        self._tell(self._channel, "views.open", asked, otherwise=_whisper(self._interaction, words))

    def _record(self, reason: str, *, once_as: str = "") -> None:
        about = self._interaction.about
        untaken = Untaken(tenant=about.tenant, approval=about.approval, kind=self._kind, via="slack")
        record_untaken(self._store, untaken, f"slack:{self._interaction.user}", reason, once_as=once_as)

    def _not_taken(self, why: str) -> Reply:
        words = f"Your answer was not taken: {why}."
        is_form = self._interaction.asked == "refuse"
        shown = {"response_action": "update", "view": telling_view(words)} if is_form else None
        return self._reply(words, shown)

    def _reply(self, words: str, body: dict[str, Any] | None = None) -> Reply:
        return Reply(words=words, body=body, channel=self._channel, interaction=self._interaction)


def _whisper(interaction: Interaction, words: str) -> tuple[str, dict[str, Any]]:
    """The call that tells whoever acted something that nobody else sees."""
    told = {"channel": interaction.place, "user": interaction.user, "text": escaped(words)}
    return "chat.postEphemeral", told
