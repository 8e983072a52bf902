"""The network: wires between hosts, and everything that can go wrong on the way.

A message that is sent arrives after the wire's delay times a jitter, never before an
earlier one of the same wire and direction. Loss makes it late, as TCP does, and what
follows waits for it. A cut that is silent stalls what is sent until it ends or an end
gives up; one that is not breaks the connections. Where messages have to wait, for an
uplink, a slow reader or the end of a cut, they do so in the queue that the shipped
agent has, by class and bounded.

Knows hosts by their place and links; knows nothing of nodes or of what a message says.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, Protocol

from gossipconf.model.limits import FRAME_BYTES_MAX
from gossipconf.protocol.frames import HEADER_BYTES, FrameClass

from ..conditions import NetworkConditions
from ..world.host import Host
from ..world.schedule import Schedule
from . import dialling
from .cut import Cut
from .retransmission import WINDOW_BYTES, next_attempt_s, segments, wait_of_lost_s
from .wire import Lane, Side, Wire

WRITE_BYTES: Final = HEADER_BYTES + FRAME_BYTES_MAX
"""What the shipped link hands to its stream at once: one TLS record."""
CLOSE_FLUSH_S: Final = 1.0
"""How long a closing link may take over its last control messages, as the shipped one."""
CRASHED: Final = "the peer has crashed"
RESET: Final = "connection reset"

Delay = Callable[[Host, Host], float]
"""delay(one, other): the one-way delay between two hosts in seconds, without jitter."""


class Ends(Protocol):
    """What the network tells the hosts' shell."""

    def arrived(self, host: Host, wire: Wire, message: bytes) -> None:
        """A message has arrived."""

    def lost(self, host: Host, wire: Wire, reason: str) -> None:
        """The host's end of a wire is gone."""

    def dropped(self, host: Host, wire: Wire, frame_class: FrameClass) -> None:
        """A message found its queue full."""

    def opened(self, host: Host, wire: Wire, *, outbound: bool, address: str) -> None:
        """A connection is open."""

    def refused(self, host: Host, boot: int, address: str, reason: str) -> None:
        """A dial has failed."""


class Network:
    """Carries messages between hosts.

    conditions:       as they are now; faults replace them for a while
    lasting:          as they were at the beginning
    latency_factor:   on every delay, for the same purpose
    sent_bytes, sent_messages:  by frame class, of what was taken to be sent; bytes as in frames, before TLS
    """

    def __init__(
        self, schedule: Schedule, conditions: NetworkConditions, rng: Random, delay: Delay, ends: Ends
    ) -> None:
        self.latency_factor = 1.0
        self.sent_bytes = [0] * len(FrameClass)
        self.sent_messages = [0] * len(FrameClass)
        self.schedule = schedule
        self.ends = ends
        self._rng = rng
        self._delay = delay
        self._numbers = itertools.count(1)
        self._hosts: dict[str, Host] = {}
        self._cuts: list[Cut] = []
        self.lasting = self.conditions = conditions

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return self.schedule.now_s

    @property
    def conditions(self) -> NetworkConditions:
        """What holds now."""
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        self._conditions = conditions
        self._jitter_least = conditions.jitter[0]
        self._jitter_span = conditions.jitter[1] - conditions.jitter[0]
        self._faulty = bool(conditions.loss or conditions.drop or conditions.duplicate)
        self._byte_s = 8e-6 / conditions.bandwidth_mbit_s if conditions.bandwidth_mbit_s else 0.0

    def attach(self, host: Host) -> None:
        """Make a host known by its address."""
        self._hosts[host.address] = host

    def host_at(self, address: str) -> Host | None:
        """Whose address it is."""
        return self._hosts.get(address)

    def wires(self) -> Iterator[Wire]:
        """Every wire with at least one end, once."""
        for host in self._hosts.values():
            for wire in list(host.links.values()):
                if wire.ends[0] is host or wire.id not in wire.ends[0].links:
                    yield wire

    # -- sending ----------------------------------------------------------------------------------

    def send(self, host: Host, wire: Wire, frame_class: FrameClass, message: bytes) -> None:
        """Send a message from ``host``'s end of a wire."""
        side = 0 if wire.ends[0] is host else 1
        if (
            wire.lanes[side] is not None
            or wire.cut
            or wire.orphaned
            or self._byte_s
            or wire.ends[1 - side].read_bytes_s is not None
        ):
            if not self._send_otherwise(host, wire, side, frame_class, message):
                return
        else:
            self._depart(wire, side, message)
        self.sent_bytes[frame_class] += len(message) + HEADER_BYTES * (1 + (len(message) - 1) // FRAME_BYTES_MAX)
        self.sent_messages[frame_class] += 1

    def _send_otherwise(self, host: Host, wire: Wire, side: Side, frame_class: FrameClass, message: bytes) -> bool:
        """Send what cannot leave at once; whether it was taken."""
        if wire.cut:
            return False
        if wire.orphaned and not wire.blocked[side]:
            self._answer_orphan(wire, side)
            return True
        return self._enqueue(host, wire, side, frame_class, message)

    def _depart(self, wire: Wire, side: Side, message: bytes) -> None:
        delay_s = wire.base_s * self.latency_factor * (self._jitter_least + self._jitter_span * self._rng.random())
        if self._faulty:
            delay_s += self._wait_s(wire, len(message))
        arrival_s = wire.arrived_s[side] = max(self.schedule.now_s + delay_s, wire.arrived_s[side])
        if self._faulty:
            for _ in range(self._copies()):
                self.schedule.at(arrival_s, self._arrive, wire, wire.ends[1 - side], message)
        else:
            self.schedule.push(arrival_s, self._arrive, wire, wire.ends[1 - side], message)

    def _copies(self) -> int:
        """How often a message arrives."""
        conditions = self._conditions
        if conditions.drop and self._rng.random() < conditions.drop:
            return 0
        return 2 if conditions.duplicate and self._rng.random() < conditions.duplicate else 1

    def _wait_s(self, wire: Wire, length: int) -> float:
        """What loss costs ``length`` bytes that are sent at once."""
        return self.wait_of_lost_s(segments(length), self.timeout_s(wire.base_s * self.latency_factor))

    def wait_of_lost_s(self, packets: int, timeout_s: float) -> float:
        """How much later so many packets are there because some were lost. See `retransmission`."""
        loss = self._conditions.loss
        return wait_of_lost_s(packets, loss, timeout_s, self._rng) if loss else 0.0

    def timeout_s(self, delay_s: float) -> float:
        """How long TCP waits before it sends again what is not acknowledged: Linux's least, and the round trip."""
        return self._conditions.retransmit_ms / 1000 + 2 * delay_s

    def _arrive(self, wire: Wire, receiver: Host, message: bytes) -> None:
        if not wire.cut and wire.id in receiver.links:
            self.ends.arrived(receiver, wire, message)

    # -- waiting to be sent -----------------------------------------------------------------------

    def _enqueue(self, host: Host, wire: Wire, side: Side, frame_class: FrameClass, message: bytes) -> bool:
        lane = wire.lanes[side]
        if lane is None:
            lane = wire.lanes[side] = Lane()
        if wire.blocked[side]:
            if len(message) <= wire.window_bytes[side] and not wire.is_stuck(side):
                wire.window_bytes[side] -= len(message)
                self._depart(wire, side, message)
                return True
            if wire.stalled_s[side] is None:
                wire.stalled_s[side] = self.schedule.now_s
        if not lane.queue.put(frame_class, message, self.schedule.now_s):
            self.ends.dropped(host, wire, frame_class)
            return False
        if not lane.busy and not wire.blocked[side]:
            self._line_up(wire, side, lane)
        return True

    def _line_up(self, wire: Wire, side: Side, lane: Lane) -> None:
        """Let a lane wait for its host's uplink, behind the others."""
        host = wire.ends[side]
        lane.busy = True
        host.uplink.append((wire, side, lane))
        if not host.is_uplink_busy:
            host.is_uplink_busy = True
            self.schedule.at(host.uplink_free_s, self._pump, host, host.boot)

    def _pump(self, host: Host, boot: int) -> None:
        """Put the next frames of the next lane on its wire; all lanes of a host take turns."""
        if host.boot != boot:
            return
        if host.paused is not None:
            host.paused.append((self._pump, (host, boot)))
            return
        now_s = self.schedule.now_s
        while host.uplink:
            wire, side, lane = host.uplink.popleft()
            if not self._flows(wire, side, lane):
                self._rest(wire, side, lane)
                continue
            batch = lane.queue.take(WRITE_BYTES)
            host.uplink_free_s = sent_s = now_s + len(batch) * self._byte_s
            read_bytes_s = wire.ends[1 - side].read_bytes_s
            if read_bytes_s is not None:
                sent_s = max(sent_s, now_s + len(batch) / read_bytes_s)
            self._depart_frames(wire, side, lane, batch, sent_s)
            self.schedule.at(sent_s, self._go_on, wire, side, lane)
            self.schedule.at(host.uplink_free_s, self._pump, host, boot)
            return
        host.is_uplink_busy = False

    def _flows(self, wire: Wire, side: Side, lane: Lane) -> bool:
        """Whether a lane can send now."""
        if wire.orphaned and not wire.blocked[side]:
            self._answer_orphan(wire, side)
            return False
        is_open = lane.closing or wire.id in wire.ends[side].links
        return is_open and not wire.cut and not wire.blocked[side] and lane.queue.held_bytes() > 0

    def _go_on(self, wire: Wire, side: Side, lane: Lane) -> None:
        """Frames are on the wire, and read if the reader is slow: next ones can follow."""
        if self._flows(wire, side, lane):
            self._line_up(wire, side, lane)
        else:
            self._rest(wire, side, lane)

    def _rest(self, wire: Wire, side: Side, lane: Lane) -> None:
        """A lane has nothing to send, or cannot; an empty one is needed no more, unless there are rates."""
        lane.busy = False
        if wire.blocked[side] or lane.queue.held_bytes():
            return
        if lane.closing:
            self._finish(wire, side)
        if not self._byte_s and wire.ends[1 - side].read_bytes_s is None:
            wire.lanes[side] = None

    def _depart_frames(self, wire: Wire, side: Side, lane: Lane, batch: bytes, sent_s: float) -> None:
        jitter = self._jitter_least + self._jitter_span * self._rng.random()
        arrival_s = sent_s + wire.base_s * self.latency_factor * jitter + self._wait_s(wire, len(batch))
        arrival_s = wire.arrived_s[side] = max(arrival_s, wire.arrived_s[side])
        self.schedule.at(arrival_s, self._arrive_frames, wire, wire.ends[1 - side], lane, batch)

    def _arrive_frames(self, wire: Wire, receiver: Host, lane: Lane, batch: bytes) -> None:
        for _, message in lane.decoder.feed(batch):
            for _ in range(self._copies()):
                self._arrive(wire, receiver, message)

    # -- opening and closing ----------------------------------------------------------------------

    def dial(self, host: Host, address: str) -> None:
        """Open a connection: `opened` at both ends or `refused` follows. See `dialling`."""
        dialling.dial(self, host, address)

    def rtt_s(self, host: Host, target: Host) -> float:
        """The round trip between two hosts, without jitter."""
        return 2 * self._delay(host, target) * self.latency_factor

    def admits(self, host: Host) -> bool:
        """Take one connection out of the token bucket of the shipped transport, if there is one."""
        conditions, now_s = self._conditions, self.schedule.now_s
        host.tokens = min(conditions.accepts_burst, host.tokens + (now_s - host.tokens_s) * conditions.accepts_per_s)
        host.tokens_s = now_s
        if host.tokens < 1:
            host.refused_dials += 1
            return False
        host.tokens -= 1
        if host.admitted_s is not None:
            host.admitted_s.append(now_s)
        return True

    def connect(self, host: Host, target: Host) -> Wire:
        """An open connection, now; the accepting end learns of it half a round trip later."""
        base_s = self._delay(host, target)
        wire = Wire(next(self._numbers), (host, target), (host.boot, target.boot), base_s, host.zone != target.zone)
        host.links[wire.id] = target.links[wire.id] = wire
        wire.arrived_s[0] = self.schedule.now_s + base_s * self.latency_factor
        self.schedule.at(wire.arrived_s[0], self._accept, wire, host, target)  # before anything that is sent
        wire.opened[0] = True
        self.ends.opened(host, wire, outbound=True, address=target.address)
        if self._conditions.resets_per_link_per_h:
            lasts_s = self._rng.expovariate(self._conditions.resets_per_link_per_h / 3600)
            self.schedule.later(lasts_s, self.reset, wire, RESET)
        return wire

    def _accept(self, wire: Wire, host: Host, target: Host) -> None:
        if wire.id in target.links and target.boot == wire.boots[1]:
            wire.opened[1] = True
            self.ends.opened(target, wire, outbound=False, address=f"{host.name}:0")

    def close(self, host: Host, wire: Wire) -> None:
        """``host`` closes. Of what waits only control messages still go out; the other end learns of it after them."""
        host.links.pop(wire.id, None)
        side = wire.side_of(host)
        lane = wire.lanes[side]
        if lane is not None:
            lane.queue.drop_all_but(FrameClass.CONTROL)
            lane.closing = True
        if lane is None or not lane.busy or wire.is_stuck(side):
            self._finish(wire, side)
        else:
            self.schedule.later(CLOSE_FLUSH_S, self._finish, wire, side)

    def _finish(self, wire: Wire, side: Side) -> None:
        """The end of what a side has sent is on its way, or is lost with it."""
        if wire.is_stuck(side):
            wire.orphaned = True
        elif not wire.cut:
            ends_s = self.schedule.now_s + wire.base_s * self.latency_factor
            ends_s = max(ends_s, wire.arrived_s[side])
            self.schedule.at(ends_s, self._drop_end, wire.ends[1 - side], wire, "closed by the peer")

    def reset(self, wire: Wire, reason: str) -> None:
        """Break a connection: what is under way is lost, and both ends learn of it soon."""
        if wire.cut:
            return
        wire.cut = True
        for host in wire.ends:
            self.schedule.later(self._conditions.notice_ms / 1000, self._drop_end, host, wire, reason)

    def vanish(self, host: Host, *, silent: bool) -> None:
        """``host`` is gone. Its machine answers for it (``silent`` false), or nobody does: then peers must notice."""
        host.uplink.clear()
        host.is_uplink_busy = False
        for wire in list(host.links.values()):
            del host.links[wire.id]
            if silent or wire.is_stuck(wire.side_of(host)):
                wire.orphaned = True
                host.orphans.append(wire)
            else:
                self.reset(wire, CRASHED)

    def appear(self, host: Host) -> None:
        """A process has begun on ``host``: its admission bucket is full, and its machine is there to be asked."""
        host.tokens, host.tokens_s = self._conditions.accepts_burst, self.schedule.now_s
        orphans, host.orphans = host.orphans, []
        for wire in orphans:
            side = 1 - wire.side_of(host)
            if not wire.blocked[side] and wire.stalled_s[side] is not None:
                self.schedule.at(self._next_attempt_s(wire, side), self._answer_orphan, wire, side)

    def _answer_orphan(self, wire: Wire, side: Side) -> None:
        """One end sends, and the other machine knows nothing of this connection: it says so, if it is there."""
        host, other = wire.ends[side], wire.ends[1 - side]
        if not other.unreachable and not self.blocked(other, host):
            rtt_s = 2 * wire.base_s * self.latency_factor
            self.schedule.later(rtt_s, self._drop_end, host, wire, RESET)
        elif wire.stalled_s[side] is None:
            wire.stalled_s[side] = self.schedule.now_s

    def _drop_end(self, host: Host, wire: Wire, reason: str) -> None:
        """A process learns that a connection is gone, after all that has arrived there before."""
        if host.paused is not None:
            host.paused.append((self._drop_end, (host, wire, reason)))
        elif host.processor_free_s > self.schedule.now_s:
            self.schedule.at(host.processor_free_s, self._drop_end, host, wire, reason)
        elif host.links.pop(wire.id, None) is not None and wire.opened[wire.side_of(host)]:
            self.ends.lost(host, wire, reason)

    # -- cuts -------------------------------------------------------------------------------------

    def blocked(self, sender: Host, receiver: Host) -> bool:
        """Whether packets from ``sender`` to ``receiver`` are lost now."""
        return any(cut.blocks(sender, receiver) for cut in self._cuts)

    def reachable(self, one: Host, other: Host) -> bool:
        """Whether a connection between two hosts can be made now, if both run."""
        return not (one.unreachable or other.unreachable or any(cut.parts(one, other) for cut in self._cuts))

    def is_silent_between(self, host: Host, target: Host) -> bool:
        """Whether a dial gets no answer at all."""
        return target.unreachable or any(cut.silent and cut.parts(host, target) for cut in self._cuts)

    def cut(self, cut: Cut) -> None:
        """Let ``cut`` begin."""
        self._cuts.append(cut)
        for wire in self.wires():
            if cut.parts(*wire.ends):
                if cut.silent:
                    self._block(wire)
                else:
                    self.reset(wire, "the network is partitioned")

    def mend(self, cut: Cut) -> None:
        """Let ``cut`` end."""
        self._cuts.remove(cut)
        for wire in self.wires():
            if any(wire.blocked):
                self._block(wire)

    def mend_all(self) -> None:
        """Everybody reaches everybody."""
        for cut in list(self._cuts):
            self.mend(cut)

    def _block(self, wire: Wire) -> None:
        """Bring a wire in line with the cuts: a direction stalls if its packets are lost, or what acknowledges them."""
        for side, sender in enumerate(wire.ends):
            receiver = wire.ends[1 - side]
            is_lost, is_unheard = self.blocked(sender, receiver), self.blocked(receiver, sender)
            if is_lost or is_unheard:
                self._stall(wire, side, 0 if is_lost else WINDOW_BYTES)
            elif not wire.blocked[side]:
                continue
            elif wire.stalled_s[side] is None:
                self._resume(wire, side)
            else:
                self.schedule.at(self._next_attempt_s(wire, side), self._resume, wire, side)

    def _stall(self, wire: Wire, side: Side, window_bytes: int) -> None:
        if not wire.blocked[side]:
            wire.blocked[side] = True
            wire.window_bytes[side] = window_bytes
        wire.window_bytes[side] = min(window_bytes, wire.window_bytes[side])
        lane = wire.lanes[side] = wire.lanes[side] or Lane()
        if wire.stalled_s[side] is None and lane.queue.held_bytes():
            wire.stalled_s[side] = self.schedule.now_s

    def _next_attempt_s(self, wire: Wire, side: Side) -> float:
        """When TCP sends again what a side has sent in vain."""
        since_s = wire.stalled_s[side]
        assert since_s is not None
        return next_attempt_s(since_s, self.timeout_s(wire.base_s * self.latency_factor), self.schedule.now_s)

    def _resume(self, wire: Wire, side: Side) -> None:
        """TCP has tried again, and comes through."""
        if wire.cut or not wire.blocked[side] or any(cut.parts(*wire.ends) for cut in self._cuts):
            return
        wire.blocked[side] = False
        lane = wire.lanes[side]
        if wire.orphaned:
            for one, host in enumerate(wire.ends):
                if wire.id in host.links:
                    self._answer_orphan(wire, one)
            return
        wire.stalled_s[side] = None
        if lane is not None and not lane.busy:
            self._go_on(wire, side, lane)
