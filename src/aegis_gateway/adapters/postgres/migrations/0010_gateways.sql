-- What each gateway process runs, as it last told; rewritten by the ledger process that it belongs to.

create table gateway (
    boot       text   collate "C" not null,
    process    text   collate "C" not null,
    version    bigint not null,
    canary     bigint,
    digest     text   collate "C" not null,
    warning    text   collate "C" not null,
    started_ns bigint not null,
    seen_ns    bigint not null,
    primary key (boot, process)
);
