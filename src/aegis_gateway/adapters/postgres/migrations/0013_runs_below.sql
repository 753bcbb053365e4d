-- Who ends a run looks for what was delegated in it, and not for its whole tree. (Numbers differ across tenants; with the
-- tenant before them, SQLite takes the primary key instead.)

drop index run_by_tree;
create index run_below on run (above) where ended_ns is null;
