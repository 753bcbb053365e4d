"""The doors of the SDK of the commercial product that has our name (PyPI `aegislib`), which works here unchanged."""
