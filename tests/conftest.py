"""What all tests may ask for."""

import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers"]

# No test is timed: how long an example takes says something about the machine only.
settings.register_profile("aegis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aegis")

# A shell that runs the tests in the background has them ignore Ctrl-C, and what they start as well: processes that
# tests stop so would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)
