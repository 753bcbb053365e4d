"""The doors for model APIs: one door, and a dialect for each API that says how it is read, changed and counted."""
