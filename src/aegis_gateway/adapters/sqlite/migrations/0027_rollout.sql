-- For the rollout: what was reviewed and which channels were tried out, by entries' types; and when somebody last looked
-- from outside, by what they look with (`metrics`, `telemetry`).
create index entry_of_review on entry (tenant, sequence) where type = 'review';
create index entry_of_notification on entry (tenant, sequence) where type = 'notification';
create table last_seen (
    name  text    primary key,
    at_ns integer not null
) strict;
