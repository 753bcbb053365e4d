"""Scene 6: a revoked key."""

from __future__ import annotations

import time

from aegis_gateway.demo.doors import call_http
from aegis_gateway.demo.names import PAYMENTS, PAYOUT_CLERK, TENANT
from aegis_gateway.demo.stage import Stage
from aegis_gateway.demo.story import Check, Day, Outcome, Scene, Teller


def _play(stage: Stage, tell: Teller, day: Day) -> Outcome:
    door, path = stage.door(PAYOUT_CLERK), f"{PAYMENTS}/v1/payments/{day.payment}"
    works = call_http(door, "GET", path)
    tell.say(
        f"The clerk's key still works: it looks up its first payment, {works.status}. Dana has seen enough."
    )
    arrived = stage.bill()["arrived"]
    key = stage.keys[PAYOUT_CLERK].key
    stage.administration().revoke_key(TENANT, key.id)
    revoked_at = time.perf_counter()
    refused = call_http(door, "GET", path)
    took_ms = (time.perf_counter() - revoked_at) * 1000
    tell.note("deny", PAYOUT_CLERK, f"{refused.status} key revoked")
    tell.say(f"She revokes it. The very next call, {took_ms:.0f} ms later, gets {refused.status}:")
    tell.show(f"{refused.status} {refused.code}: {refused.message}")
    tell.say("And the clerk never had the bank's own credential, so there is no way round.")
    return Outcome(
        checks=(
            Check(words=f"before, the key worked: {works.status}", holds=works.status == 200),
            Check(
                words=f"the very next call after the revocation was refused: {refused.message}",
                holds=refused.status == 401 and "revoked" in refused.message,
            ),
            Check(words="it never reached the API", holds=stage.bill()["arrived"] == arrived),
        )
    )


SCENE = Scene(number=6, name="revoked-key", title="A revoked key", play=_play)
