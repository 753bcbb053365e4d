"""A payments and market-data API that keeps its bill, as an RSGI application.

Fees are the API's price; the amounts paid out are other people's money and are summed apart from them.
Rule: a charge is written before the answer, so a client that leaves is billed all the same.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal, TypeVar
from zlib import crc32

import msgspec

from aegis_gateway.demo.upstream.bill import UNLABELLED, Bill
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.wire import Http, Scope, pause, reply

NANO = 1_000_000_000

PAYMENT_FEE_NANO_USD = 250_000_000
FX_FEE_NANO_USD = 2_000_000
ROW_FEE_NANO_USD = 100_000

AMOUNT_MAX = 1_000_000_000
ROWS_MAX = 1_000
NATURAL_ROWS_MAX = 60

PAYMENTS_KEPT = 50_000
"""Payments that can still be read; the oldest are forgotten first (the bill keeps its sums)."""

MICRO_USD = {
    "USD": 1_000_000,
    "EUR": 1_085_000,
    "GBP": 1_270_000,
    "CHF": 1_120_000,
    "JPY": 6_700,
    "INR": 12_000,
}
"""One unit of each currency in micro-USD, fixed for ever."""

_PATHS = ("/v1/payments", "/v1/fx/", "/v1/search", "/v1/limits/")

_Decoded = TypeVar("_Decoded")
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class PaymentRequest(msgspec.Struct):
    """``POST /v1/payments``; ``amount`` is a decimal, as a string or as a JSON number."""

    amount: Decimal
    currency: str
    beneficiary: _Text
    reference: str = ""


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as it is shown. ``created`` is in seconds since 1970, amounts are decimal strings."""

    id: str
    status: Literal["completed"] = "completed"
    amount: str
    currency: str
    beneficiary: str
    reference: str
    fee_usd: str
    created: int


class SearchRequest(msgspec.Struct):
    """``POST /v1/search``."""

    query: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=ROWS_MAX)] = 10


_decode_payment = msgspec.json.Decoder(PaymentRequest).decode
_decode_search = msgspec.json.Decoder(SearchRequest).decode


class Refused(Exception):
    """A request that gets an error instead of an answer; nothing is billed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Payments:
    """``accounts`` maps an ``Authorization`` header to the key's masked name; ``clock`` gives seconds."""

    def __init__(
        self, *, accounts: dict[str, str], bill: Bill, seed: int, clock: Callable[[], float]
    ) -> None:
        self._accounts = accounts
        self._bill = bill
        self._seed = seed & 0xFFFFFFFF
        self._clock = clock
        self._payments: dict[str, Payment] = {}
        self._made = 0

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PATHS)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._bill.arrive()
        try:
            account = self._accounts.get(scope.headers.get("authorization"))
            if account is None:
                raise Refused(401, "unauthorized", "no valid API key: send it as `Authorization: Bearer KEY`")
            await self._route(scope, http, account)
        except Refused as refused:
            reply(http, refused.status, {"error": {"code": refused.code, "message": str(refused)}})

    async def _route(self, scope: Scope, http: Http, account: str) -> None:
        collection, _, name = scope.path.removeprefix("/v1/").partition("/")
        match scope.method, collection, name:
            case "POST", "payments", "":
                await self._pay(scope, http, account)
            case "GET", "payments", name if name:
                self._show(http, name)
            case "GET", "fx", pair if pair:
                self._rate(scope, http, account, pair)
            case "POST", "search", "":
                await self._search(scope, http, account)
            case "PUT" | "DELETE" as method, "limits", owner if owner:
                await self._limits(scope, http, account, method, owner)
            case _:
                raise Refused(404, "not_found", f"there is no `{scope.method} {scope.path}`")

    async def _pay(self, scope: Scope, http: Http, account: str) -> None:
        request = _decoded(_decode_payment, await http())
        directives = _directives(request.reference)
        if request.currency not in MICRO_USD:
            known = ", ".join(MICRO_USD)
            raise Refused(
                422, "unknown_currency", f"can't pay in `{request.currency}`: choose one of {known}"
            )
        cents = _cents(request.amount)
        if await _interrupted(http, directives):
            return
        self._charge(
            scope,
            account,
            "payments.create",
            PAYMENT_FEE_NANO_USD,
            {"payments": 1},
            # cents x micro-USD = 1e-8 $: ten nano-USD each, exact.
            paid_out_nano_usd=cents * MICRO_USD[request.currency] * 10,
        )
        self._made += 1
        payment = Payment(
            id=f"pay_{self._seed:08x}{self._made:08x}",
            amount=f"{cents // 100}.{cents % 100:02d}",
            currency=request.currency,
            beneficiary=request.beneficiary,
            reference=request.reference,
            fee_usd=usd(PAYMENT_FEE_NANO_USD),
            created=int(self._clock()),
        )
        self._payments[payment.id] = payment
        if len(self._payments) > PAYMENTS_KEPT:
            del self._payments[next(iter(self._payments))]
        await pause(directives.delay_ms)
        reply(http, 201, payment)

    def _show(self, http: Http, name: str) -> None:
        payment = self._payments.get(name)
        if payment is None:
            raise Refused(404, "not_found", f"there is no payment `{name}`")
        reply(http, 200, payment)

    def _rate(self, scope: Scope, http: Http, account: str, pair: str) -> None:
        letters = pair.replace("-", "")
        base, quote = MICRO_USD.get(letters[:3]), MICRO_USD.get(letters[3:])
        if base is None or quote is None:
            raise Refused(404, "unknown_pair", f"there is no rate for `{pair}`: ask for one like `EUR-USD`")
        self._charge(scope, account, "fx.rate", FX_FEE_NANO_USD, {"lookups": 1})
        micro = (base * 1_000_000 + quote // 2) // quote
        reply(
            http,
            200,
            {
                "pair": f"{letters[:3]}-{letters[3:]}",
                "rate": f"{micro // 1_000_000}.{micro % 1_000_000:06d}",
                "fee_usd": usd(FX_FEE_NANO_USD),
            },
        )

    async def _search(self, scope: Scope, http: Http, account: str) -> None:
        request = _decoded(_decode_search, await http())
        directives = _directives(request.query)
        if await _interrupted(http, directives):
            return
        found = directives.rows
        if found is None:
            found = 1 + crc32(request.query.encode("utf-8", "surrogatepass"), self._seed) % NATURAL_ROWS_MAX
        count = min(found, request.limit) if not directives.over else request.limit + directives.over
        billed = 0 if directives.usage == "zero" else count
        cost_nano_usd = billed * ROW_FEE_NANO_USD
        self._charge(scope, account, "search.rows", cost_nano_usd, {"rows": billed})
        answer: dict[str, object] = {
            "rows": [
                {"rank": rank, "title": f"Result {rank}", "url": f"https://results.example/{rank}"}
                for rank in range(1, count + 1)
            ]
        }
        if directives.usage != "missing":
            answer["usage"] = {"rows": billed, "cost_usd": usd(cost_nano_usd)}
        await pause(directives.delay_ms)
        reply(http, 200, answer)

    async def _limits(self, scope: Scope, http: Http, account: str, method: str, owner: str) -> None:
        body = await http()
        limits = _decoded(msgspec.json.decode, body) if body else None
        self._charge(scope, account, f"limits.{method.lower()}", 0, {"calls": 1})
        reply(http, 200, {"account": owner, "method": method, "limits": limits})

    def _charge(
        self,
        scope: Scope,
        account: str,
        operation: str,
        nano_usd: int,
        quantities: dict[str, int],
        paid_out_nano_usd: int = 0,
    ) -> None:
        self._bill.charge(
            account=account,
            agent=scope.headers.get("x-agent") or UNLABELLED,
            operation=operation,
            nano_usd=nano_usd,
            quantities=quantities,
            paid_out_nano_usd=paid_out_nano_usd,
        )


def usd(nano_usd: int) -> str:
    """Nano-USD as a decimal string in dollars, exact, with at least two decimals: ``0.25``, ``0.0123``."""
    whole, part = divmod(nano_usd, NANO)
    decimals = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{whole}.{decimals}"


def _cents(amount: Decimal) -> int:
    if not amount.is_finite() or not 0 < amount <= AMOUNT_MAX or round(amount, 2) != amount:
        expected = f"above 0, at most {AMOUNT_MAX}, two decimals at most"
        raise Refused(422, "bad_amount", f"can't pay `{amount}`: {expected}")
    return int(amount * 100)


async def _interrupted(http: Http, directives: Directives) -> bool:
    """Follow an order to fail or to hang; nothing has been billed by then."""
    if directives.hang:
        await http.client_disconnect()
        return True
    if directives.fail is not None:
        await pause(directives.delay_ms)
        message = f"this request asked to fail with {directives.fail}"
        raise Refused(directives.fail, "ordered_failure", message)
    return False


def _directives(text: str) -> Directives:
    try:
        return parse(text)
    except DirectiveError as wrong:
        raise Refused(400, "unknown_directive", str(wrong)) from None


def _decoded(decode: Callable[[bytes], _Decoded], body: bytes) -> _Decoded:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Refused(400, "bad_request", f"can't read the body: {wrong}") from None
