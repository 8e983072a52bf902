"""Progress: how the stages of strict prefixes stand, by the word of the asked agent.

Who has said what is the agent's word: it has verified it, and nothing of it is signed for others.
The documents are bound by their hashes; what an epoch contains comes from the signed
entry under `_stages/`, verified like every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...model.errors import ControlError, InvalidInput
from ...protocol.certificate import Outcome
from ...protocol.epoch import Stage
from ...trust.chain import PolicyChain
from ...trust.membership import Membership
from ..change_id import begins
from ..exits import NotFound
from ..output import short
from ..replies import field_of
from ..session import Session


@dataclass(frozen=True, slots=True)
class Progress:
    """How a stage stands. `missing`: who has not answered; `asked_to_end`: somebody has asked for
    its end."""

    stage: Stage
    outcome: Outcome
    acked: Sequence[str]
    nacked: Sequence[str]
    missing: Sequence[str]
    revoked: Sequence[str]
    asked_to_end: bool

    @property
    def is_open(self) -> bool:
        """Whether its outcome is not known to the asked agent."""
        return self.outcome is Outcome.OPEN

    @property
    def is_blocked(self) -> bool:
        """Whether all members of its epoch are revoked: then nobody can ever know its outcome for certain."""
        return self.is_open and set(self.revoked).issuperset(self.stage.epoch.members)


@dataclass(frozen=True, slots=True)
class StrictPrefix:
    """A prefix, and its stages by number. `state`: served, fenced, no member or revoked: what the asked agent's readers
    meet."""

    prefix: str
    is_strict: bool
    state: str
    stages: Sequence[Progress]

    @property
    def in_force(self) -> Progress | None:
        """The last epoch that is known to be committed."""
        committed = [one for one in self.stages if one.outcome is Outcome.COMMITTED]
        return max(committed, key=lambda one: one.stage.epoch.number, default=None)

    @property
    def open(self) -> list[Progress]:
        """Those that may become the next epoch."""
        number = 0 if self.in_force is None else self.in_force.stage.epoch.number
        return [one for one in self.stages if one.is_open and one.stage.epoch.number > number]


def prefixes(session: Session, prefix: str | None = None) -> list[StrictPrefix]:
    """All strict prefixes, or the named one."""
    reply = session.request("stages", prefix=None if prefix is None else prefix.removesuffix("/"))
    return [
        StrictPrefix(
            field_of(raw, "prefix", str),
            field_of(raw, "strict", bool),
            field_of(raw, "state", str),
            [_read(one) for one in field_of(raw, "stages", list)],
        )
        for raw in field_of(reply, "prefixes", list)
    ]


def one_prefix(session: Session, prefix: str | None) -> StrictPrefix:
    """The named prefix, or the only one. Raises NotFound or InvalidInput."""
    found = prefixes(session, prefix)
    if len(found) > 1:
        raise InvalidInput(f"name one with --prefix: {', '.join(one.prefix for one in found)} are strict")
    if not found or not found[0].is_strict:
        what = "no prefix is strict" if prefix is None else f"{prefix!r} is not strict"
        raise NotFound(
            f"{what}; a policy with the parameter strict/{prefix or 'PREFIX'}: 1 makes it so: gossipconf policy edit"
        )
    return found[0]


def one_stage(found: StrictPrefix, start: str | None) -> Progress:
    """The stage whose id begins with `start`; without it the open one, or the last that has ended.

    Raises NotFound or InvalidInput.
    """
    if start is not None:
        candidates = [one for one in found.stages if begins(one.stage.id, start)]
        if not candidates:
            raise NotFound(f"{found.prefix!r} has no stage {start} that this agent knows; see: gossipconf stage status")
    else:
        last = max((one.stage.epoch.number for one in found.stages), default=0)
        candidates = found.open or [one for one in found.stages if one.stage.epoch.number == last]
        if not candidates:
            raise NotFound(f"{found.prefix!r} has no stage yet; prepare one with: gossipconf stage prepare")
        candidates = [one for one in candidates if one.outcome is Outcome.COMMITTED] or candidates
    if len(candidates) > 1:
        names = ", ".join(short(one.stage.id) for one in candidates)
        raise InvalidInput(f"several stages are meant: {names}; name one")
    return candidates[0]


def again(session: Session, one: Progress) -> Progress:
    """The same stage as it stands now. Raises NotFound if the agent knows nothing of it any more."""
    return one_stage(prefixes(session, one.stage.epoch.prefix)[0], one.stage.id.hex())


def document(session: Session, stage: Stage) -> Stage:
    """A stage with its contents, from the signed entry, verified. Raises NotFound if that is void or gone."""
    key = str(stage.key)
    for version in session.get(key).versions:
        if version.entry.value is not None:
            found = Stage.decode(version.entry.value)
            if found.id == stage.id and found.contents is not None:
                return found
    raise NotFound(
        f"the signed document of epoch {stage.epoch.number} of {stage.epoch.prefix!r} is void or gone, so what the "
        "epoch contains cannot be verified; put all values into the next one: gossipconf stage prepare --only"
    )


def ever_revoked(chain: PolicyChain) -> frozenset[str]:
    """The nodes that any policy up to the newest has revoked: none of them takes part again."""
    versions = range(1, chain.head.version + 1)
    return frozenset(node for version in versions for node in Membership.of(chain[version]).nodes)


def _read(raw: dict[str, Any]) -> Progress:
    try:
        outcome = Outcome(field_of(raw, "outcome", str))
    except ValueError:
        raise ControlError("the agent names an outcome of a stage that this version does not know") from None
    return Progress(
        Stage.decode(field_of(raw, "document", bytes)),
        outcome,
        field_of(raw, "acked", list),
        field_of(raw, "nacked", list),
        field_of(raw, "missing", list),
        field_of(raw, "revoked", list),
        field_of(raw, "asked_to_end", bool),
    )
