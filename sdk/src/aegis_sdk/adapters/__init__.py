"""Aegis in agent frameworks, one module each: a framework is imported by its own module alone.

Rule 1: a tool that the gateway refuses is never run. What it decided is told to the model, in words; that it could not
        decide, or that the adapter is set up wrongly, is raised.
Rule 2: a tool is run with the arguments that were decided on, which policies may have redacted.
Rule 3: a call is named after the framework's own ids, so when a framework makes it again (on resume) it is decided and
        charged once.
"""
