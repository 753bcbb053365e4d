-- Requests for a person's word, and what people answered. Answers are never changed, nor is what became of a request.

create table approval (
    approval    text   collate "C" primary key,
    tenant      text   collate "C" not null references tenant_head (tenant),
    sequence    bigint not null,
    kind        text   collate "C" not null,
    state       text   collate "C" not null,
    requester   text   collate "C" not null,
    about       text   collate "C" not null,
    fingerprint text   collate "C" not null,
    told_with   text   collate "C" not null,
    due_ns      bigint,
    document    text   not null
);

create index approval_by_fingerprint on approval (tenant, fingerprint, sequence);
create index approval_by_requester on approval (tenant, requester, about, sequence);
create index approval_in_state on approval (tenant, state, sequence);
create index approval_due on approval (due_ns) where due_ns is not null;

create table approval_answer (
    approval text   collate "C" not null references approval (approval),
    tenant   text   collate "C" not null,
    person   text   collate "C" not null,
    at_ns    bigint not null,
    document text   not null,
    primary key (approval, person)
);

create trigger approval_is_append_only before delete or truncate on approval
    for each statement execute function refuse_change();
create trigger approval_over_is_append_only before update on approval
    for each row when (old.state not in ('waiting', 'granted')) execute function refuse_change();
create trigger approval_answer_is_append_only before update or delete or truncate on approval_answer
    for each statement execute function refuse_change();
alter table approval enable always trigger approval_is_append_only;
alter table approval enable always trigger approval_over_is_append_only;
alter table approval_answer enable always trigger approval_answer_is_append_only;
