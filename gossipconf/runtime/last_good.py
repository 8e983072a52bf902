"""Last good: values that fail a schema at this agent, and what its readers read in their place.

Peers' changes are taken whatever they hold; what is published here was checked before. A
value that comes, fails a schema that is in force here, and has not been read here, is held
back: readers go on with what they had, the
last good value. It is judged once, before it is shown, and what was found is on disk in the
same transaction as the value: no restart changes what readers see, and none shows what is
older than what they have seen (invariant 5). A schema that comes later holds nothing back;
one that is changed or removed lets go what it had held.

Of the last good value the disk keeps the id; the value itself comes from local history, and
is gone when history forgets it (30 days by default): then there is no value.

Knows readers, schemas and the journal's records. What a reader makes of it is
`store.resolution`'s to say. Sealed values are not looked into.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import trio

from ..model.encoding import as_array, as_bytes, as_text, decode, encode
from ..model.entry import Entry, Slot, ValueType, delete
from ..model.errors import InvalidInput, SchemaUnusable
from ..model.hashing import HASH_BYTES
from ..model.key import covers
from ..model.limits import KEY_BYTES_MAX, VARIANT_BYTES_MAX
from ..model.version import Version
from ..protocol.environment import Persist, Reads
from ..store.journal import Journal
from ..store.journal_ops import JournalOp, PutMeta, Retire
from .inspector import Inspector
from .reads import ReadView
from .schema_set import SCHEMA_PREFIX, SchemaSet
from .syntax import ParserMissing

SAVED_UNFIT: Final = "unfit"
UNFIT_MAX: Final = 10_000
"""Values held back at a time; more are shown as they are. Some 300 bytes each, which are written again with each."""
PROBLEM_BYTES_MAX: Final = 512
"""Of what is kept of the words for a problem: a line or two; `schema check` has them whole."""
JUDGE_S: Final = 2.0
"""For all that is written at once, 2,000 rows: people's values take 0.1 s. The disk waits meanwhile."""
YAML_BYTES_MAX: Final = 1 << 18
"""Larger YAML is not judged: its parser takes some ten seconds for 1 MiB."""

log = logging.getLogger("gossipconf")


@dataclass(frozen=True, slots=True)
class Unfit:
    """A live version that is held back.

    problem:  what is wrong with it, in words that do not quote it
    good:     id of the version that is read in its place; None: there was none
    data:     that version, as a change that holds just its entry; None if history has it no more
    """

    slot: Slot
    change_id: bytes
    problem: str
    good: bytes | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class ValueHeldBack:
    """A value has come that fails a schema; readers keep the last good one, if there is one."""

    key: str
    variant: str
    change_id: bytes
    problem: str
    has_good: bool


class LastGood:
    """Which live versions are held back at an agent."""

    def __init__(
        self,
        reads: ReadView,
        inspector: Inspector,
        tell: Callable[[ValueHeldBack], None],
        saved: Mapping[bytes, Unfit] | None = None,
    ) -> None:
        """``saved``: what `load` has found on the disk."""
        self._reads = reads
        self._inspector = inspector
        self._tell = tell
        live = {version.id for unfit in (saved or {}).values() for version in reads.versions(unfit.slot[0])}
        self.unfit: dict[bytes, Unfit] = {one: unfit for one, unfit in (saved or {}).items() if one in live}
        self._judged_under = inspector.schemas
        self._next: tuple[dict[bytes, Unfit], SchemaSet] | None = None

    async def look(self, group: Sequence[Persist]) -> Sequence[JournalOp]:
        """Judge what is about to be written and shown; what has to be written with it."""
        schemas = self._inspector.schemas.with_entries(_schema_entries(one.reads for one in group))
        is_changed = schemas is not self._judged_under  # by this group, or by what was published here since the last
        if not self.unfit and (not schemas.texts or not self._inspector.can_check):
            return ()
        wanted = {
            version.id: version.entry for persist in group for version in self._news(persist.reads) if _is_seen(version)
        }
        if is_changed:
            wanted |= {version.id: version.entry for version in self._held_now()}
        problems: dict[bytes, str] = {}
        if wanted and self._inspector.can_check:
            problems = await trio.to_thread.run_sync(_problems, schemas, wanted)
        held = {version.id for version in self._held_now()}  # of a void one nothing is known
        unfit = {
            one: found
            for one, found in self.unfit.items()
            if one in held and (not is_changed or one not in wanted or one in problems)
        }
        shown: dict[Slot, tuple[Version, ...]] = {}
        for persist in group:
            retired = {op.version_id: op.data for op in persist.ops if isinstance(op, Retire)}
            for slot, versions in persist.reads:
                before = shown.get(slot, self._slot(slot))
                shown[slot] = versions
                self._judge(unfit, before, versions, problems, retired)
        if len(unfit) >= UNFIT_MAX > len(self.unfit):
            log.warning("%d values that fail schemas are held back; more are shown as they are", UNFIT_MAX)
        self._next = unfit, schemas
        return () if unfit == self.unfit else (PutMeta(SAVED_UNFIT, _encoded(unfit)),)

    def _judge(
        self,
        unfit: dict[bytes, Unfit],
        before: tuple[Version, ...],
        versions: tuple[Version, ...],
        problems: Mapping[bytes, str],
        retired: Mapping[bytes, bytes],
    ) -> None:
        """Bring ``unfit`` up to a slot's next state."""
        good, data = _good_of(before, unfit, retired)
        had = {version.id for version in before}
        for version in versions:
            problem = problems.get(version.id)
            if problem is None or version.id in had or len(unfit) >= UNFIT_MAX:
                continue
            unfit[version.id] = Unfit(version.slot, version.change_id, problem, good, data)
        left = {version.id for version in versions}
        for one in had - left:
            unfit.pop(one, None)

    def taken(self) -> None:
        """What `look` has looked at is on the disk, and about to be shown."""
        if self._next is None:
            return
        before, (self.unfit, self._judged_under), self._next = self.unfit, self._next, None
        for one, unfit in self.unfit.items():
            if one not in before:
                key, variant = unfit.slot
                self._tell(ValueHeldBack(key, variant, unfit.change_id, unfit.problem, unfit.data is not None))
        self._reads.held_off(unfit.slot[0] for one, unfit in before.items() if one not in self.unfit)

    def lost(self) -> None:
        """What `look` has looked at could not be written."""
        self._next = None

    # -- what there is ----------------------------------------------------------------------------

    def _slot(self, slot: Slot) -> tuple[Version, ...]:
        key, _ = slot
        return tuple(version for version in self._reads.versions(key) if version.slot == slot)

    def _news(self, reads: Reads) -> Iterator[Version]:
        for slot, versions in reads:
            known = {version.id for version in self._slot(slot)}
            yield from (version for version in versions if version.id not in known)

    def _held_now(self) -> Iterator[Version]:
        for unfit in self.unfit.values():
            yield from (version for version in self._slot(unfit.slot) if version.id in self.unfit)


def load(journal: Journal) -> dict[bytes, Unfit]:
    """What the disk says is held back, each with its last good value if history still has that. Blocks."""
    found = _decoded(journal.meta().get(SAVED_UNFIT))
    return {one: replace(unfit, data=_recalled(journal, unfit)) for one, unfit in found.items()}


def _recalled(journal: Journal, unfit: Unfit) -> bytes | None:
    if unfit.good is None:
        return None
    row = journal.retired(unfit.slot[0], unfit.good)
    return None if row is None else row.data


def _is_seen(version: Version) -> bool:
    return version.entry.value is not None and version.entry.type is not ValueType.SEALED


def _schema_entries(reads: Iterable[Reads]) -> list[Entry]:
    """What becomes of schemas, as entries: of siblings the winner."""
    slots = {slot: versions for one in reads for slot, versions in one if covers(SCHEMA_PREFIX, slot[0])}
    return [versions[0].entry if versions else delete(slot[0], variant=slot[1]) for slot, versions in slots.items()]


def _problems(schemas: SchemaSet, wanted: Mapping[bytes, Entry]) -> dict[bytes, str]:
    """What is wrong with which version. One that cannot be judged is shown: no schema takes a value away by a fault."""
    found = {}
    until_s = time.monotonic() + JUDGE_S
    for version_id, entry in wanted.items():
        if entry.value is None or not any(schemas.covering(entry.key)):
            continue
        if time.monotonic() > until_s:
            log.warning("judging what has come by schemas takes more than %g s; the rest is shown unjudged", JUDGE_S)
            break
        if entry.type is ValueType.YAML and len(entry.value) > YAML_BYTES_MAX:
            continue
        try:
            problem = schemas.problem(entry.key, entry.type, entry.value)
        except SchemaUnusable as error:
            log.debug("%r is not judged: %s", entry.key, error)
            continue
        except ParserMissing:
            continue
        if problem is not None:
            found[version_id] = problem.encode()[:PROBLEM_BYTES_MAX].decode(errors="ignore")
    return found


def _good_of(
    before: tuple[Version, ...], unfit: Mapping[bytes, Unfit], retired: Mapping[bytes, bytes]
) -> tuple[bytes | None, bytes | None]:
    """What a slot's readers read so far: id and bytes."""
    for version in before:
        if version.id not in unfit:
            if version.entry.value is None:
                return None, None
            return version.id, retired.get(version.id)
    held = unfit.get(before[0].id) if before else None
    return (None, None) if held is None else (held.good, held.data)


# -- on the disk ----------------------------------------------------------------------------------


def _encoded(unfit: Mapping[bytes, Unfit]) -> bytes:
    return encode(
        [
            [one, *found.slot, found.change_id, found.problem, found.good or b""]
            for one, found in sorted(unfit.items(), key=lambda pair: pair[0])
        ]
    )


def _decoded(data: bytes | None) -> dict[bytes, Unfit]:
    if data is None:
        return {}
    try:
        rows = as_array(decode(data, "what is held back", len(data)), "what is held back", length_max=UNFIT_MAX)
        return dict(map(_row, rows))
    except InvalidInput as error:  # of a later release; what it held back is shown
        log.warning("what is held back for a schema cannot be read: %s", error)
        return {}


def _row(row: Any) -> tuple[bytes, Unfit]:
    version_id, key, variant, change_id, problem, good = as_array(row, "a value that is held back", 6)
    return as_bytes(version_id, "a version id", HASH_BYTES), Unfit(
        (as_text(key, "a key", KEY_BYTES_MAX), as_text(variant, "a variant", VARIANT_BYTES_MAX)),
        as_bytes(change_id, "a change id", HASH_BYTES),
        as_text(problem, "a problem", PROBLEM_BYTES_MAX),
        as_bytes(good, "a version id", length_max=HASH_BYTES) or None,
        None,
    )
