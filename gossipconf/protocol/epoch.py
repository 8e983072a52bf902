"""Epochs: the values of a strict prefix that are in force together, and the stages that propose them.

    epoch n+1 names    its prefix and number, the id of epoch n, its exact members, those members of n whom the
                       roots have shut out, what a fenced read does, and the hash of its contents
    its id             is the hash of all that: so it stands for the whole chain before it
    a stage            is the document that proposes epoch n+1: the epoch, the one before it, and the contents
    its participants   are members(n) ∪ members(n+1), without those who are shut out

The contents are whole: all keys of the prefix, and not what has changed. So what a member
serves comes from one document, and who joins needs no other. The epoch before is in the document
so that everybody finds the same participants in it, whatever else has reached him.

Who is shut out is no choice: exactly those members of n whom the policies up to the one that the
epoch names have ever revoked. Two rival stages then always have a member of n in common.

Knows the documents and their form; nothing of what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

from ..model.change import INCARNATION_BYTES, PUBLIC_KEY_BYTES, Header, Writer
from ..model.encoding import as_array, as_bytes, as_int, as_text, decode, encode
from ..model.entry import Entry, ValueType, put
from ..model.errors import FormatError, InvalidInput, LimitExceeded
from ..model.hashing import (
    COMMITTED_TAG,
    EPOCH_CONTENTS_TAG,
    EPOCH_TAG,
    HASH_BYTES,
    REMOVAL_TAG,
    VERSION_TAG,
    tagged_hash,
)
from ..model.key import check_node_id, covers
from ..model.limits import ENTRIES_MAX, KEY_BYTES_MAX, NODE_ID_BYTES_MAX, POLICY_VERSION_MAX, VALUE_BYTES_MAX
from ..model.version import Version
from ..trust.strict import EPOCH_NUMBER_MAX, StageKey, check_strict_prefix

MEMBERS_MAX: Final = 1_000
"""Each says a word that all others must hear: a million deliveries for one epoch."""

_NOBODY: Final = Writer(bytes(PUBLIC_KEY_BYTES), bytes(INCARNATION_BYTES))

Content: TypeAlias = tuple[str, ValueType, bytes]
"""A key, the type of its value, the value."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch is, its contents by their hash.

    number:    1 for the first of a prefix
    policy:    the policy by which ``removed`` was found; the change that stages the epoch names it too
    before:    id of the epoch before; empty for the first
    members:   node ids, ascending: who serves it
    removed:   node ids, ascending: members of the epoch before whose agreement is not asked
    waits:     whether a read waits while the prefix is fenced; otherwise it raises
    contents:  hash of what it contains
    id:        32 bytes
    """

    prefix: str
    number: int
    policy: int
    before: bytes
    members: tuple[str, ...]
    removed: tuple[str, ...]
    waits: bool
    contents: bytes
    id: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", tagged_hash(EPOCH_TAG, encode(self.to_wire())))

    def to_wire(self) -> list[Any]:
        """The array inside a document."""
        return [
            self.prefix,
            self.number,
            self.policy,
            self.before,
            self.members,
            self.removed,
            self.waits,
            self.contents,
        ]

    @classmethod
    def from_wire(cls, value: Any) -> Epoch:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        prefix, number, policy, before, members, removed, waits, contents = as_array(value, "an epoch", 8)
        as_bytes(before, "the id of the epoch before", length_max=HASH_BYTES)
        if len(before) not in (0, HASH_BYTES) or type(waits) is not bool:
            raise FormatError("an epoch names the one before it by 32 bytes or none, and waits or does not")
        epoch = cls(
            check_strict_prefix(as_text(prefix, "the prefix of an epoch", KEY_BYTES_MAX)),
            as_int(number, "the number of an epoch", 1, EPOCH_NUMBER_MAX),
            as_int(policy, "the policy of an epoch", 0, POLICY_VERSION_MAX),
            before,
            _nodes(members, "the members of an epoch"),
            _nodes(removed, "those removed by an epoch"),
            waits,
            as_bytes(contents, "the hash of an epoch's contents", HASH_BYTES),
        )
        if not epoch.members:
            raise FormatError("an epoch has at least one member")
        if (epoch.number == 1) != (not epoch.before):
            raise FormatError("the first epoch of a prefix has none before it, and every other has one")
        return epoch


@dataclass(frozen=True, slots=True)
class Stage:
    """An epoch that is proposed.

    before:    the epoch before it; None if it is the first
    contents:  by key, ascending; None where only the epoch is spoken of
    """

    epoch: Epoch
    before: Epoch | None
    contents: tuple[Content, ...] | None = None
    participants: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        former = () if self.before is None else self.before.members
        object.__setattr__(
            self, "participants", frozenset((*former, *self.epoch.members)).difference(self.epoch.removed)
        )

    @property
    def id(self) -> bytes:
        """The epoch's id, 32 bytes: what acks and nacks speak of."""
        return self.epoch.id

    @property
    def key(self) -> StageKey:
        """Where its document stands."""
        return StageKey(self.epoch.prefix, self.epoch.number, self.id)

    def encode(self) -> bytes:
        """Canonical bytes: the value of an entry under `_stages/`."""
        before = None if self.before is None else self.before.to_wire()
        contents = None if self.contents is None else [[key, int(kind), value] for key, kind, value in self.contents]
        return encode([self.epoch.to_wire(), before, contents])

    @classmethod
    def decode(cls, data: bytes) -> Stage:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        fields = as_array(decode(data, "a stage", VALUE_BYTES_MAX), "a stage", 3)
        epoch = Epoch.from_wire(fields[0])
        before = None if fields[1] is None else Epoch.from_wire(fields[1])
        contents = None if fields[2] is None else _contents(fields[2], epoch.prefix)
        _check_chain(epoch, before)
        if contents is not None and contents_hash(contents) != epoch.contents:
            raise FormatError("the contents of a stage are not those that its epoch names")
        return cls(epoch, before, contents)

    def bare(self) -> Stage:
        """The same without its contents."""
        return Stage(self.epoch, self.before)


def make_stage(
    prefix: str,
    before: Epoch | None,
    members: Iterable[str],
    revoked: Iterable[str],
    contents: Iterable[Content],
    *,
    policy: int,
    waits: bool,
) -> Stage:
    """The stage that proposes what comes after ``before``.

    ``revoked``: all that policies up to ``policy`` have ever shut out. Raises InvalidInput or LimitExceeded that says
    what is wrong with it.
    """
    shut_out = frozenset(revoked)
    listed = tuple(sorted(set(members)))
    barred = [node for node in listed if node in shut_out]
    if barred:
        raise InvalidInput(f"{', '.join(barred)}: revoked once, and never a member again; it needs a new node id")
    former = () if before is None else before.members
    ordered = tuple(sorted(contents))
    epoch = Epoch(
        check_strict_prefix(prefix),
        1 if before is None else before.number + 1,
        policy,
        b"" if before is None else before.id,
        listed,
        tuple(node for node in former if node in shut_out),
        waits,
        contents_hash(ordered),
    )
    data = Stage(epoch, before, ordered).encode()
    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded(
            f"the stage has {len(data)} bytes, the limit is {VALUE_BYTES_MAX}: an epoch contains all of its prefix, "
            "so make only what must change together strict"
        )
    return Stage.decode(data)


def contents_hash(contents: Sequence[Content]) -> bytes:
    """What an epoch says of its contents."""
    return tagged_hash(EPOCH_CONTENTS_TAG, encode([[key, int(kind), value] for key, kind, value in contents]))


def values_of(stage: Stage, document: Version | None) -> dict[str, Version]:
    """The values of an epoch, as versions: signed by whoever signed its ``document``, the entry under `_stages/`.

    Without the document (what signed it is void by now) they bear the epoch's id, and nobody's signature.
    """
    found = {}
    for key, kind, value in stage.contents or ():
        entry = Entry(key, value, kind)
        version_id = tagged_hash(VERSION_TAG, stage.id, key.encode())
        if document is None:
            header = Header(bytes(HASH_BYTES), stage.epoch.policy, _NOBODY, 1, 0, 1, 0, bytes(HASH_BYTES))
            found[key] = Version(version_id, stage.id, 0, header, _NOBODY.id, entry)
        else:
            found[key] = replace(document, id=version_id, entry=entry)
    return found


def removal_subject(stage_id: bytes, removed: Iterable[str]) -> bytes:
    """The subject of an ack that says: ``removed`` are shut out, and I will not commit this stage by acks any more."""
    return tagged_hash(REMOVAL_TAG, stage_id, encode(sorted(removed)))


def committed_subject(stage_id: bytes) -> bytes:
    """The subject of an ack that says: I know that this stage is committed."""
    return tagged_hash(COMMITTED_TAG, stage_id)


def _check_chain(epoch: Epoch, before: Epoch | None) -> None:
    """Raise unless ``epoch`` follows ``before``, and leaves enough of its members to ask."""
    former = () if before is None else before.members
    if (b"" if before is None else before.id) != epoch.before:
        raise FormatError("a stage contains another epoch before it than the one that it names")
    if before is not None and (before.prefix, before.number + 1) != (epoch.prefix, epoch.number):
        raise FormatError("an epoch and the one before it have one prefix, and numbers that follow each other")
    if not set(epoch.removed) <= set(former):
        raise FormatError("an epoch removes only members of the one before it")
    if not set(epoch.removed).isdisjoint(epoch.members):
        raise FormatError("an epoch removes none of its own members")
    if former and set(former) == set(epoch.removed):
        raise InvalidInput(
            "every member of the epoch before is revoked, and nobody is left who could say that no other epoch "
            "has followed it; put the values under another prefix"
        )


def _nodes(value: Any, what: str) -> tuple[str, ...]:
    nodes = as_array(value, what, length_max=MEMBERS_MAX)
    for node in nodes:
        check_node_id(as_text(node, f"one of {what}", NODE_ID_BYTES_MAX))
    if any(left >= right for left, right in pairwise(nodes)):
        raise FormatError(f"{what} must be in strictly ascending order")
    return tuple(nodes)


def _contents(value: Any, prefix: str) -> tuple[Content, ...]:
    found = []
    for one in as_array(value, "the contents of a stage", length_max=ENTRIES_MAX):
        key, kind, content = as_array(one, "a value of a stage", 3)
        as_text(key, "a key of a stage", KEY_BYTES_MAX)
        value_type = ValueType(as_int(kind, f"the type of {key!r}", 0, max(ValueType)))
        put(key, as_bytes(content, f"the value of {key!r}"), value_type)  # it checks them
        if not covers(prefix, key):
            raise InvalidInput(f"{key!r} is not under the prefix of its stage, {prefix!r}")
        found.append((key, value_type, content))
    if any(left[0] >= right[0] for left, right in pairwise(found)):
        raise FormatError("the contents of a stage must be in strictly ascending order of keys")
    return tuple(found)
