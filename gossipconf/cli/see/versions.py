"""The live versions of a key, each with everything that is known of it: a paragraph for people.

Knows how they look; which of them is read, `store.resolution` has decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.text import Text

from ...model.version import Version
from ...store.resolution import Candidate, Verdict
from ..instant import now_ms
from ..output import called_in_full, count, escaped, moment, moment_and_age, print_labelled, say, short, version_in_line
from ..replies import Votes
from ..session import Session
from .outcome import outcome_in_words, votes_in_words, whom_in_words

LABEL_CHARACTERS: Final = 11
INDENT: Final = "  "


def print_versions(session: Session, candidates: Sequence[Candidate], votes: Mapping[bytes, Votes]) -> None:
    """One paragraph each, in the order of `candidates`; `votes` by change id."""
    for position, candidate in enumerate(candidates):
        if position:
            say()
        say(_heading(candidate))
        for label, text in _particulars(session, candidate.version, candidates):
            print_labelled(f"{INDENT}{label}", text, LABEL_CHARACTERS)
        if candidate.version.change_id in votes:
            said = votes_in_words(votes[candidate.version.change_id])
            print_labelled(f"{INDENT}votes", said, LABEL_CHARACTERS)


def _heading(candidate: Candidate) -> Text:
    version = candidate.version
    is_read = candidate.verdict is Verdict.READ
    kind = f"  ({version.entry.type.name.lower()})" if version.entry.value is not None else ""
    said = outcome_in_words(candidate, now_ms())
    value = Text() if candidate.verdict is Verdict.DELETED else Text("  ").append(version_in_line(version))
    return Text.assemble((said, "bold green" if is_read else "yellow"), value, (kind, "dim"))


def _particulars(session: Session, version: Version, candidates: Sequence[Candidate]) -> Iterator[tuple[str, str]]:
    header, entry = version.header, version.entry
    role, _ = session.signer_of(version)
    if entry.variant:
        yield "variant", f"{entry.variant}, for {whom_in_words(version) or 'nobody'}"
    yield "by", f"{escaped(role)} {called_in_full(session, header.writer.key, header.policy)}"
    yield "time", moment_and_age(header.time_ms, now_ms())
    if header.activation_ms is not None:
        yield "active", f"from {moment(header.activation_ms)}"
    if entry.expires_ms is not None:
        yield "expires", moment(entry.expires_ms)
    if header.comment:
        yield "comment", escaped(header.comment)
    entries = count(header.count, "entry", "entries")
    yield "change", f"{version.change_id.hex()}, of {entries}, under policy {header.policy}"
    yield "writer", f"{version.writer_id.hex()}, number {header.seq:,}"
    yield "version", version.id.hex()
    siblings = [one.version for one in candidates if one.version.slot == version.slot and one.version is not version]
    if siblings:
        yield "siblings", "in conflict with " + ", ".join(f"change {short(one.change_id)}" for one in siblings)
