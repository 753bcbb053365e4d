"""Aegis: a FinOps gateway between AI agents and the models, tools and APIs they call."""
