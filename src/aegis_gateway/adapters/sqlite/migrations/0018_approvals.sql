-- Requests for a person's word, and what people answered. Answers are never changed, nor is what became of a request.

create table approval (
    approval    text    primary key,
    tenant      text    not null references tenant_head (tenant),
    sequence    integer not null,
    kind        text    not null,
    state       text    not null,
    requester   text    not null,
    about       text    not null,
    fingerprint text    not null,
    told_with   text    not null,
    due_ns      integer,
    document    text    not null
) strict, without rowid;

create index approval_by_fingerprint on approval (tenant, fingerprint, sequence);
create index approval_by_requester on approval (tenant, requester, about, sequence);
create index approval_in_state on approval (tenant, state, sequence);
create index approval_due on approval (due_ns) where due_ns is not null;

create table approval_answer (
    approval text    not null references approval (approval),
    tenant   text    not null,
    person   text    not null,
    at_ns    integer not null,
    document text    not null,
    primary key (approval, person)
) strict, without rowid;

create trigger approval_is_append_only_d before delete on approval
begin select raise(abort, 'approvals are append-only'); end;
create trigger approval_is_append_only_u before update on approval
when old.state not in ('waiting', 'granted')
begin select raise(abort, 'approvals are append-only once they are over'); end;
create trigger approval_answer_is_append_only_u before update on approval_answer
begin select raise(abort, 'answers are append-only'); end;
create trigger approval_answer_is_append_only_d before delete on approval_answer
begin select raise(abort, 'answers are append-only'); end;
