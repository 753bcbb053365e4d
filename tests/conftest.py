"""What all tests may ask for."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers"]

# No test is timed: how long an example takes says something about the machine only.
settings.register_profile("aegis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aegis")
