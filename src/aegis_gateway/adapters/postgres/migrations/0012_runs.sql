-- Runs that count for their owner, that were opened as such, or that are ended; none is kept for longer than anybody
-- could name it again, or than it counts.

create table run (
    tenant        text   collate "C" not null references tenant_head (tenant),
    number        text   collate "C" not null,
    run           text   collate "C" not null,
    agent         text   collate "C" not null,
    owner         text   collate "C" not null,
    root          text   collate "C" not null,
    above         text   collate "C" not null,
    is_kept       bigint not null,
    opened_ns     bigint not null,
    open_until_ns bigint not null,
    forget_ns     bigint not null,
    ended_ns      bigint,
    primary key (tenant, number)
);

create index run_open on run (tenant, owner, open_until_ns) where ended_ns is null;
create index run_by_tree on run (tenant, root) where root <> '';
create index run_to_forget on run (forget_ns);
