"""The model APIs by the names that commands and tests know them by."""

from __future__ import annotations

from aegis_gateway.entrypoints.data_plane.models.chat import ChatDialect
from aegis_gateway.entrypoints.data_plane.models.dialect import Dialect
from aegis_gateway.entrypoints.data_plane.models.embeddings import EmbeddingsDialect
from aegis_gateway.entrypoints.data_plane.models.gemini import GeminiDialect
from aegis_gateway.entrypoints.data_plane.models.messages import MessagesDialect
from aegis_gateway.entrypoints.data_plane.models.responses import ResponsesDialect

DIALECTS: dict[str, Dialect] = {
    "chat": ChatDialect(),
    "responses": ResponsesDialect(),
    "embeddings": EmbeddingsDialect(),
    "messages": MessagesDialect(),
    "gemini": GeminiDialect("generateContent"),
}
