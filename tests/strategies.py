"""Builders and hypothesis strategies that the tests share.

Keys and clusters are made from names, so that every run has the same ones. The
strategies draw from tiny pools of writers, numbers and slots: two writers that claim
each other, forks and numbers near the end of the range are then the rule and not
the exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from itertools import product
from typing import Any, TypeVar

from hypothesis import strategies as st

from gossipconf.model.change import SIGNATURE_BYTES, Change, Header, Writer
from gossipconf.model.clock import Clock, join, seq_of
from gossipconf.model.entry import Entry, Operation, Slot
from gossipconf.model.limits import SEQ_MAX
from gossipconf.model.merkle import SparseTree
from gossipconf.model.version import Version, versions_of
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, approve, sign_change

Option = TypeVar("Option")
NOW_MS = 1_700_000_000_000
NOBODY = bytes(SIGNATURE_BYTES)
"""In the place of a signature, where nobody judges."""
CLUSTER_ID = sha256(b"a cluster").digest()


# -- builders -------------------------------------------------------------------------------------


@cache
def signer(name: str) -> Signer:
    """The key that belongs to ``name`` in every test."""
    return Signer.from_seed(sha256(name.encode()).digest())


def keys(*names: str) -> tuple[bytes, ...]:
    """Public keys of ``names``, ascending as policies list them."""
    return tuple(sorted(signer(name).public for name in names))


ROOTS = ("root-1", "root-2", "root-3")
ROLES = (
    Role("operators", keys("alice", "bob"), ("", "_nodes")),
    Role("shop", keys("carol"), ("shop",), ("put",)),
    Role("payments", keys("dave", "erin", "frank"), ("pay",), ("put", "delete"), 2),
)


@cache
def cluster() -> Cluster:
    """Three roots of which two must sign; `alice` and `bob` write everything, `carol` puts under `shop`, any two
    of `dave`, `erin` and `frank` write under `pay`."""
    roots = [signer(name) for name in ROOTS]
    return found_cluster("vectors", roots, ROLES, threshold=2, now_ms=NOW_MS, salt=bytes(range(16)))


def chain() -> PolicyChain:
    """A fresh policy chain of ``cluster()``."""
    return cluster().chain()


def header_of(
    entries: Sequence[Entry], writer: Writer, seq: int = 1, *, cluster_id: bytes = CLUSTER_ID, **fields: Any
) -> Header:
    """A header over ``entries``; ``fields`` override policy, time, comment, activation, and what is true."""
    tree = SparseTree(len(entries), {index: entry.leaf() for index, entry in enumerate(entries)}, ())
    known = {"policy": 1, "time_ms": NOW_MS, "count": len(entries), "size": tree.size, "root": tree.root} | fields
    return Header(cluster=cluster_id, writer=writer, seq=seq, **known)


def body(entries: Sequence[Entry], writer: Writer, seq: int = 1, **fields: Any) -> Change:
    """A change that nobody has signed, for code that does not judge."""
    return Change(header_of(entries, writer, seq, **fields), NOBODY, tuple(enumerate(entries)))


def signed(entries: Sequence[Entry], by: str, *approvers: str, seq: int = 1, **fields: Any) -> Change:
    """A change of ``cluster()`` signed by the key of ``by`` and approved by ``approvers``, whatever the policy says."""
    known = {"cluster_id": cluster().genesis.cluster_id} | fields
    writer = Writer(signer(by).public, known.pop("incarnation", bytes(8)))
    header = header_of(entries, writer, seq, **known)
    change = sign_change(header, tuple(enumerate(entries)), signer(by))
    for name in approvers:
        change = approve(change, signer(name))
    return change


def reservation(seq: int = 1) -> Reservation:
    """What an agent would hand out."""
    return Reservation(bytes(8), seq)


# -- tiny pools -----------------------------------------------------------------------------------

WRITERS = tuple(Writer(bytes([number]) * 32, bytes(8)) for number in range(1, 4))
SEQS = (1, 2, 3, SEQ_MAX - 1, SEQ_MAX)
SLOTS: tuple[Slot, ...] = (("a", ""), ("a", "canary"), ("b", ""))

seqs = st.sampled_from(SEQS)

_SLOT_LISTS = [list(slots) for size in (1, 2, 3) for slots in product(SLOTS, repeat=size)]
"""The slots of one change; a hostile body may name a slot twice."""


@cache
def hostile_clocks(writer: Writer, seq: int) -> list[Clock]:
    """Every vector over the pool that a body of ``writer`` with number ``seq`` may carry, whether true or not."""
    names = sorted(one.id for one in WRITERS)
    made = []
    for claims in product((0, *SEQS), repeat=len(names)):
        clock = tuple((name, claim) for name, claim in zip(names, claims, strict=True) if claim)
        if seq_of(clock, writer.id) < seq:
            made.append(clock)
    return made


_numbers = st.integers(0, (1 << 16) - 1)


def _pick(draw: st.DrawFn, options: Sequence[Option]) -> Option:
    """One of ``options``, the first for preference when shrinking; `sampled_from` costs ten times as much, as it
    is built and checked anew for every list."""
    return options[draw(_numbers) % len(options)]


@st.composite
def change_sets(
    draw: st.DrawFn,
    max_size: int = 10,
    branches: int = 3,
    writers: Sequence[Writer] = WRITERS,
    numbers: Sequence[int] = SEQS,
) -> list[Change]:
    """Different changes, some honest (they replace versions drawn from those before them), some hostile.

    ``branches`` bounds how many different bodies of one writer and number there are.
    """
    made: dict[bytes, Change] = {}
    count_of: dict[tuple[bytes, int], int] = {}
    earlier: list[Version] = []
    events = list(product(writers, numbers))
    for _ in range(draw(st.integers(1, max_size))):
        writer, seq = _pick(draw, events)
        if count_of.get((writer.id, seq), 0) == branches:
            continue
        entries = [_entry(draw, writer, seq, slot, earlier) for slot in _pick(draw, _SLOT_LISTS)]
        tail = draw(_numbers) % (6 * branches + 3)
        change = body(entries, writer, seq, time_ms=tail % 3, comment=str(tail // 3))
        if change.id not in made:
            count_of[writer.id, seq] = count_of.get((writer.id, seq), 0) + 1
            made[change.id] = change
            earlier.extend(versions_of(change))
    return list(made.values())


def _entry(draw: st.DrawFn, writer: Writer, seq: int, slot: Slot, earlier: list[Version]) -> Entry:
    candidates = [version for version in earlier if version.slot == slot]
    honest = [candidates, *([one] for one in candidates)] if candidates else []
    replaced = _pick(draw, [[], *honest])
    seen = join(version.clock for version in replaced)
    if not replaced or seq_of(seen, writer.id) >= seq:
        seen = _pick(draw, hostile_clocks(writer, seq))
    key, variant = slot
    content = _pick(draw, (b"0", b"1", None))
    operation = Operation.DELETE if content is None else Operation.PUT
    return Entry(key, content, seen=seen, operation=operation, variant=variant)


@st.composite
def versions(draw: st.DrawFn, max_size: int = 8) -> list[Version]:
    """Versions that collide, fork and claim each other."""
    return [version for change in draw(change_sets(max_size)) for version in versions_of(change)]


@st.composite
def parts(draw: st.DrawFn, changes: Iterable[Change]) -> list[Change]:
    """``changes`` split into parts in any way, with repetitions and bare headers, in any order; each entry is in
    at least one part."""
    pieces = []
    for change in changes:
        indices = [index for index, _ in change.entries]
        everything = (1 << len(indices)) - 1
        cut, again = draw(_numbers) & everything, draw(_numbers) & everything
        for mask in (cut, everything & ~cut, again):
            pieces.append(change.restrict([index for index in indices if mask >> index & 1]))
    draw(st.randoms(use_true_random=False)).shuffle(pieces)
    return pieces


# -- ids for hash trees ---------------------------------------------------------------------------


_STARTS = [b"", b"\x00", b"\x00\x01", b"\x00\x01\x10", b"\x01", b"\xff\xff", bytes(31)]
_RESTS = [b"\x00", b"\x01", b"\x0f", b"\x10", b"\xf0", b"\xff"]
_TAILS = [sha256(bytes([number])).digest() for number in range(40)]
_CROWD = sorted({(start + rest + tail)[:32] for start, rest, tail in product(_STARTS, _RESTS, _TAILS)})


def crowded_ids() -> st.SearchStrategy[bytes]:
    """32-byte ids whose beginnings are shared with many others."""
    return st.integers(0, len(_CROWD) - 1).map(lambda number: _CROWD[number])
