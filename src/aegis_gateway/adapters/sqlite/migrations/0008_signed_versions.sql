-- Versions are what was signed, whole, and are never changed. `beside` is the version that a canary's others stay with.

drop table config_version;

create table config_version (
    version integer primary key,
    beside  integer,
    bundle  text    not null
) strict;

create trigger config_version_is_append_only_u before update on config_version
begin select raise(abort, 'versions are append-only'); end;
create trigger config_version_is_append_only_d before delete on config_version
begin select raise(abort, 'versions are append-only'); end;

create index entry_of_configuration on entry (tenant, sequence) where type = 'configuration';
