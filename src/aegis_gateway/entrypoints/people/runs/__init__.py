"""Runs as people look at them: what an agent called in one session, as a tree with costs."""
