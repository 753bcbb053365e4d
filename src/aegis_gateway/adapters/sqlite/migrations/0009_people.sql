-- People, their roles and their tokens. `people_head` is the one row held while any of it changes.

create table people_head (
    one     integer primary key check (one = 1),
    changes integer not null
) strict;
insert into people_head (one, changes) values (1, 0);

create table person (
    person       text    primary key,
    name         text    not null,
    grants       text    not null,
    added_ns     integer not null,
    suspended_ns integer
) strict, without rowid;

create table person_token (
    token      text    primary key,
    person     text    not null references person (person),
    hash       blob    not null unique,
    hint       text    not null,
    issued_ns  integer not null,
    expires_ns integer,
    revoked_ns integer,
    seen_by    text    not null
) strict, without rowid;

create trigger person_stays before delete on person
begin select raise(abort, 'people are suspended, never deleted'); end;
