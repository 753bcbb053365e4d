-- For people who look at a run: its calls, by the number with which its id begins, however long that is, and what was
-- delegated in its tree; and at incidents that are closed, the last of them first.
create index call_by_run on call (tenant, substr(run, 1, 24)) where run is not null;
create index run_by_tree on run (tenant, root);
create index incident_closed on incident (tenant, closed_ns) where closed_ns is not null;
