"""Agents as people and programs are told of them: read in one place, for pages, the control API and commands."""
