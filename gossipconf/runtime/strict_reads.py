"""What readers see of strict prefixes: the values of the epoch that this node serves, all of one epoch or none.

A fenced prefix is read by nobody: who asks is told so, or waits, as the open stage says. Who is no
member of the epoch in force reads nothing at all. What ordinary changes have put there before the
prefix was strict is hidden.

Knows readers; which epoch is served is `protocol.stages`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from ..model.entry import Slot
from ..model.errors import Fenced, NotAMember
from ..model.key import covers
from ..model.version import Version
from ..protocol.epoch import values_of
from ..protocol.participant import Standing
from ..protocol.stages import Stages
from ..trust.strict import strict_over


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is seen of one prefix; ``values`` are those of the epoch, whether it can be read or not."""

    standing: Standing
    values: Mapping[str, Version]


class StrictReads:
    """The strict prefixes as readers see them."""

    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}
        self._changed = trio.Event()

    def __bool__(self) -> bool:
        """Whether there is any strict prefix."""
        return bool(self._shown)

    def update(self, stages: Stages, slots: Mapping[Slot, tuple[Version, ...]]) -> list[str]:
        """Take over what this node serves now; return the keys that can be read, or are gone, and were not so before.

        ``slots``: what is replicated, in which the documents of epochs stand.
        """
        before, self._shown = self._shown, {}
        changed: dict[str, None] = {}
        for prefix in stages.strict:
            standing = stages.standing(prefix)
            old = before.get(prefix)
            if old is not None and old.standing == standing:
                self._shown[prefix] = old
                continue
            self._shown[prefix] = shown = _Shown(standing, _values(standing, slots))
            known = {} if old is None else old.values
            if standing.served is not None:
                changed.update((key, None) for key in {**known, **shown.values} if _differ(key, known, shown.values))
        if before != self._shown:
            self._changed.set()
            self._changed = trio.Event()
        return list(changed)

    @property
    def prefixes(self) -> list[str]:
        """The strict prefixes, in order."""
        return sorted(self._shown)

    def over(self, key: str) -> str | None:
        """The strict prefix to which ``key`` belongs; None for an ordinary key."""
        return strict_over(self._shown, key) if self._shown else None

    def versions(self, prefix: str, key: str) -> list[Version]:
        """The value of ``key`` in the epoch that is served of ``prefix``, or nothing. Raises Fenced or NotAMember."""
        shown = self._shown[prefix]
        _check(prefix, shown.standing)
        found = shown.values.get(key)
        return [] if found is None else [found]

    def readable_keys(self) -> list[str]:
        """The keys that can be read now, in order."""
        return sorted(
            key
            for prefix, shown in self._shown.items()
            if shown.standing.served is not None
            for key in shown.values
            if self.over(key) == prefix
        )

    def unreadable(self, prefix: str) -> dict[str, str]:
        """The strict prefixes at or under ``prefix``, or around it, that cannot be read now, and why."""
        found = {}
        for one, shown in sorted(self._shown.items()):
            if covers(prefix, one) or covers(one, prefix):
                try:
                    _check(one, shown.standing)
                except (Fenced, NotAMember) as error:
                    found[one] = str(error)
        return found

    async def settled(self, key: str) -> None:
        """Wait while ``key`` is fenced by a stage that lets reads wait."""
        while True:
            prefix = self.over(key)
            fence = None if prefix is None else self._shown[prefix].standing.fence
            if fence is None or not fence.epoch.waits:
                return
            await self._changed.wait()


def _check(prefix: str, standing: Standing) -> None:
    """Raise unless what is served of ``prefix`` can be read."""
    if standing.is_barred:
        raise NotAMember(f"{prefix!r} is strict, and the policy has revoked this agent")
    if standing.epoch is None:
        raise NotAMember(
            f"{prefix!r} is strict, and this agent is no member of an epoch of it; "
            "ask a member, which `gossipconf stage status` names"
        )
    if standing.fence is not None:
        epoch = standing.fence.epoch
        raise Fenced(
            f"{prefix!r} is fenced: stage {epoch.id.hex()[:8]} of epoch {epoch.number} is open, and neither the old "
            "values nor the new ones can be read; see: gossipconf stage status"
        )


def _values(standing: Standing, slots: Mapping[Slot, tuple[Version, ...]]) -> Mapping[str, Version]:
    if standing.epoch is None:
        return {}
    documents = slots.get((str(standing.epoch.key), ""), ())
    return values_of(standing.epoch, documents[0] if documents else None)


def _differ(key: str, before: Mapping[str, Version], after: Mapping[str, Version]) -> bool:
    old, new = before.get(key), after.get(key)
    return old is None or new is None or old.entry != new.entry
