"""Agents as people look at them: all of a tenant, one with its keys and its money, and what could be saved."""
