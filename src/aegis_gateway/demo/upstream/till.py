"""What the provider's APIs share: who pays, the bill, the clock, and the numbers of answers."""

import itertools
from collections.abc import Callable

from aegis_gateway.demo.upstream.bill import UNLABELLED, Bill
from aegis_gateway.demo.upstream.prices import Model
from aegis_gateway.demo.upstream.usage import Usage
from aegis_gateway.demo.upstream.wire import Scope


class Till:
    """``accounts`` maps an ``Authorization`` header to the key's masked name; ``clock`` gives seconds."""

    def __init__(
        self, *, accounts: dict[str, str], bill: Bill, seed: int, clock: Callable[[], float]
    ) -> None:
        self.bill = bill
        self.seed = seed
        self._accounts = accounts
        self._clock = clock
        self._numbers = itertools.count(1)

    def account(self, authorization: str | None) -> str | None:
        """Who pays for a request with this ``Authorization`` header; None for nobody."""
        return None if authorization is None else self._accounts.get(authorization)

    def account_of_key(self, key: str | None) -> str | None:
        """Who pays for a request with this key, wherever it stood."""
        return self.account(f"Bearer {key}")

    def number(self) -> int:
        """The next answer's number; no two answers of any API have the same."""
        return next(self._numbers)

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def charge(
        self,
        scope: Scope,
        account: str,
        operation: str,
        model: Model,
        usage: Usage,
        *,
        agent: str | None = None,
    ) -> None:
        """Write a call's usage down, for the agent that the request names in its body or by ``X-Agent``."""
        self.bill.charge(
            account=account,
            agent=agent or scope.headers.get("x-agent") or UNLABELLED,
            operation=operation,
            model=model.name,
            nano_usd=usage.cost_nano_usd(model),
            quantities=usage.quantities(),
        )

    def note(self, scope: Scope, account: str, operation: str, model: Model) -> None:
        """Write a call down that is free."""
        self.bill.charge(
            account=account,
            agent=scope.headers.get("x-agent") or UNLABELLED,
            operation=operation,
            model=model.name,
            nano_usd=0,
            quantities={"calls": 1},
        )
