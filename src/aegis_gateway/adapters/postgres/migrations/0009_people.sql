-- People, their roles and their tokens. `people_head` is the one row held while any of it changes.

create table people_head (
    one     bigint primary key check (one = 1),
    changes bigint not null
);
insert into people_head (one, changes) values (1, 0);

create table person (
    person       text   collate "C" primary key,
    name         text   not null,
    grants       text   not null,
    added_ns     bigint not null,
    suspended_ns bigint
);

create table person_token (
    token      text   collate "C" primary key,
    person     text   collate "C" not null references person (person),
    hash       bytea  not null unique,
    hint       text   not null,
    issued_ns  bigint not null,
    expires_ns bigint,
    revoked_ns bigint,
    seen_by    text   not null
);

create function people_stay() returns trigger language plpgsql as $$
begin
    raise exception 'people are suspended, never deleted';
end
$$;
create trigger person_stays before delete or truncate on person
    for each statement execute function people_stay();
