"""Pages that hear of changes as they happen, by server-sent events."""
