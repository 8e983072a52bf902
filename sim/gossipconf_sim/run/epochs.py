"""Epochs: how many stages a run saw, and how long members took from the last ack until all had switched."""

from __future__ import annotations

from gossipconf.protocol.events import EpochCommitted, StageAborted, StageAnswered

from ..world.world import World
from .result import Epochs, Spread


def epochs(world: World) -> Epochs | None:
    """The figures of ``world``; None if nobody has staged anything."""
    acked: dict[bytes, dict[str, float]] = {}
    committed: dict[bytes, dict[str, float]] = {}
    aborted: set[bytes] = set()
    for time_s, host, event in world.stage_events:
        match event:
            case StageAnswered():
                if event.is_ack:
                    acked.setdefault(event.stage_id, {})[host] = time_s
                else:
                    aborted.add(event.stage_id)
            case EpochCommitted():
                committed.setdefault(event.stage_id, {})[host] = time_s
            case StageAborted():
                aborted.add(event.stage_id)
    if not acked and not aborted:
        return None
    whole = [one for one, switched in committed.items() if switched.keys() == acked.get(one, {}).keys()]
    fence_ms, switch_ms = [], []
    for one in whole:
        first_s, last_s = min(acked[one].values()), max(acked[one].values())
        switched_s = max(committed[one].values())
        fence_ms.append(1000 * (switched_s - first_s))
        switch_ms.append(1000 * (switched_s - last_s))
    return Epochs(len(committed), len(aborted), len(whole), Spread.of(switch_ms), Spread.of(fence_ms))
