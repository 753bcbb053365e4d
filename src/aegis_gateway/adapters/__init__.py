"""The ports' implementations: stores, policy engine, prices, connectors, clock."""
