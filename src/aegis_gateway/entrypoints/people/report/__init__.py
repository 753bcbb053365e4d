"""The report of a month, as a page to print."""
