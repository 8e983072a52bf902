"""gossipconf: a config centre without a centre.

    async with gossipconf.Agent.open("agent.toml") as agent:
        timeout_ms = agent.get("shop/checkout/timeout_ms", int, default=500)

What is named here and in `model.errors` is what programs build on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .embed.agent import Agent
    from .embed.bound import Bound, Problem
    from .embed.explanation import Competitor, Explanation
    from .embed.health import Health
    from .embed.snapshot import Snapshot, Source
    from .embed.watch import Update, Watch
    from .model.errors import (
        AgentFailed,
        Fenced,
        GossipconfError,
        InvalidModel,
        KeyMissing,
        NotAMember,
        StrictRead,
        WrongType,
    )

__all__ = [
    "Agent",
    "AgentFailed",
    "Bound",
    "Competitor",
    "Explanation",
    "Fenced",
    "GossipconfError",
    "Health",
    "InvalidModel",
    "KeyMissing",
    "NotAMember",
    "Problem",
    "Snapshot",
    "Source",
    "StrictRead",
    "Update",
    "Watch",
    "WrongType",
    "__version__",
]

_MODULES = {
    "embed.agent": ("Agent",),
    "embed.bound": ("Bound", "Problem"),
    "embed.explanation": ("Competitor", "Explanation"),
    "embed.health": ("Health",),
    "embed.snapshot": ("Snapshot", "Source"),
    "embed.watch": ("Update", "Watch"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load what is named above when it is first used: the sans-IO core and the simulator need no trio."""
    import importlib  # noqa: PLC0415 - seldom used

    if name not in __all__:
        raise AttributeError(f"module 'gossipconf' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"gossipconf.{_HOMES.get(name, 'model.errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
