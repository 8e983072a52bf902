"""Replies: what an agent says of itself, of others and of who has applied a change.

None of it is signed: it is as good as the agent that says it. Knows the shape of the
replies and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.change import Change
from ..model.errors import ControlError
from ..store.resolution import Reader


@dataclass(frozen=True, slots=True)
class Branch:
    """One of several changes under one number: its bare header, verified, and whether anything of it lives there."""

    header: Change
    lives: bool


@dataclass(frozen=True, slots=True)
class Member:
    """One agent as the asked one sees it. `state`: self, equal, differs, unknown, silent or stopped.

    `root`, `policy` and `versions` are what it told of itself `told_ms` ago. Of one that has
    told nothing since the asked agent's last change the state is unknown.
    """

    node: str
    zone: str
    address: str
    state: str
    root: bytes
    """Fingerprint of its replicated set, 16 bytes."""
    policy: int
    versions: int
    age_ms: int | None
    """Since its last sign of life; None if there was none since the asked agent has started."""
    lag_ms: int | None
    """Since when the asked agent has another state than the one that it told, if it had that once."""
    degraded: bool
    """It serves, but cannot write to its disk."""
    complaints: Mapping[str, int] = field(default_factory=dict)
    """How often it has sent what is `invalid`, left a pull `unanswered` or stayed `unequal` after a sync, since the
    asked agent has started."""
    told_ms: int | None = None
    """Since it told its state; None if not since the asked agent has started."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What its settings say it is."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How long the asked agent's certificate holds, and the one above it that ends first; whole days.

    ending:  of one of the two less than a third of its life is left
    """

    ends_ms: int
    days_left: int
    chain_ends_ms: int
    chain_days_left: int
    ending: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """An agent booted from a checkpoint of this time (ms since 1970), and too few others have held the same since."""

    checkpoint_ms: int
    equal: tuple[str, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class View:
    """How old an agent's view may be. `freshness`: never (no beacon has shown it), fresh, stale or expired.

    `limit_ms` is the agent's own setting, above which a view is stale. Times are ms since 1970, by the signer's clock.
    """

    freshness: str
    at_most_ms: int | None = None
    time_ms: int | None = None
    expires_ms: int | None = None
    signer: bytes | None = None
    limit_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Votes:
    """Who has called a change unhealthy, and how many such votes hold it off; by the asked agent's word.

    keys:  of which something of the change lives there, if that was asked for
    """

    change_id: bytes
    nodes: tuple[str, ...]
    limit: int
    halted: bool
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """Every agent that the asked one knows, itself first, then by name. `crowded`: there are more than it lists.

    ``certificate`` is None for an agent of a release that does not tell.
    """

    members: Sequence[Member]
    crowded: bool = False
    certificate: Certificate | None = None
    unconfirmed: Unconfirmed | None = None
    view: View = View("never")
    votes: Sequence[Votes] = ()
    unfit: int = 0
    """Values that fail a schema at the asked agent, and are held back from its readers."""
    unfit_keys: tuple[str, ...] = ()
    """Keys of some of them."""
    conflicts: int = 0
    """Slots of which the asked agent's readers see several live versions."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Who has applied what was asked, as the asked agent has heard."""

    applied: int
    total: int
    complete: bool
    """Everybody who is connected has answered."""
    missing: tuple[str, ...]
    """Names of those that have not applied it; a sample if there are many."""
    silent: tuple[str, ...]
    """Names of linked agents that do not answer."""
    more_silent: bool
    zones: tuple[tuple[str, int, int], ...]
    """Name, applied, total."""

    @property
    def is_done(self) -> bool:
        """Whether all have applied it, and nobody is left out."""
        return self.complete and self.applied == self.total


def read_reader(info: dict[str, Any]) -> Reader:
    """Who the asked agent is to a variant's match, by its reply to `info`. Raises ControlError."""
    labels = info.get("labels", {})  # an agent of an earlier release tells none
    if not isinstance(labels, dict) or not all(isinstance(one, str) for pair in labels.items() for one in pair):
        raise ControlError("the agent's reply has no proper field 'labels'; is the agent of another version?")
    return Reader.of(field_of(info, "node", str), field_of(info, "zone", str), labels)


def read_status(reply: dict[str, Any]) -> Status:
    """What was asked for with `status`. Raises ControlError."""
    raws = field_of(reply, "members", list)
    members = [
        Member(
            node=field_of(raw, "node", str),
            zone=field_of(raw, "zone", str),
            address=field_of(raw, "address", str),
            state=field_of(raw, "state", str),
            root=field_of(raw, "root", bytes),
            policy=field_of(raw, "policy", int),
            versions=field_of(raw, "versions", int),
            age_ms=None if raw.get("age_ms") is None else field_of(raw, "age_ms", int),
            lag_ms=field_of(raw, "lag_ms", int | None),
            degraded=field_of(raw, "degraded", bool),
            complaints=field_of(raw, "complaints", dict),
            told_ms=field_of(raw, "told_ms", int | None),
            labels=field_of(raw, "labels", dict),
        )
        for raw in raws
    ]
    ordered = sorted(members, key=lambda member: (member.state != "self", member.node))
    return Status(
        ordered,
        field_of(reply, "crowded", bool),
        certificate=_certificate(reply),
        unconfirmed=_unconfirmed(reply.get("unconfirmed")),
        view=_view(field_of(reply, "view", dict)),
        votes=[read_votes(raw) for raw in field_of(reply, "votes", list)],
        unfit=field_of(reply.get("unfit", {"number": 0}), "number", int),
        conflicts=field_of({"conflicts": 0} | reply, "conflicts", int),
        unfit_keys=_names(reply.get("unfit", {"keys": []}), "keys"),
    )


def read_votes(raw: Any) -> Votes:
    """How votes on a change stand. Raises ControlError."""
    return Votes(
        field_of(raw, "change", bytes),
        _names(raw, "nodes"),
        field_of(raw, "limit", int),
        field_of(raw, "halted", bool),
        _names(raw, "keys") if "keys" in raw else (),
    )


def read_tally(event: dict[str, Any]) -> Tally:
    """A tally. Raises ControlError."""
    zones = field_of(event, "zones", list)
    return Tally(
        applied=field_of(event, "applied", int),
        total=field_of(event, "total", int),
        complete=field_of(event, "complete", bool),
        missing=_names(event, "missing"),
        silent=_names(event, "silent"),
        more_silent=field_of(event, "more_silent", bool),
        zones=tuple(
            (field_of(one, "zone", str), field_of(one, "applied", int), field_of(one, "total", int)) for one in zones
        ),
    )


def field_of(reply: Any, name: str, kind: Any) -> Any:
    """Field `name` of a reply, if it is of type `kind`. Raises ControlError."""
    value = reply.get(name) if isinstance(reply, dict) else None
    if not isinstance(value, kind):
        raise ControlError(f"the agent's reply has no proper field {name!r}; is the agent of another version?")
    return value


def _unconfirmed(raw: Any) -> Unconfirmed | None:
    if raw is None:
        return None
    return Unconfirmed(field_of(raw, "checkpoint_ms", int), _names(raw, "equal"), field_of(raw, "wanted", int))


def _view(raw: dict[str, Any]) -> View:
    return View(
        freshness=field_of(raw, "freshness", str),
        at_most_ms=field_of(raw, "at_most_ms", int | None),
        time_ms=field_of(raw, "time_ms", int | None),
        expires_ms=field_of(raw, "expires_ms", int | None),
        signer=field_of(raw, "signer", bytes | None),
        limit_ms=field_of(raw, "limit_ms", int | None),
    )


def _names(event: dict[str, Any], name: str) -> tuple[str, ...]:
    names = field_of(event, name, list)
    if not all(isinstance(one, str) for one in names):
        raise ControlError(f"the agent's reply has no proper field {name!r}; is the agent of another version?")
    return tuple(names)


def _certificate(reply: Mapping[str, Any]) -> Certificate | None:
    raw = reply.get("certificate")
    if not isinstance(raw, dict):
        return None
    return Certificate(
        ends_ms=field_of(raw, "ends_ms", int),
        days_left=field_of(raw, "days_left", int),
        chain_ends_ms=field_of(raw, "chain_ends_ms", int),
        chain_days_left=field_of(raw, "chain_days_left", int),
        ending=field_of(raw, "ending", bool),
    )
