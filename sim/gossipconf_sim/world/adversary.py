"""An adversary: what stands between a hostile node and the network. It sees each message, and decides.

The node behind it is the shipped one, so a hostile peer holds a valid certificate,
speaks the protocol and has real changes; it lacks the admins' keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gossipconf.protocol.environment import Send

if TYPE_CHECKING:
    from ..network.wire import Wire
    from .host import Host
    from .stage import Stage

Delayed = tuple[float, Send]
"""A message to send, and after how many seconds."""


class Adversary:
    """One hostile host's behaviour. This one does nothing ill; each behaviour overrides what it needs."""

    def sends(self, host: Host, send: Send) -> Iterable[Delayed]:
        """What goes out instead of ``send``."""
        del host
        return ((0.0, send),)

    def hears(self, host: Host, wire: Wire, message: bytes) -> bool:
        """A message has come; whether the node is given it."""
        del host, wire, message
        return True

    def plan(self, stage: Stage, host: Host) -> None:
        """Plan what the host does of itself, from the first publish on."""
