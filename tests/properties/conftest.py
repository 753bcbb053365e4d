"""The machine's assertions say what they compared, as those of tests do."""

import pytest

pytest.register_assert_rewrite("tests.properties.ledger_machine", "tests.properties.model")
