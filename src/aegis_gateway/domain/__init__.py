"""The pure core: values and decisions, without clock, randomness, async or I/O."""
