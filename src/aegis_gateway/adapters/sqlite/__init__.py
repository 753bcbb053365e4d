"""SQLite, by apsw: the default store, one file on one machine."""
