"""How far the rollout is, and what to do next."""
