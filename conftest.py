"""The examples in the documents are tests: `pytest README.md ARCHITECTURE.md docs sdk/README.md`."""

from collections.abc import Iterator

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from aegis_gateway.demo.upstream.process import UpstreamProcess
from tests.gateways import Gateway
from tests.sdks import tools


@pytest.fixture(scope="session")
def documented_gateway() -> Iterator[None]:
    """A running gateway, and an agent's environment as the documents tell to set it."""
    with (
        UpstreamProcess() as upstream,
        Gateway(tools(upstream.base_url)) as gateway,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("OPENAI_BASE_URL", f"{gateway.url}/v1")
        environment.setenv("OPENAI_API_KEY", gateway.key())
        environment.setenv("AEGIS_URL", gateway.url)
        environment.setenv("AEGIS_API_KEY", gateway.key())
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "ARCHITECTURE.md", "docs/*.md", "docs/*/*.md", "sdk/README.md"],
    fixtures=["documented_gateway"],
).pytest()
