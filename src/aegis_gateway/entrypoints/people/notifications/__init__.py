"""Notifications as people look at them: what was told, what couldn't be, and having it tried again."""
