"""Delivery: where a composed change goes. To an agent; as a proposal to those who must approve it; or nowhere.

Shared by all commands that publish. Knows how a proposal is put on the board or into a
file; what becomes of it there is the business of ``proposals``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...model.change import Change
from ...model.entry import Entry, ValueType, delete, put
from ...model.errors import InvalidInput, LimitExceeded
from ...model.limits import CHANGE_BYTES_MAX, ENTRIES_MAX, VALUE_BYTES_MAX
from ...trust.keys import Signer
from ...trust.proposal import check_proposal, save_proposal
from .. import exits
from ..expectation import check_names
from ..instant import now_ms
from ..output import count, say, short
from ..see.activation import check_none_waits
from ..see.wait import Wait
from ..session import Session
from . import result
from .board import finished, place_of, read_board

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be published; exit 2 if there is something.")
]
ProposeOption = Annotated[
    bool,
    typer.Option("--propose", help="Publish it later: propose it, under _proposals/, to those who must approve it."),
]
ProposeToOption = Annotated[
    Path | None, typer.Option("--propose-to", metavar="FILE", help="Propose it in a file, which goes to the approvers.")
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """`propose`: under `_proposals/`; `path`: into that file; neither: published at once. `dry_run`: not at all.

    `wait`: for whom, once it is published. `if_version`: what must be live at each key (see ``expectation``).
    `activation_ms`: from when on the change is in effect.
    """

    dry_run: bool
    propose: bool
    path: Path | None
    wait: Wait | None = None
    if_version: Sequence[str] = ()
    activation_ms: int | None = None

    def __post_init__(self) -> None:
        if self.propose and self.path is not None:
            raise typer.BadParameter("either --propose or --propose-to FILE")
        if self.wait is not None and (self.propose or self.path is not None):
            raise typer.BadParameter("what is proposed has nobody to wait for; say --wait when you approve it")
        check_names(self.if_version)

    def send(
        self,
        session: Session,
        entries: Sequence[Entry],
        signer: Signer,
        comment: str,
        expected: frozenset[bytes] | None = None,
    ) -> Change:
        """Sign one change of `entries`, and do with it what is wanted. Raises as `Session.publish`."""
        if self.activation_ms is None:
            check_none_waits(entries, now_ms())
        _check_fits(entries)
        if not self.propose and self.path is None:
            published = session.publish(
                entries,
                signer,
                comment=comment,
                expected=expected,
                if_version=self.if_version,
                activation_ms=self.activation_ms,
                dry_run=self.dry_run,
            )
            return published.change
        change = session.propose(
            entries,
            signer,
            comment=comment,
            expected=expected,
            if_version=self.if_version,
            activation_ms=self.activation_ms,
        ).change
        if not check_proposal(session.chain, change).missing:
            raise InvalidInput("nobody has to approve this: publish it, without --propose")
        if self.path is not None and not self.dry_run:
            save_proposal(self.path, change, is_new=True)
        elif not self.dry_run:
            post(session, signer, change)
        return change

    def tell(self, session: Session, change: Change, number: int) -> None:
        """Say what has become of a change of so many keys. A dry run ends the command, and so does a wait in vain."""
        if self.dry_run:
            result.tell("planned", session.node, change)
            say("dry run: nothing was published")
            raise typer.Exit(exits.DIFFERENCE)
        if not self.propose and self.path is None:
            result.tell("published", session.node, change)
            say(f"published {count(number, 'key')} at {session.node}, change {short(change.id)}")
            if self.wait is not None:
                self.wait.finish(session, change)
            return
        missing = check_proposal(session.chain, change).missing
        result.tell("proposed", session.node, change, approvals_missing=missing)
        what = str(self.path) if self.path is not None else short(change.id)
        say(f"proposed {count(number, 'key')}, change {short(change.id)}; {count(missing, 'approval')} missing")
        say(f"next, by whoever may: gossipconf approve {what}")


def _check_fits(entries: Sequence[Entry]) -> None:
    """Raises LimitExceeded that says how to split what is more than one change may hold."""
    size = sum(entry.leaf()[0] for entry in entries)
    parts = max(-(-len(entries) // ENTRIES_MAX), -(-size // CHANGE_BYTES_MAX))
    if parts > 1:
        raise LimitExceeded(
            f"{len(entries):,} entries of {size:,} bytes are more than one change may have ({ENTRIES_MAX:,} entries, "
            f"{CHANGE_BYTES_MAX:,} bytes); publish them in {parts} parts or more, each a change: one file, directory "
            "or prefix at a time"
        )


def post(session: Session, signer: Signer, form: Change) -> None:
    """Put a proposal, or a form that carries only signatures, where `signer` may; what is done with there goes."""
    data = form.encode()
    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded(
            f"this proposal has {len(data)} bytes, and an entry at most {VALUE_BYTES_MAX}; "
            "hand it on in a file, with --propose-to FILE"
        )
    place = place_of(signer.public, form.id)
    board = read_board(session)
    old = [key for key in finished(session, board, signer.public) if key != place]
    comment = f"{'proposes' if form.is_whole else 'approves'} {short(form.id)}"
    session.publish([put(place, data, ValueType.BYTES), *map(delete, old)], signer, comment=comment)
