"""Changes that want a second person, and the answers to them, as rows. Neither is ever changed."""

from __future__ import annotations

from typing import Any

import msgspec

from aegis_gateway.adapters.statements import Statements
from aegis_gateway.domain.proposal import Answer, Proposal

PROPOSAL = (
    "select proposal.document, proposal.files, proposal_answer.document as answer"
    " from proposal left join proposal_answer on proposal_answer.proposal = proposal.proposal"
    " where proposal.proposal = ?"
)
PROPOSALS = (
    "select proposal.document, '{}' as files, proposal_answer.document as answer"
    " from proposal left join proposal_answer on proposal_answer.proposal = proposal.proposal"
    " where ? = 0 or proposal_answer.proposal is null"
    " order by proposal.proposal desc limit ?"
)

_ALL = 2**31 - 1

_proposal_decoder = msgspec.json.Decoder(Proposal)
_answer_decoder = msgspec.json.Decoder(Answer)
_files_decoder = msgspec.json.Decoder(dict[str, str])
_encode = msgspec.json.Encoder().encode


def proposal_row(row: tuple[Any, ...]) -> Proposal:
    """A proposal with its answer, from the row of a query here."""
    document, files, answer = row
    return msgspec.structs.replace(
        _proposal_decoder.decode(document),
        files=_files_decoder.decode(files),
        answer=None if answer is None else _answer_decoder.decode(answer),
    )


class ProposalRows(Statements):
    """Proposals in a transaction."""

    def next_proposal(self) -> int:
        """The number of the next."""
        ((last,),) = self._rows("select coalesce(max(proposal), 0) from proposal", ())
        return int(last) + 1

    def waiting_proposals(self) -> list[Proposal]:
        """Those that nobody answered, the newest first, without their files."""
        return [proposal_row(row) for row in self._rows(PROPOSALS, (1, _ALL))]

    def proposal(self, number: int) -> Proposal | None:
        """One, with its files and what was answered."""
        return next((proposal_row(row) for row in self._rows(PROPOSAL, (number,))), None)

    def save_proposal(self, proposal: Proposal) -> None:
        """Write a new one."""
        document = _encode(msgspec.structs.replace(proposal, files={}, answer=None)).decode()
        self._do(
            "insert into proposal (proposal, document, files) values (?, ?, ?)",
            (proposal.number, document, _encode(proposal.files).decode()),
        )

    def save_answer(self, number: int, answer: Answer) -> None:
        """Write the one answer to it."""
        self._do(
            "insert into proposal_answer (proposal, document) values (?, ?)",
            (number, _encode(answer).decode()),
        )
