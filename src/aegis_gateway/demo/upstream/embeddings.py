"""OpenAI's embeddings, as an RSGI application that bills what it reports.

The vectors mean nothing; the same input has the same one.
"""

import base64
import math
import random
from array import array
from typing import Annotated, Literal
from zlib import crc32

import msgspec

from aegis_gateway.demo.upstream import delivery, refusal
from aegis_gateway.demo.upstream.directives import DirectiveError, Directives, parse
from aegis_gateway.demo.upstream.prices import EMBEDDING_MODELS, Model
from aegis_gateway.demo.upstream.refusal import Refused, decoded
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.tokens import quarter
from aegis_gateway.demo.upstream.usage import Usage
from aegis_gateway.demo.upstream.wire import Http, Scope, encode, pause, reply

OPERATION = "embeddings"
INPUTS_MAX = 2_048

_PATH = "/v1/embeddings"

_DIMENSIONS = {"text-embedding-3-small": 1_536, "text-embedding-3-large": 3_072}


class EmbeddingsRequest(msgspec.Struct):
    """``POST /v1/embeddings``. Numbers in ``input`` are tokens."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None


_decode = msgspec.json.Decoder(EmbeddingsRequest).decode


class Embeddings:
    """The API at ``/v1/embeddings``."""

    def __init__(self, till: Till) -> None:
        self._till = till

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PATH)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        authorization = scope.headers.get("authorization")
        account = self._till.account(authorization)
        try:
            if account is None:
                reply(http, 401, refusal.unknown_key(authorization))
            elif scope.method != "POST" or scope.path != _PATH:
                raise Refused(404, f"Invalid URL ({scope.method} {scope.path})")
            else:
                await self._embed(scope, http, account)
        except Refused as refused:
            reply(http, refused.status, refusal.body_of(refused))
        except DirectiveError as wrong:
            reply(http, 400, refusal.invalid(str(wrong), param="input", code="unknown_directive"))

    async def _embed(self, scope: Scope, http: Http, account: str) -> None:
        body = await http()
        request = decoded(_decode, body)
        model = EMBEDDING_MODELS.get(request.model)
        if model is None:
            raise Refused(404, f"The model `{request.model}` does not exist.", code="model_not_found")
        inputs = _inputs(request)
        sizes = [_size(each, model) for each in inputs]
        dimensions = _dimensions(request, model)
        last = inputs[-1]
        directives = parse(last if isinstance(last, str) else "")
        if await delivery.interrupted(http, directives, refusal.ordered_failure):
            return
        usage = Usage() if directives.usage == "zero" else Usage(input_tokens=min(sum(sizes), len(body)))
        self._till.charge(scope, account, OPERATION, model, usage, agent=request.user)
        await pause(directives.delay_ms)
        answer = _answer(request, model, inputs, dimensions, usage, directives)
        headers = [("content-type", "application/json"), ("x-request-id", f"req_{self._till.number():032x}")]
        await delivery.whole(http, headers, encode(answer), directives)


def _inputs(request: EmbeddingsRequest) -> list[str | list[int]]:
    """Each thing to embed: text or tokens."""
    given = request.input
    if isinstance(given, str):
        return [given]
    if not given:
        raise Refused(400, "Invalid 'input': input cannot be an empty array.", param="input")
    texts = [each for each in given if isinstance(each, str)]
    tokens = [each for each in given if isinstance(each, int)]
    lists = [each for each in given if isinstance(each, list)]
    if len(given) not in (len(texts), len(tokens), len(lists)):
        raise Refused(400, "Invalid 'input': its elements are of more than one kind.", param="input")
    inputs: list[str | list[int]] = [tokens] if tokens else [*texts, *lists]
    if len(inputs) > INPUTS_MAX:
        raise Refused(400, f"Invalid 'input': at most {INPUTS_MAX} inputs, not {len(inputs)}.", param="input")
    return inputs


def _size(each: str | list[int], model: Model) -> int:
    """The tokens of one input."""
    if not each:
        raise Refused(400, "Invalid 'input': input cannot be an empty string.", param="input")
    tokens = quarter(len(each)) if isinstance(each, str) else len(each)
    if model.input_tokens_max is not None and tokens > model.input_tokens_max:
        raise Refused(
            400,
            f"This model's maximum context length is {model.input_tokens_max} tokens, however you requested "
            f"{tokens} tokens. Please reduce your prompt.",
            param="input",
        )
    return tokens


def _dimensions(request: EmbeddingsRequest, model: Model) -> int:
    most = _DIMENSIONS[model.name]
    wanted = request.dimensions or most
    if wanted > most:
        raise Refused(400, f"Invalid 'dimensions': at most {most}, not {wanted}.", param="dimensions")
    return wanted


def _answer(
    request: EmbeddingsRequest,
    model: Model,
    inputs: list[str | list[int]],
    dimensions: int,
    usage: Usage,
    directives: Directives,
) -> dict[str, object]:
    answer: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(request, each, dimensions)}
            for index, each in enumerate(inputs)
        ],
        "model": model.snapshot,
    }
    if directives.usage != "missing":
        answer["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return answer


def _vector(request: EmbeddingsRequest, each: str | list[int], dimensions: int) -> list[float] | str:
    """A vector of length 1: numbers, or the base64 of 32-bit floats."""
    chance = random.Random(crc32(encode(each)))
    drawn = [chance.uniform(-1, 1) for _ in range(dimensions)]
    length = math.sqrt(math.fsum(number * number for number in drawn))
    vector = [number / length for number in drawn]
    if request.encoding_format == "float":
        return vector
    return base64.b64encode(array("f", vector).tobytes()).decode()
