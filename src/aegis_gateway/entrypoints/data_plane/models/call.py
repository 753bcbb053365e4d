"""A call of a model, as a registry has it: the model, its connector, the quote."""

from __future__ import annotations

import msgspec

from aegis_gateway.application.directory import TenantView
from aegis_gateway.application.judgement import Described
from aegis_gateway.domain.decision import Reason
from aegis_gateway.domain.errors import NotRedactable
from aegis_gateway.domain.quote import CALLS, TOKENS, USD, Quote, quote_model, quote_proxied
from aegis_gateway.domain.redaction import NO_REDACTIONS, Counts, Redactions
from aegis_gateway.domain.registry import Connector, Model
from aegis_gateway.entrypoints.data_plane.models.dialect import Dialect, ModelRequest
from aegis_gateway.entrypoints.data_plane.models.redacted_request import redacted_request

_NAME_CHARACTERS_MAX = 128

FREE = Quote(
    expected={USD: 0, TOKENS: 0, CALLS: 1},
    maximum={USD: 0, TOKENS: 0, CALLS: 1},
    price_source="provider",
    price_version="free",
)
"""The quote of what providers charge nothing for."""


class ModelCall(Described, frozen=True, kw_only=True):
    """A model call as it was described, with the model and connector of that moment."""

    request: ModelRequest
    target: Model | None = None
    upstream: Connector | None = None


def describe(
    view: TenantView,
    dialect: Dialect,
    request: ModelRequest,
    instead: str | None = None,
    redactions: Redactions = NO_REDACTIONS,
) -> ModelCall:
    """Describe a request under a registry, as it is or as one of another model, whole or without what is redacted.

    The tools that the provider would run are judged beside it. What tells the request from others is what was asked.
    """
    registry = view.registry
    asked = request.model[:_NAME_CHARACTERS_MAX]
    redacted: Counts = {}
    not_redactable: Reason | None = None
    if redactions:
        try:
            request, redacted = redacted_request(dialect, request, redactions, view.redaction_key)
        except NotRedactable as fault:
            not_redactable = _not_redactable(dialect, fault)
    if instead is not None:
        request = msgspec.structs.replace(request, model=instead)
    name = request.model[:_NAME_CHARACTERS_MAX]
    model = registry.models.get(request.model) or view.unlisted(request.model, dialect.kinds)
    connector = registry.connectors[model.connector] if model is not None else None
    canonical = f"{dialect.title}\n{asked}\n".encode() + request.body.canonical
    if model is None or connector is None or connector.kind not in dialect.kinds:
        if model is None or connector is None:
            why = _unknown_model(name, registry.models)
        else:
            why = _speaks_otherwise(model, connector, dialect)
        return ModelCall(
            connector="",
            tool=dialect.action,
            model=name,
            quote=why,
            arguments={},
            canonical=canonical,
            summary=request.summary,
            request=request,
        )
    return ModelCall(
        connector=connector.id,
        tool=dialect.action,
        also=tuple(use.kind for use in request.shape.hosted),
        model=model.id,
        region=connector.region,
        stays_in_regions=registry.keeps_regions,
        quote=not_redactable or _quote(dialect, model, request, proxied=registry.proxy is not None),
        arguments=request.arguments,
        canonical=canonical,
        summary=request.summary,
        shape=None if dialect.is_free else request.shape,
        kinds=dialect.kinds,
        request=request,
        target=model,
        upstream=connector,
        redacted=redacted,
    )


def _not_redactable(dialect: Dialect, fault: NotRedactable) -> Reason:
    words = f"a policy redacts this call, and that can't be done: {fault}"
    return Reason(code="obligation_unfulfilled", subject=dialect.action, message=words)


def _quote(dialect: Dialect, model: Model, request: ModelRequest, *, proxied: bool) -> Quote | Reason:
    if dialect.is_free:
        return FREE
    return quote_proxied(model, request.shape) if proxied else quote_model(model, request.shape)


def _unknown_model(name: str, models: dict[str, Model]) -> Reason:
    known = ", ".join(f"`{model}`" for model in sorted(models)[:8]) or "none"
    return Reason(
        code="unknown_tool", subject=name, message=f"model `{name}` is not configured here; there are {known}"
    )


def _speaks_otherwise(model: Model, connector: Connector, dialect: Dialect) -> Reason:
    return Reason(
        code="unknown_tool",
        subject=model.id,
        message=f"model `{model.id}` cannot be called by {dialect.title}: its connector `{connector.id}` is of kind "
        f"`{connector.kind}`; call it in that API's form",
    )
