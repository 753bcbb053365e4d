-- People signed in to the pages, and the links by which one signs in once. Only hashes are kept of either.

create table session (
    hash       bytea  primary key,
    person     text   collate "C" not null references person (person),
    token      text   collate "C" references person_token (token),
    seen_by    text   not null,
    begun_ns   bigint not null,
    expires_ns bigint not null,
    ended_ns   bigint
);

create index session_to_forget on session (expires_ns);

create table sign_in_link (
    hash       bytea  primary key,
    person     text   collate "C" not null references person (person),
    seen_by    text   not null,
    issued_ns  bigint not null,
    expires_ns bigint not null,
    used_ns    bigint
);
