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
from ..store.resolution import Candidate
from ..trust.strict import strict_over
from .follower import Follower
from .overrides import variable_of
from .snapshot import Source


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a key gives what it does.

    source:      where the value comes from; DEFAULT if there is none
    origin:      the variable, the path of the file or the id of the change in hex; empty for DEFAULT
    variable:    the environment variable that would override the key
    sources:     those that say something of the key, the first of which wins
    candidates:  what lives in the cluster at the key, and what became of each version
    unreadable:  why the key, which is of a strict prefix, cannot be read; or None
    is_strict:   whether it is of a strict prefix, where overrides are ignored
    """

    key: str
    source: Source
    origin: str
    variable: str
    sources: tuple[Source, ...]
    candidates: tuple[Candidate, ...]
    unreadable: str | None
    is_strict: bool


def explain(follower: Follower, key: str) -> Explanation:
    """Explain what ``key`` gives in the current snapshot. Raises InvalidInput for what is no key of users."""
    snapshot, variable = follower.snapshot, variable_of(key)
    unreadable, cell = None, None
    try:
        cell = snapshot.find(key)
        candidates = follower.resolver.resolution(key).candidates
    except StrictRead as error:
        unreadable, candidates = str(error), ()
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
        candidates=candidates,
        unreadable=unreadable,
        is_strict=is_strict,
    )
