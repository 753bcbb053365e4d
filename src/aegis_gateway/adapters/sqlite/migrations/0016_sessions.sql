-- People signed in to the pages, and the links by which one signs in once. Only hashes are kept of either.

create table session (
    hash       blob    primary key,
    person     text    not null references person (person),
    token      text    references person_token (token),
    seen_by    text    not null,
    begun_ns   integer not null,
    expires_ns integer not null,
    ended_ns   integer
) strict, without rowid;

create index session_to_forget on session (expires_ns);

create table sign_in_link (
    hash       blob    primary key,
    person     text    not null references person (person),
    seen_by    text    not null,
    issued_ns  integer not null,
    expires_ns integer not null,
    used_ns    integer
) strict, without rowid;
