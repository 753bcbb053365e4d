"""What the gateway costs, measured against the provider directly and against a bare relay: `make bench`."""
