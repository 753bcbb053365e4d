-- Versions are what was signed, whole, and are never changed. `beside` is the version that a canary's others stay with.

drop table config_version;

create table config_version (
    version bigint primary key,
    beside  bigint,
    bundle  text   collate "C" not null
);

create trigger config_version_is_append_only before update or delete or truncate on config_version
    for each statement execute function refuse_change();
alter table config_version enable always trigger config_version_is_append_only;

create index entry_of_configuration on entry (tenant, sequence) where type = 'configuration';
