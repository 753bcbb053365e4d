"""What to do next in a rollout: one thing for each step that isn't done.

Rule: a command can be run as it stands. What nobody can know (who owns an agent, what it is for) is filled in with
      something that is taken, and the words say to put in what is true.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from aegis_gateway.domain.rollout import Next
from aegis_gateway.domain.rollout_facts import TESTED_DAYS, RolloutFacts, Rule, is_fresh

PURPOSE = "say what it is for"


def next_tag(facts: RolloutFacts) -> Next:
    """How the next caller gets its tags."""
    team = facts.teams[0] if facts.teams else None
    if team is None:
        return _written(
            "agents need a team that pays for them",
            "teams:\n  desk: {cost_centre: CC-1, owner: you@example.com, default_budget: desk-day}\n"
            "budgets:\n  desk-day: {owner: you@example.com, deputy: other@example.com, limit: 20.00, period: daily}",
        )
    whose = (
        f"--owner {_q(team.owner)} --team {_q(team.id)} --cost-centre {_q(team.cost_centre)} "
        f"--environment production {_at(facts)}"
    )
    if facts.strangers:
        stranger = facts.strangers[0].name
        name = f"caller-{stranger.rpartition('/')[2]}"
        return Next(
            words="register who calls without a key; put in whose it really is and what it is for",
            command=f"aegis agent add {_q(name)} --discovered {_q(stranger)} --purpose {_q(PURPOSE)} {whose}",
        )
    untagged = next((each for each in facts.agents if each.missing), None)
    if untagged is not None:
        fields = ", ".join(f"{each}: …" for each in untagged.missing)
        return _written("say what is missing of it", f"agents:\n  {untagged.id}: {{…, {fields}}}")
    return Next(
        words="register an agent; put in whose it really is and what it is for",
        command=f"aegis agent add first-agent --purpose {_q(PURPOSE)} {whose}",
    )


def next_call(facts: RolloutFacts) -> Next:
    """How the next agent comes to call through the gateway."""
    quiet = next((each for each in facts.agents if not each.calls), None)
    if quiet is None:
        return next_tag(facts)
    issue = f"aegis key issue {_q(quiet.id)} {_at(facts)}"
    if not facts.model:
        return Next(words=f"give {quiet.id} a key, and the gateway as its base URL", command=issue)
    body = f'{{"model": "{facts.model}", "messages": [{{"role": "user", "content": "hello"}}]}}'
    return Next(
        words=f"give {quiet.id} a key, and call something with it; the agent does the same with its own client",
        command=(
            f'curl -sS {_q(facts.url + "/v1/chat/completions")} -H "authorization: Bearer $({issue})" '
            f"-H 'content-type: application/json' -d {_q(body)}"
        ),
    )


def next_policy(facts: RolloutFacts, ready: Sequence[Rule]) -> Next:
    """How the next rule comes to hold; `ready` are those in shadow that were tried for long enough."""
    if facts.in_proxy:
        return Next(
            words=f"take `proxy:` out of tenant {facts.tenant} in aegis.yaml once `aegis shadow` shows what would be "
            "refused; then everything that isn't in shadow by itself is enforced",
            command="aegis apply DIR",
        )
    if not facts.budgets:
        owner = facts.teams[0].owner if facts.teams else "you@example.com"
        return _written(
            "set a limit that holds",
            f"budgets:\n  everything: {{owner: {owner}, deputy: deputy@example.com, limit: 100.00, period: daily, "
            f"match: {{tenant: {facts.tenant}}}}}",
        )
    if ready:
        rule = ready[0].name
        return Next(
            words=f"see what {rule} would have done (`aegis shadow`); then enforce it, or take it out of the files",
            command=f"aegis rollout enforce {_q(rule)} {_at(facts)}",
        )
    return Next(
        words="wait until the budgets in shadow were tried for long enough; meanwhile see what they would stop",
        command=f"aegis shadow {_at(facts)}",
    )


def next_alert(facts: RolloutFacts, silent: Sequence[str], *, is_watched: bool) -> Next:
    """How the next alert comes to be told; `silent` are budgets that tell nobody."""
    owner = facts.teams[0].owner if facts.teams else "you@example.com"
    if not facts.channels:
        return _written(
            "say where alerts go, and which",
            "channels:\n  mail: {kind: email, smtp: smtp://mail.example.com:587, from: aegis@example.com, "
            f"to: [{owner}]}}\nnotify:\n  - {{what: [threshold_passed, budget_exhausted], to: [mail]}}",
        )
    if not facts.notifies:
        names = ", ".join(each.id for each in facts.channels)
        return _written(
            "say what is told where",
            f"notify:\n  - {{what: [threshold_passed, budget_exhausted], to: [{names}]}}",
        )
    if silent:
        return _written(
            f"have budget {silent[0]} tell somebody before it is empty",
            f"budgets:\n  {silent[0]}:\n    thresholds: [{{at: 80%, do: [notify]}}]",
        )
    for each in facts.channels:
        if not is_fresh(each.tested_ns, TESTED_DAYS, facts.now_ns):
            to = f" --to {_q(owner)}" if each.wants_recipient else ""
            return Next(
                words="send a test, and ask whoever reads it",
                command=f"aegis notifications test {_q(each.id)}{to} {_at(facts)}",
            )
    if not is_watched:
        token = ' -H "authorization: Bearer $AEGIS_TOKEN"' if facts.has_people else ""
        return Next(
            words="have Prometheus ask for figures (docs/metrics.md has what to write there); by hand it is",
            command=f"curl -sS -o /dev/null {_q(facts.url + '/metrics')}{token}",
        )
    return _written(
        "set a limit that tells somebody before it is reached",
        f"budgets:\n  everything: {{owner: {owner}, deputy: deputy@example.com, limit: 100.00, period: daily, "
        f"match: {{tenant: {facts.tenant}}}, thresholds: [{{at: 80%, do: [notify]}}]}}",
    )


def _written(words: str, write: str) -> Next:
    return Next(words=f"{words}; write into aegis.yaml, then", command="aegis apply DIR", write=write)


def _at(facts: RolloutFacts) -> str:
    return f"--tenant {_q(facts.tenant)}"


def _q(text: str) -> str:
    return shlex.quote(text)


def next_review(facts: RolloutFacts) -> Next:
    """How a review is recorded."""
    note = "what was looked at, and what was decided"
    return Next(
        words="go through the report of the month (`aegis report`), and record what came of it",
        command=f"aegis rollout review --note {_q(note)} {_at(facts)}",
    )


BEGIN = Next(
    words="write an example, change it to what is yours, and put it in force",
    command="aegis init my-gateway && aegis apply my-gateway",
)
"""What comes first, where nothing is in force."""
