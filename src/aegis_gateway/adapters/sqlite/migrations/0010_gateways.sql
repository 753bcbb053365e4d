-- What each gateway process runs, as it last told; rewritten by the ledger process that it belongs to.

create table gateway (
    boot       text    not null,
    process    text    not null,
    version    integer not null,
    canary     integer,
    digest     text    not null,
    warning    text    not null,
    started_ns integer not null,
    seen_ns    integer not null,
    primary key (boot, process)
) strict, without rowid;
