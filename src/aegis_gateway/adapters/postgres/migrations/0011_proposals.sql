-- Changes that want a second person, and the one answer to each. Neither is ever changed.

create table proposal (
    proposal bigint primary key,
    document text   not null,
    files    text   not null
);

create table proposal_answer (
    proposal bigint primary key references proposal (proposal),
    document text   not null
);

create trigger proposal_is_append_only before update or delete or truncate on proposal
    for each statement execute function refuse_change();
create trigger proposal_answer_is_append_only before update or delete or truncate on proposal_answer
    for each statement execute function refuse_change();
alter table proposal enable always trigger proposal_is_append_only;
alter table proposal_answer enable always trigger proposal_answer_is_append_only;
