"""Models that nobody configured, for tenants where everything passes: at the catalogue's price, where it has one."""

from __future__ import annotations

from collections.abc import Callable

from aegis_gateway.configuration.prices import Prices
from aegis_gateway.domain.registry import Model, Registry

_REMEMBERED_MAX = 1_024


def unlisted_models(registry: Registry, prices: Prices) -> Callable[[str, tuple[str, ...]], Model | None]:
    """What makes the model of a name, by the tenant's first connector that is of one of some kinds, if any is."""
    known: dict[tuple[str, str], Model] = {}
    connectors = registry.proxy.unlisted_models if registry.proxy is not None else ()

    def model(name: str, kinds: tuple[str, ...]) -> Model | None:
        for connector in (registry.connectors[each] for each in connectors):
            if connector.kind in kinds:
                key = (connector.id, name)
                if key not in known:
                    if len(known) >= _REMEMBERED_MAX:
                        known.clear()
                    price = prices.model_price(connector.provider, name)
                    known[key] = Model(id=name, connector=connector.id, upstream=name, price=price)
                return known[key]
        return None

    return model
