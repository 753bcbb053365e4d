-- Addresses of pages that people have saved under a name: for themselves, or for all who may see a tenant (`shared_with`).

create table saved_view (
    view        text    primary key,
    person      text    not null references person (person),
    name        text    not null,
    address     text    not null,
    shared_with text    not null,
    saved_ns    integer not null
) strict, without rowid;

create unique index saved_view_by_name on saved_view (person, name);

create index saved_view_shared on saved_view (shared_with, name) where shared_with <> '';
