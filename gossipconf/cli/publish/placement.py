"""Placements: what a put does among the variants of its key, as people are told it.

Knows a key's live versions and the entry that is put beside them; asks an agent only whom it knows.
"""

from __future__ import annotations

from ...model.entry import Entry
from ...model.version import Version
from ...store.resolution import Reader, matches, resolve
from ..item import Item
from ..output import before_after, count, escaped, note, print_step, slot_in_words, value_in_line, version_in_line
from ..see.activation import is_activation, present, warn_of_waiting
from ..see.outcome import duration_ahead, reach_in_words
from ..session import Session


def replaced_by(wanted: Entry, item: Item, now_ms: int) -> Version | None:
    """What people read, or would, in the place of `wanted`: None if nothing, or only what has expired."""
    if not wanted.variant:
        return present(item, now_ms)
    before = item.holds(wanted.variant)
    has_expired = before is not None and before.entry.expires_ms is not None and before.entry.expires_ms <= now_ms
    return None if has_expired else before


def is_same(before: Entry, wanted: Entry) -> bool:
    """Whether a put would change nothing: neither the value, nor for whom it is and until when."""
    same_reach = not wanted.variant or (before.match, before.rank) == (wanted.match, wanted.rank)
    return same_reach and (before.type, before.value, before.expires_ms) == (
        wanted.type,
        wanted.value,
        wanted.expires_ms,
    )


def print_put(wanted: Entry, before: Version | None, activation_ms: int | None) -> None:
    """What is put, in one line: before and after, for whom, from when, until when."""
    value = value_in_line(wanted.type, wanted.value or b"")
    what = before_after(None if before is None else version_in_line(before), value)
    if reach := reach_in_words(wanted, activation_ms):
        what.append(f"  ({escaped(reach)})", style="dim")
    print_step("+" if before is None else "~", slot_in_words(wanted.slot), what)


def matching_in_words(session: Session, wanted: Entry) -> str:
    """How many of the agents that the asked one knows match a variant: a typing error matches none."""
    if not wanted.match:
        return ""
    status = session.status()
    there = [member for member in status.members if member.state != "stopped"]
    found = sum(matches(wanted.match, Reader.of(one.node, one.zone, one.labels)) for one in there)
    more = "; there are more" if status.crowded else ""
    return f"matches {found:,} of {count(len(there), 'agent')} that {session.node} knows{more}"


def tell_end(wanted: Entry, before: Version | None) -> None:
    """Say that nothing is left once a value ends that takes the place of one for all."""
    if before is not None and not wanted.variant and wanted.expires_ms is not None:
        note(
            f"note: it takes the place of the value for all, and then {wanted.key} has none; an override leaves that in"
            " its place: --for TIME"
        )


def tell_others(session: Session, item: Item, wanted: Entry, now_ms: int) -> None:
    """Say who goes on reading another value than the one that is put for all, and who will."""
    if wanted.variant:
        return
    warn_of_waiting(item, now_ms)
    others = [version for version in item.versions if version.entry.variant and not is_activation(version)]
    read = resolve(others, session.reader, now_ms, item.halted).version
    if read is not None:
        name, expires_ms = read.entry.variant, read.entry.expires_ms
        until = f" until it expires {duration_ahead(expires_ms, now_ms)}" if expires_ms is not None else ""
        note(
            f"note: {session.node} goes on reading variant {name}{until}; take it back with: "
            f"gossipconf abort {item.key} --variant {name}"
        )
