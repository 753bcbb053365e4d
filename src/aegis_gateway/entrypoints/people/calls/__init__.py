"""Calls as people look at them: all of a tenant as they come, and one in full."""
