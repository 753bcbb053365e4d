"""Estimates: what a call would cost and what would be decided, before it is made. Nothing is recorded or reserved.

POST   /v1/estimates          of one call
POST   /v1/estimates/batch    of many, each by itself

A call is of a tool, as in the decision API (`tool`, `arguments`), or of a model: `model` with the `request` that would
be sent to its API, or with a `prompt` alone. `api` says which API it is, where the request doesn't tell.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec

from aegis_gateway.application.call_context import CallContext
from aegis_gateway.application.calls import Calls
from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.estimates import BudgetOutlook, Cheaper, Estimate, Estimates
from aegis_gateway.application.judgement import Describe, Described
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import AegisError, CallError
from aegis_gateway.domain.money import usd_decimal_text
from aegis_gateway.domain.price import ChargeLine
from aegis_gateway.domain.quote import CALLS, USD, Quote
from aegis_gateway.domain.quote_lines import Lines, model_lines, operation_lines
from aegis_gateway.domain.registry import ConnectorKind
from aegis_gateway.entrypoints.data_plane.connect import OperationCall
from aegis_gateway.entrypoints.data_plane.exchange import HttpProtocol, Scope, api_key, nothing_at, read_body
from aegis_gateway.entrypoints.data_plane.models.call import ModelCall
from aegis_gateway.entrypoints.data_plane.models.call import describe as described_model
from aegis_gateway.entrypoints.data_plane.models.dialect import Address
from aegis_gateway.entrypoints.data_plane.tool_decisions import described_tool
from aegis_gateway.entrypoints.data_plane.wire import body_as, json_type
from aegis_gateway.entrypoints.dialects import DIALECTS

ESTIMATES = "/v1/estimates"
BATCH_MAX = 100

_JSON = [("content-type", "application/json")]
_NOTHING = msgspec.Raw(b"{}")
_NOT_GIVEN = msgspec.Raw(b"")
_ASKS = "require_approval"

_encode = msgspec.json.Encoder(decimal_format="string").encode

_API_OF: dict[ConnectorKind, str] = {"anthropic": "messages", "gemini": "gemini"}
"""The API that generates at a kind of connector, where that isn't Chat Completions."""


class EstimateRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What would be called, of which run, for which call and customer."""

    tool: str | None = None
    arguments: msgspec.Raw = _NOTHING
    model: str | None = None
    request: msgspec.Raw = _NOT_GIVEN
    prompt: str | None = None
    max_output_tokens: int | None = None
    api: str | None = None
    run: str | None = None
    parent: str | None = None
    customer: str | None = None


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Many of them."""

    estimates: list[EstimateRequest]


class EstimatesDoor:
    """Estimates for agents."""

    def __init__(self, calls: Calls, estimates: Estimates) -> None:
        """Build the door on the estimates that it writes down as JSON."""
        self._calls = calls
        self._estimates = estimates

    async def __call__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request."""
        key = api_key(scope)
        await self._calls.callers.identify(key)
        raw = await read_body(scope, protocol)
        json_type(scope.headers)
        answer = await self._answer(scope, key, raw)
        protocol.response_bytes(200, _JSON, _encode(answer))

    async def _answer(self, scope: Scope, key: str | None, raw: bytes) -> dict[str, Any]:
        if (scope.method, scope.path) == ("POST", ESTIMATES):
            return await self._estimate(key, body_as(EstimateRequest, raw))
        if (scope.method, scope.path) == ("POST", f"{ESTIMATES}/batch"):
            return await self._batch(key, body_as(BatchRequest, raw))
        raise nothing_at(scope)

    async def _estimate(self, key: str | None, asked: EstimateRequest) -> dict[str, Any]:
        view = (await self._calls.callers.identify(key)).view
        context = CallContext(run=asked.run, parent=asked.parent, customer=asked.customer)
        return written(await self._estimates.estimate(key, description(view, asked), context))

    async def _batch(self, key: str | None, asked: BatchRequest) -> dict[str, Any]:
        if not 0 < len(asked.estimates) <= BATCH_MAX:
            raise CallError(f"a batch has 1 to {BATCH_MAX} estimates", field="estimates")
        answers: list[dict[str, Any]] = []
        for (
            each
        ) in asked.estimates:  # one after the other: a batch takes no more of the gateway than its turn
            try:
                answers.append(await self._estimate(key, each))
            except CallError as fault:
                error = {"message": str(fault), "param": fault.field, "status": fault.status}
                answers.append({"error": error})
            except AegisError as fault:
                answers.append({"error": {"message": str(fault), "param": None, "status": 503}})
            await asyncio.sleep(0)
        return {"estimates": answers}


def description(view: TenantView, asked: EstimateRequest) -> Describe[Described]:
    """How a call that is asked about is described. `view` tells by which API a model is called.

    Raises:
        CallError: it is of a tool and a model, or of neither, or its request is none.
    """
    if (asked.tool is None) is (asked.model is None and not bytes(asked.request)):
        raise CallError(
            "an estimate is of a `tool` with its `arguments`, or of a `model` with its `request` or a `prompt`",
            field="tool",
        )
    if asked.tool is not None:
        tool, arguments = asked.tool, bytes(asked.arguments)
        return lambda view, _model, redactions: described_tool(view, tool, arguments, redactions)
    raw, api = _model_request(view, asked)
    dialect = DIALECTS.get(api)
    if dialect is None:
        raise CallError(f"`{api[:64]}` is no API; there are {', '.join(DIALECTS)}", field="api")
    request = dialect.parse(Address(model=asked.model or ""), raw)
    named = request.body.fields.get("model")
    if isinstance(named, str) and named != request.model:
        raise CallError(
            f"`model` is `{request.model[:128]}`, and the request names `{named[:128]}`", field="model"
        )
    return lambda view, model, redactions: described_model(view, dialect, request, model, redactions)


def _model_request(view: TenantView, asked: EstimateRequest) -> tuple[bytes, str]:
    """The body of a model request, and the API it is of."""
    raw = bytes(asked.request)
    if not raw and asked.prompt is None:
        raise CallError("send the `request` to the model, or a `prompt`", field="request")
    if raw:
        if asked.prompt is not None or asked.max_output_tokens is not None:
            raise CallError(
                "`prompt` and `max_output_tokens` stand in place of a `request`, not beside it",
                field="request",
            )
        return raw, asked.api or _api_of(view, asked, raw)
    api = asked.api or _api_of(view, asked, b"")
    return _encode(_simple(view, asked, api)), api


def _api_of(view: TenantView, asked: EstimateRequest, raw: bytes) -> str:
    """The API that a request is of, told by what it has in it, and by what its model's connector speaks."""
    fields = body_as(dict[str, msgspec.Raw], raw) if raw else {}
    name = asked.model or (body_as(str, bytes(fields["model"])) if "model" in fields else "")
    model = view.registry.models.get(name)
    is_embedding = (
        model is not None and model.price is not None and "output" not in model.price.tiers[0].prices
    )
    if "contents" in fields:
        return "gemini"
    if "input" in fields or (not fields and is_embedding):
        return "embeddings" if is_embedding else "responses"
    kind = view.registry.connectors[model.connector].kind if model is not None else "openai"
    return _API_OF.get(kind, "chat")


def _simple(view: TenantView, asked: EstimateRequest, api: str) -> dict[str, Any]:
    """The body that a prompt becomes in an API."""
    prompt, limit = asked.prompt, asked.max_output_tokens
    model = view.registry.models.get(asked.model or "")
    match api:
        case "embeddings":
            return {"model": asked.model, "input": prompt}
        case "responses":
            return {"model": asked.model, "input": prompt, "max_output_tokens": limit}
        case "gemini":
            config = {} if limit is None else {"maxOutputTokens": limit}
            return {"contents": [{"parts": [{"text": prompt}]}], "generationConfig": config}
        case "messages":
            # This API wants a limit.
            limit = limit or (model.default_output_tokens if model is not None else 1)
            messages = [{"role": "user", "content": prompt}]
            return {"model": asked.model, "max_tokens": limit, "messages": messages}
        case _:
            messages = [{"role": "user", "content": prompt}]
            return {"model": asked.model, "messages": messages, "max_completion_tokens": limit}


def written(estimate: Estimate[Described]) -> dict[str, Any]:
    """An estimate as its caller gets it. Amounts of money are decimal texts, in dollars."""
    considered, admission, described = estimate.considered, estimate.admission, estimate.described
    quote = estimate.quote
    answer: dict[str, Any] = {
        "tool": described.tool,
        "effect": admission.effect,
        "reasons": [_reason(reason) for reason in estimate.reasons],
        "policy_version": considered.view.policies.version,
    }
    if described.model is not None:
        answer["model"] = described.model
    if described.connector:
        answer["connector"] = described.connector
    if considered.judgement.downgraded_from is not None:
        answer["downgraded_from"] = considered.judgement.downgraded_from
    if admission.wait_ns:
        answer["wait_ms"] = _ms(admission.wait_ns)
    if quote is not None:
        answer |= _priced(quote)
        expected, maximum = lines_of(described, quote)
        answer["expected_lines"] = [_line(line) for line in expected]
        answer["maximum_lines"] = [_line(line) for line in maximum]
        if admission.output_tokens is not None:
            answer["output_tokens"] = admission.output_tokens
        if admission.effect == "allow" and USD in admission.maximum:
            answer["reserves_usd"] = usd_decimal_text(admission.maximum[USD])
    answer["budgets"] = [_budget(each) for each in estimate.budgets]
    answer["rates"] = [
        {
            "rate": each.rate.rate,
            "scope": each.rate.scope,
            "mode": each.rate.mode,
            "fits": each.wait_ns <= each.rate.delay_ns,
            "wait_ms": _ms(each.wait_ns),
        }
        for each in estimate.rates
    ]
    answer["cheaper"] = [_cheaper(each) for each in estimate.cheaper]
    return answer


def lines_of(described: Described, quote: Quote) -> tuple[Lines, Lines]:
    """The lines that a call's quote comes from: expected, and at most."""
    if isinstance(described, ModelCall) and described.target is not None and described.shape is not None:
        return model_lines(described.target, described.shape, quote)
    if isinstance(described, OperationCall) and described.request is not None:
        return operation_lines(described.request.operation, described.request.read, quote)
    return (), ()


def _priced(quote: Quote) -> dict[str, Any]:
    """What a call comes to. What nobody knows is not there; it is never 0."""
    told: dict[str, Any] = {}
    if USD in quote.expected:
        told["expected_usd"] = usd_decimal_text(quote.expected[USD])
    if USD in quote.maximum:
        told["maximum_usd"] = usd_decimal_text(quote.maximum[USD])
    if quote.unbounded:
        told["unbounded"] = quote.unbounded
    told["quantities"] = {
        name: {"expected": amount, "maximum": quote.maximum.get(name)}
        for name, amount in quote.expected.items()
        if name not in (USD, CALLS)
    }
    told["price_source"], told["price_version"] = quote.price_source, quote.price_version
    return told


def _line(line: ChargeLine) -> dict[str, Any]:
    per_unit = Decimal(line.unit_price.nano_usd) / line.unit_price.per / 1_000_000_000
    return {
        "kind": line.kind,
        "quantity": line.quantity,
        "unit": line.unit,
        "unit_price_usd": f"{per_unit:f}",
        "usd": usd_decimal_text(line.nano_usd),
    }


def _budget(outlook: BudgetOutlook) -> dict[str, Any]:
    budget, window = outlook.budget, outlook.window

    def amount(number: int) -> str:
        if budget.is_money:
            return usd_decimal_text(number)
        return f"{Decimal(number) / budget.scale:f}"

    return {
        "budget": budget.budget,
        "scope": budget.scope,
        "window": window.label,
        "quantity": budget.quantity,
        "is_money": budget.is_money,
        "hard": budget.hard,
        "mode": budget.mode,
        "owner": budget.owner,
        "limit": amount(outlook.limit),
        "left": amount(outlook.left),
        "needs": None if outlook.needed is None else amount(outlook.needed),
        "fits": outlook.fits,
        **_in_currency(outlook),
    }


def _in_currency(outlook: BudgetOutlook) -> dict[str, Any]:
    """The same in the budget's own currency, if it has one."""
    currency, rate = outlook.budget.currency, outlook.rate
    if currency is None or rate is None:
        return {}
    return {
        "currency": currency.code,
        "rate_usd": f"{rate.dollars.normalize():f}",
        "rate_of": rate.day,
        "limit_in_currency": f"{rate.units(outlook.limit):f}",
        "left_in_currency": f"{rate.units(outlook.left):f}",
    }


def _cheaper(offer: Cheaper) -> dict[str, Any]:
    return {
        "model": offer.model.id,
        **{name: value for name, value in _priced(offer.quote).items() if name.endswith("_usd")},
        "saving_usd": usd_decimal_text(offer.saving_nano_usd),
        "effect": _ASKS if offer.asks else "allow",
    }


def _reason(reason: Reason) -> dict[str, Any]:
    told: dict[str, Any] = {"code": reason.code, "message": reason.message, "subject": reason.subject}
    if reason.wait_ns is not None:
        told["retry_after_ms"] = _ms(reason.wait_ns)
    return told


def _ms(nanoseconds: int) -> int:
    return -(-nanoseconds // 1_000_000)
