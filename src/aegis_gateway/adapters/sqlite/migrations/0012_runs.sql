-- Runs that count for their owner, that were opened as such, or that are ended; none is kept for longer than anybody
-- could name it again, or than it counts.

create table run (
    tenant        text not null references tenant_head (tenant),
    number        text not null,
    run           text not null,
    agent         text not null,
    owner         text not null,
    root          text not null,
    above         text not null,
    is_kept       integer not null,
    opened_ns     integer not null,
    open_until_ns integer not null,
    forget_ns     integer not null,
    ended_ns      integer,
    primary key (tenant, number)
) strict, without rowid;

create index run_open on run (tenant, owner, open_until_ns) where ended_ns is null;
create index run_by_tree on run (tenant, root) where root <> '';
create index run_to_forget on run (forget_ns);
