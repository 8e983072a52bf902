"""The relay: the network between the demo's agents, in which a cut can be made.

Every agent tells its peers an address of the relay, and dials from a loopback
address of its own, so the relay knows who calls whom. It copies bytes, which are
TLS to it, and has no keys. A cut drops the connections between the sides and
refuses new ones; nobody tells the agents.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from ...runtime.address import format_address

RELAY_HOST: Final = "127.0.0.1"
READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent is: its name, its own loopback address, and the port on which it accepts peers."""

    node: str
    host: str
    port: int


class Relay:
    """Carries connections between `places`, except across a cut."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = {place.node: place for place in places}
        self._callers = {place.host: place.node for place in places}
        self._side_of: Mapping[str, int] = {}
        self._numbers = itertools.count()
        self._open: dict[int, tuple[str, str, trio.CancelScope]] = {}
        self._listeners: dict[str, list[trio.SocketListener]] = {}

    async def listen(self) -> dict[str, str]:
        """Bind one free port for each agent; node → the address at which the others reach it."""
        addresses = {}
        for node in self._places:
            self._listeners[node] = await trio.open_tcp_listeners(0, host=RELAY_HOST)
            addresses[node] = format_address(RELAY_HOST, self._listeners[node][0].socket.getsockname()[1])
        return addresses

    async def run(self) -> None:
        """Carry connections until cancelled. `listen` first."""
        async with trio.open_nursery() as nursery:
            for node, listeners in self._listeners.items():
                nursery.start_soon(trio.serve_listeners, partial(self._carry, node), listeners)

    def cut(self, *sides: Collection[str]) -> None:
        """From now on only agents of the same side reach each other."""
        self._side_of = {node: number for number, side in enumerate(sides) for node in side}
        for caller, target, scope in list(self._open.values()):
            if self._is_cut(caller, target):
                scope.cancel()

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self._side_of = {}

    @property
    def is_cut(self) -> bool:
        """Whether there is a cut now."""
        return bool(self._side_of)

    def crossing(self) -> int:
        """How many open connections cross the cut."""
        return sum(self._is_cut(caller, target) for caller, target, _ in self._open.values())

    def _is_cut(self, caller: str, target: str) -> bool:
        return self._side_of.get(caller) != self._side_of.get(target)

    async def _carry(self, target: str, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                caller = self._callers.get(stream.socket.getpeername()[0])
            except OSError:
                return  # it has gone already
            if caller is None or self._is_cut(caller, target):
                return
            place, number = self._places[target], next(self._numbers)
            with trio.CancelScope() as scope:
                self._open[number] = (caller, target, scope)
                try:
                    async with await trio.open_tcp_stream(place.host, place.port) as onward:
                        await _join(stream, onward)
                except OSError:
                    pass  # the agent is not running: the caller sees its connection close
                finally:
                    del self._open[number]


async def _join(one: trio.SocketStream, other: trio.SocketStream) -> None:
    """Copy both ways until both have ended or one is broken."""
    async with trio.open_nursery() as nursery:

        async def copy(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            try:
                while data := await source.receive_some(READ_BYTES):
                    await sink.send_all(data)
                await sink.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                nursery.cancel_scope.cancel()

        nursery.start_soon(copy, one, other)
        nursery.start_soon(copy, other, one)
