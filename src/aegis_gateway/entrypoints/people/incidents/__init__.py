"""Incidents as people look at them: what somebody has to look at, and that it is over."""
