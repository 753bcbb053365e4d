-- Changes that want a second person, and the one answer to each. Neither is ever changed.

create table proposal (
    proposal integer primary key,
    document text    not null,
    files    text    not null
) strict;

create table proposal_answer (
    proposal integer primary key references proposal (proposal),
    document text    not null
) strict;

create trigger proposal_is_append_only_u before update on proposal
begin select raise(abort, 'proposals are append-only'); end;
create trigger proposal_is_append_only_d before delete on proposal
begin select raise(abort, 'proposals are append-only'); end;
create trigger proposal_answer_is_append_only_u before update on proposal_answer
begin select raise(abort, 'answers are append-only'); end;
create trigger proposal_answer_is_append_only_d before delete on proposal_answer
begin select raise(abort, 'answers are append-only'); end;
