"""The classic form of Azure OpenAI: the same chat, asked of a deployment and with the key in a header of its own.

A deployment is named by the model it runs.
"""

from urllib.parse import parse_qs

from aegis_gateway.demo.upstream.prices import CHAT_MODELS
from aegis_gateway.demo.upstream.provider import Azure, Provider
from aegis_gateway.demo.upstream.till import Till
from aegis_gateway.demo.upstream.wire import Http, Scope, encode, reply

OPERATION = "azure.chat.completions"

_PREFIX = "/openai/deployments/"
_SUFFIX = "/chat/completions"

_SAFE = {"filtered": False, "severity": "safe"}
_FILTERED = [
    {
        "prompt_index": 0,
        "content_filter_results": {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE},
    }
]
_FIRST = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": _FILTERED,
}
_FIRST_EVENT = b"data: " + encode(_FIRST) + b"\n\n"
"""A stream begins with what the filter says of the prompt: an event without choices."""

_LAST_FIELDS = b',"prompt_filter_results":' + encode(_FILTERED) + b"}"


class AzureChat:
    """``POST /openai/deployments/{deployment}/chat/completions?api-version=…``."""

    def __init__(self, till: Till, chat: Provider) -> None:
        self._till = till
        self._chat = chat

    def serves(self, path: str) -> bool:
        """Whether ``path`` is this application's."""
        return path.startswith(_PREFIX)

    async def __rsgi__(self, scope: Scope, http: Http) -> None:
        """Answer one request."""
        self._till.bill.arrive()
        account = self._till.account_of_key(scope.headers.get("api-key"))
        deployment = scope.path.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if account is None:
            message = (
                "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
                "valid key for an active subscription and use a correct regional API endpoint for your resource."
            )
            reply(http, 401, _error("401", message))
        elif (
            scope.method != "POST"
            or not scope.path.endswith(_SUFFIX)
            or "api-version" not in parse_qs(scope.query_string)
        ):
            reply(http, 404, _error("404", "Resource not found"))
        elif deployment not in CHAT_MODELS:
            message = "The API deployment for this resource does not exist."
            reply(http, 404, _error("DeploymentNotFound", message))
        else:
            await self._chat.chat(
                scope,
                http,
                account,
                Azure(
                    deployment=deployment,
                    operation=OPERATION,
                    first_event=_FIRST_EVENT,
                    last_fields=_LAST_FIELDS,
                ),
            )


def _error(code: str, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}
