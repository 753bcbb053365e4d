"""The SDK of Aegis: what agents' code asks the gateway before it runs a tool, and tells it after.

from aegis_sdk import guard

@guard(tool="desk.crawl")
def crawl(pages: int) -> dict[str, int]: …
"""

from aegis_sdk.async_client import AsyncAegis
from aegis_sdk.client import Aegis
from aegis_sdk.context import Run, add_headers, add_headers_async, current_headers, current_run, report, run
from aegis_sdk.decision import Decision, Reason, Settlement, ToolCall
from aegis_sdk.errors import (
    AegisError,
    AlreadyDone,
    ApprovalRequired,
    BudgetExhausted,
    Denied,
    InvalidRequest,
    NotRun,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
)
from aegis_sdk.estimate import BudgetLeft, CheaperModel, Estimate
from aegis_sdk.guard import guard

__all__ = [
    "Aegis",
    "AegisError",
    "AlreadyDone",
    "ApprovalRequired",
    "AsyncAegis",
    "BudgetExhausted",
    "BudgetLeft",
    "CheaperModel",
    "Decision",
    "Denied",
    "Estimate",
    "InvalidRequest",
    "NotRun",
    "RateLimited",
    "Reason",
    "Refused",
    "Run",
    "Settlement",
    "ToolCall",
    "Unauthorized",
    "Unavailable",
    "add_headers",
    "add_headers_async",
    "current_headers",
    "current_run",
    "guard",
    "report",
    "run",
]
