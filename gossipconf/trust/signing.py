"""Composing and signing changes: what the command line does and an agent never can.

The signer verifies the versions that it replaces and computes `seen` from them,
so that an agent is trusted to deliver and not to state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from ..model.change import Change, Header, Writer, check_size, signed_bytes
from ..model.clock import EMPTY, join, seq_of
from ..model.encoding import as_text
from ..model.entry import Entry, Slot
from ..model.errors import InvalidInput, LimitExceeded, StaleReservation
from ..model.limits import COMMENT_BYTES_MAX, ENTRIES_MAX, SEEN_WRITERS_MAX, TIME_MS_MAX
from ..model.merkle import SparseTree
from ..model.version import versions_of
from .chain import PolicyChain
from .keys import Signer
from .proposal import check_proposal


@dataclasses.dataclass(frozen=True, slots=True)
class Reservation:
    """What a publishing agent hands out: the number to sign under. Valid until a later number is published."""

    incarnation: bytes
    seq: int


def compose(
    entries: Sequence[Entry],
    replaced: Iterable[Change],
    *,
    chain: PolicyChain,
    signer: Signer,
    reservation: Reservation,
    now_ms: int,
    comment: str = "",
    activation_ms: int | None = None,
    is_proposed: bool = False,
) -> Change:
    """Sign one change of ``entries`` that supersedes the versions in ``replaced``.

    ``replaced`` is what an agent says is live in these slots; every piece is judged
    under ``chain`` first. The entries' version vectors and the time are computed
    here. Raises InvalidInput, LimitExceeded, StaleReservation, or what ``chain.judge`` raises, also
    if the policy would not let ``signer`` do this; with ``is_proposed`` others may still have to approve it.
    """
    if not entries:
        raise InvalidInput("a change needs at least one entry")
    if len(entries) > ENTRIES_MAX:
        raise LimitExceeded(f"a change of {len(entries)} entries; the limit is {ENTRIES_MAX}, publish it in parts")
    as_text(comment, "the comment", COMMENT_BYTES_MAX)
    slots = [entry.slot for entry in entries]
    if len(set(slots)) != len(slots):
        raise InvalidInput(f"the key {_first_repeated(slots)!r} is in one change twice")
    seen: dict[Slot, tuple[tuple[bytes, int], ...]] = {}
    time_ms = now_ms
    wanted = set(slots)
    for change in replaced:
        chain.judge(change)
        for version in versions_of(change):
            if version.slot in wanted:
                seen[version.slot] = join((seen.get(version.slot, EMPTY), version.clock))
                time_ms = max(time_ms, min(version.header.time_ms + 1, TIME_MS_MAX))
    signed = [
        dataclasses.replace(entry, seen=seen.get(entry.slot, EMPTY))
        for entry in sorted(entries, key=lambda entry: entry.slot)
    ]
    for entry in signed:
        if len(entry.seen) > SEEN_WRITERS_MAX:
            raise LimitExceeded(
                f"the version vector of {entry.key!r} would have {len(entry.seen)} writers, the limit is "
                f"{SEEN_WRITERS_MAX}; use another key until a floor has collected them"
            )
    writer = Writer(signer.public, reservation.incarnation)
    if any(seq_of(entry.seen, writer.id) >= reservation.seq for entry in signed):
        raise StaleReservation("somebody claims to have seen this writer's next number; ask for a fresh incarnation")
    tree = SparseTree(len(signed), {index: entry.leaf() for index, entry in enumerate(signed)}, ())
    check_size(tree.size)
    header = Header(
        cluster=chain.cluster_id,
        policy=chain.head.version,
        writer=writer,
        seq=reservation.seq,
        time_ms=time_ms,
        count=len(signed),
        size=tree.size,
        root=tree.root,
        comment=comment,
        activation_ms=activation_ms,
    )
    change = sign_change(header, tuple(enumerate(signed)), signer)
    if is_proposed:
        check_proposal(chain, change)
    else:
        chain.judge(change)
    Change.decode(change.encode(), chain.cluster_id)  # what no agent would read must not be signed
    return change


def sign_change(header: Header, entries: tuple[tuple[int, Entry], ...], signer: Signer) -> Change:
    """The change with ``signer``'s signature as its writer's."""
    unsigned = Change(header, b"", entries)
    return Change(header, signer.sign(signed_bytes(unsigned.id)), entries)


def approve(change: Change, signer: Signer) -> Change:
    """``change`` with ``signer``'s approval added; the id stays the same."""
    if signer.public == change.header.writer.key:
        return change
    approval = (signer.public, signer.sign(signed_bytes(change.id)))
    return change.union(dataclasses.replace(change, approvals=(approval,)))


def _first_repeated(slots: Sequence[Slot]) -> str:
    seen = set()
    for slot in slots:
        if slot in seen:
            return slot[0]
        seen.add(slot)
    return ""
