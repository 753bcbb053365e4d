"""The approvals inbox, and one request in full."""
