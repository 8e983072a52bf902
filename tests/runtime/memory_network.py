"""A network of in-memory streams on trio's mock clock, and a hand for that clock that waits for all work.

Knows addresses, delays, and how a connection begins, carries and breaks; knows no agent.
What is under way lies on one heap and moves one at a time: what arrives first is dealt
with, to the end of all that follows from it, before anything else happens. So neither
processor time nor a thread decides an order, but the delays alone.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import trio
import trio.testing

from gossipconf.runtime.address import format_address
from gossipconf.runtime.transport import STOPPING, Transport

Delay = Callable[[str, str], float]
"""delay(one, other): the one-way delay between two hosts in seconds, the same both ways."""


class MemoryStream(trio.abc.Stream):
    """One end of a connection: what is sent arrives after the delay, whole and in order, while the connection lives.

    Sending never blocks. The other end reads what was sent before a close, and then the end.
    """

    other: MemoryStream

    def __init__(self, network: MemoryNetwork, delay_s: float) -> None:
        self._network = network
        self._delay_s = delay_s
        self._inbox = bytearray()
        self._is_closed = False
        self._has_ended = False
        self._is_severed = False
        self._failure: str | None = None
        self._news = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        self._network.later(self._delay_s, self.other.arrive, bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            if self._inbox or self._has_ended:
                data = bytes(self._inbox[:max_bytes])
                del self._inbox[: len(data)]
                return data
            await self._news.wait()

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._tell()
            self._network.later(self._delay_s, self.other.end)
        await trio.lowlevel.checkpoint()

    # -- what the network does to it --------------------------------------------------------------

    def arrive(self, data: bytes) -> None:
        """Bytes have come; those that come too late are lost."""
        if not self._is_severed:
            self._inbox += data
            self._tell()

    def end(self) -> None:
        """The other end has closed, and all that it had sent is here."""
        if not self._is_severed:
            self._has_ended = True
            self._tell()

    def sever(self) -> None:
        """From now on nothing comes."""
        self._is_severed = True

    def fail(self, reason: str) -> None:
        """This end learns that the connection is broken."""
        self._failure = reason
        self._tell()

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("this end is closed")
        if self._failure is not None:
            raise trio.BrokenResourceError(self._failure)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@dataclass(frozen=True, slots=True)
class MemoryWire:
    """A connection: the names of its hosts, the dialling one first, and its ends."""

    names: tuple[str, str]
    ends: tuple[MemoryStream, MemoryStream]


class MemoryNetwork:
    """Carries bytes between the transports that it makes.

    delay:     between hosts, by name
    notice_s:  how long until an end of a broken connection learns of it
    """

    def __init__(self, delay: Delay, notice_s: float) -> None:
        self._delay = delay
        self._notice_s = notice_s
        self._names: dict[str, str] = {}
        self._listening: dict[str, MemoryTransport] = {}
        self._sides: dict[str, int] = {}
        self._wires: list[MemoryWire] = []
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._tie = itertools.count()

    def transport_of(self, name: str) -> Callable[..., Transport]:
        """What makes the transport of the host ``name``, called as `Transport`."""
        return lambda **arguments: MemoryTransport(self, name, **arguments)

    # -- time -------------------------------------------------------------------------------------

    def later(self, delay_s: float, action: Callable[..., None], *arguments: object) -> None:
        """Let ``action`` happen after ``delay_s``; what happens at one moment, in the order of these calls."""
        heapq.heappush(self._heap, (trio.current_time() + delay_s, next(self._tie), action, arguments))

    @property
    def next_s(self) -> float:
        """When the next thing happens, on trio's clock."""
        return self._heap[0][0] if self._heap else float("inf")

    def step(self) -> None:
        """Let the next thing happen."""
        _, _, action, arguments = heapq.heappop(self._heap)
        action(*arguments)

    # -- opening ----------------------------------------------------------------------------------

    def listen(self, name: str, address: str, transport: MemoryTransport) -> None:
        """From now on ``transport`` answers at ``address``."""
        self._names[address] = name
        self._listening[address] = transport

    def unlisten(self, transport: MemoryTransport) -> None:
        """It answers no more."""
        self._listening = {address: one for address, one in self._listening.items() if one is not transport}

    async def open(self, name: str, address: str) -> MemoryStream:
        """A connection from the host ``name``, after a round trip. Raises OSError where nobody answers with one."""
        if address not in self._names:
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        delay_s = self._delay(name, self._names[address])
        answered = trio.Event()
        ends: list[MemoryStream] = []

        def knock() -> None:
            ends.extend(self._accept(name, address, delay_s))
            self.later(delay_s, answered.set)

        self.later(delay_s, knock)
        await answered.wait()
        if not ends:
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return ends[0]

    def _accept(self, name: str, address: str, delay_s: float) -> tuple[MemoryStream, ...]:
        """The ends of a new connection; none if it is refused."""
        listener, target = self._listening.get(address), self._names[address]
        if listener is None or not self._reaches(name, target):
            return ()
        ends = MemoryStream(self, delay_s), MemoryStream(self, delay_s)
        ends[0].other, ends[1].other = ends[1], ends[0]
        if not listener.take(ends[1], f"{name}:0"):
            return ()
        self._wires.append(MemoryWire((name, target), ends))
        return ends

    # -- breaking ---------------------------------------------------------------------------------

    def cut(self, *groups: Iterable[str]) -> None:
        """Only hosts of one group reach each other, and connections between groups break.

        The ends learn of it at one moment: those of the connections that the first host has dialled first.
        """
        self._sides = {name: side for side, group in enumerate(groups) for name in group}
        order = list(self._names.values())
        crossing = [wire for wire in self._wires if not self._reaches(*wire.names)]
        for wire in sorted(crossing, key=lambda wire: order.index(wire.names[0])):
            self._break(wire, "the network is cut")

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._sides = {}

    def vanish(self, name: str) -> None:
        """The host ``name`` is gone: nothing that it says from now on is heard, and its peers learn of it."""
        for wire in [wire for wire in self._wires if name in wire.names]:
            self._break(wire, "connection reset by peer")

    def _reaches(self, one: str, other: str) -> bool:
        return self._sides.get(one) == self._sides.get(other)

    def _break(self, wire: MemoryWire, reason: str) -> None:
        """What is under way is lost."""
        self._wires.remove(wire)
        for end in wire.ends:
            end.sever()
            self.later(self._notice_s, end.fail, reason)


class MemoryTransport(Transport):
    """The shipped transport, with connections of a `MemoryNetwork` in place of sockets."""

    def __init__(self, network: MemoryNetwork, name: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._network = network
        self._name = name

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        self._network.listen(self._name, format_address(host, port), self)
        await trio.lowlevel.checkpoint()
        return host, port

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return await self._network.open(self._name, format_address(host, port))

    async def aclose(self, reason: str = STOPPING, *, grace_s: float = 5.0) -> None:
        self._network.unlisten(self)
        await super().aclose(reason, grace_s=grace_s)


class PatientClock:
    """Moves trio's mock clock on, but never while a task or a thread has something to do.

    The clock knows of tasks and not of threads, in which agents use their disk. So calls into
    threads wait until all tasks are blocked, and then run one at a time: to the clock, and to
    every other task, a write takes no time.
    """

    def __init__(self, clock: trio.testing.MockClock, network: MemoryNetwork) -> None:
        self._clock = clock
        self._network = network
        self._end_s = trio.current_time()
        self._threads = trio.to_thread.current_default_thread_limiter()
        self._threads.total_tokens = 1
        self._threads.acquire_on_behalf_of_nowait(self)

    async def settle(self) -> None:
        """Wait until nothing happens any more unless time passes."""
        await trio.testing.wait_all_tasks_blocked()
        while self._threads.statistics().tasks_waiting:
            self._threads.release_on_behalf_of(self)
            await self._threads.acquire_on_behalf_of(self)
            await trio.testing.wait_all_tasks_blocked()

    async def run(self, duration_s: float) -> None:
        """Let time pass."""
        self._end_s += duration_s
        await self.settle()
        while (due_s := min(self._network.next_s, self._deadline_s())) <= self._end_s:
            self._move_to(due_s)
            await self.settle()  # timers first
            if self._network.next_s <= trio.current_time():
                self._network.step()
                await self.settle()
        self._move_to(self._end_s)

    def _deadline_s(self) -> float:
        return trio.current_time() + trio.lowlevel.current_statistics().seconds_to_next_deadline

    def _move_to(self, due_s: float) -> None:
        while (left_s := due_s - trio.current_time()) > 0:  # once more if the sum was rounded down
            self._clock.jump(left_s)
