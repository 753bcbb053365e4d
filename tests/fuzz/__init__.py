"""Coverage-guided fuzzing of what reads outside bytes: `make fuzz`."""
