"""Decoding, as an argument: who drives many nodes may share what identical bytes decode to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..model.change import Change
from .messages import Message, decode_message


@dataclass(frozen=True, slots=True)
class Decoders:
    """How a node reads what comes over its links.

    In one process that runs thousands of nodes the same bytes arrive at all of them. What
    they decode to depends on nothing else and is never altered, so a simulation may remember
    it: the bytes are checked once, and the nodes hold one object instead of thousands of equal
    ones. An agent has no use for that and takes the defaults.

    message:  a message's bytes; None for a type that this version does not know. Raises
              ProtocolViolation
    change:   the bytes of a change, and the id of its cluster. Raises InvalidInput or Rejected
    """

    message: Callable[[bytes], Message | None] = decode_message
    change: Callable[[bytes, bytes], Change] = Change.decode
