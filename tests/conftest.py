"""What all tests may ask for."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.scratch import use_scratch

pytest_plugins = ["tests.servers"]

# No test is timed: how long an example takes says something about the machine only.
settings.register_profile("aegis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aegis")

use_scratch()

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start as well: processes that
# tests stop so would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep groups of tests (`xdist_group`) on one worker, so that what is costly to set up is set up once.

    pytest-xdist 3.8 writes a test's group into a field that pytest 9.2 no longer looks at.
    """
    for item in items:
        grouped = getattr(item, "_nodeid", None)
        if grouped is not None and grouped != item.nodeid:
            path = item._id.path
            item._id = type(item._id)(path=path, names=(grouped.removeprefix(f"{path}::"),))
