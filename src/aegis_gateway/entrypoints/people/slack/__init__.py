"""Answers that people give in Slack itself."""
