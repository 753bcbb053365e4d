"""Policies as people look at them: which rules are in force, what they did, and how they came to be."""
