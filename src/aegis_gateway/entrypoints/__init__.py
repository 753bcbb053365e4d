"""The doors: data plane, control API, command line. Each parses, calls a use case, answers."""
