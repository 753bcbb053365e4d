"""The bundled demo: a fake provider that keeps its own bill, and the agents that spend with it."""
