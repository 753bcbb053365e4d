"""PostgreSQL: ledger, registry and record in one database that any number of gateways share."""
