"""The examples in the documents are tests: `pytest README.md ARCHITECTURE.md docs`."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "ARCHITECTURE.md", "docs/*.md", "docs/*/*.md"],
).pytest()
