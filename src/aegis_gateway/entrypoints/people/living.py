"""Pages that stay right while they are open: their living part is asked for anew, and sent where it has changed."""

from __future__ import annotations

import hashlib
import time

from starlette.responses import Response

from aegis_gateway.entrypoints.people.visits import Visit

_SEEN = "{seen}"


def living(visit: Visit, template: str, *, status: int = 200, **values: object) -> Response:
    """A page, or its living part alone where that is asked for; nothing where that is still as it was last shown."""
    part = visit.render(template, {**values, "seen": _SEEN, "is_part": True})
    tag = hashlib.sha256(part.encode()).hexdigest()[:16]
    if not visit.is_part:
        return visit.answer(visit.render(template, {**values, "seen": tag, "is_part": False}), status)
    is_same = visit.query.get("seen") == tag
    answer = Response(status_code=204) if is_same else visit.answer(part.replace(_SEEN, tag), status)
    # A page that costs much to read is asked for more seldom, so that pages never take much of the machine from calls:
    # what it took of the processor here, or a quarter of the time, in which a database may have worked for it.
    cpu_s, wall_s = time.thread_time() - visit.begun_cpu_s, time.perf_counter() - visit.begun_s
    answer.headers["server-timing"] = f"part;dur={max(cpu_s, wall_s / 4) * 1_000:.1f}"
    return answer
