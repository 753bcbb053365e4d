-- Addresses of pages that people have saved under a name: for themselves, or for all who may see a tenant (`shared_with`).

create table saved_view (
    view        text   collate "C" primary key,
    person      text   collate "C" not null references person (person),
    name        text   collate "C" not null,
    address     text   not null,
    shared_with text   collate "C" not null,
    saved_ns    bigint not null
);

create unique index saved_view_by_name on saved_view (person, name);

create index saved_view_shared on saved_view (shared_with, name) where shared_with <> '';
