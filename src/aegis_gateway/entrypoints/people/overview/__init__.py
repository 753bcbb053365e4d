"""The first page: what is spent, by whom, against what, and what wants somebody."""
