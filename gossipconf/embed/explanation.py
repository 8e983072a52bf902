"""Explanations: from where in the fallback order a program has its value, and what became of the rest.

    1. environment   a variable GOSSIPCONF_OVERRIDE_…
    2. file          the local override file
    3. gossip        the cluster's value, come or published here since the agent started
    4. journal       the cluster's value, as it was on this agent's disk when it started
    5. default       what the program says

An explanation holds no value.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model.errors import StrictRead
from ..store.resolution import Candidate, Verdict
from ..trust.strict import strict_over
from .follower import Follower
from .overrides import variable_of
from .snapshot import Source


@dataclass(frozen=True, slots=True)
class Competitor:
    """A version that lives at a key, or is the last good one, and what became of it.

    change:      the id of its change in hex; `gossipconf show` has that
    variant:     empty for the default
    verdict:     why it is read, or is not
    time_ms:     when it was signed, by its signer's clock, ms since 1970
    expires_ms:  when it ends, or None
    """

    change: str
    variant: str
    verdict: Verdict
    time_ms: int
    expires_ms: int | None

    @classmethod
    def of(cls, candidate: Candidate) -> Competitor:
        """What is told of a candidate: not its value, which may be a secret in a log."""
        version = candidate.version
        entry, header = version.entry, version.header
        return cls(version.change_id.hex(), entry.variant, candidate.verdict, header.time_ms, entry.expires_ms)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a key gives what it does.

    source:      where the value comes from; DEFAULT if there is none
    origin:      the variable, the path of the file or the id of the change in hex; empty for DEFAULT
    variable:    the environment variable that would override the key
    sources:     those that say something of the key, the first of which wins
    competitors: what lives in the cluster at the key, by variant, the winner first
    unreadable:  why the key, which is of a strict prefix, cannot be read; or None
    is_strict:   whether it is of a strict prefix, where overrides are ignored
    """

    key: str
    source: Source
    origin: str
    variable: str
    sources: tuple[Source, ...]
    competitors: tuple[Competitor, ...]
    unreadable: str | None
    is_strict: bool


def explain(follower: Follower, key: str) -> Explanation:
    """Explain what ``key`` gives in the current snapshot. Raises InvalidInput for what is no key of users."""
    snapshot, variable = follower.snapshot, variable_of(key)
    unreadable, cell = None, None
    try:
        cell = snapshot.find(key)
        competitors = tuple(map(Competitor.of, follower.resolver.resolution(key).candidates))
    except StrictRead as error:
        unreadable, competitors = str(error), ()
    is_strict = strict_over(snapshot.strict, key) is not None
    said = []
    if not is_strict and variable in snapshot.overrides.variables:
        said.append(Source.ENVIRONMENT)
    if not is_strict and key in snapshot.overrides.file:
        said.append(Source.FILE)
    stored = None if unreadable else follower.stored(key)
    if stored is not None:
        said.append(stored)
    return Explanation(
        key=key,
        source=Source.DEFAULT if cell is None else cell.source,
        origin="" if cell is None else cell.origin,
        variable=variable,
        sources=tuple(said),
        competitors=competitors,
        unreadable=unreadable,
        is_strict=is_strict,
    )
