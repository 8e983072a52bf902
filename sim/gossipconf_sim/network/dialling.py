"""Dialling: a round trip for TCP and one for TLS, who answers, who admits, and when a dial is given up.

Each dial ends once: with an open connection, or refused. What the other machine, the
network and the other process are like is looked at when each of the two answers is due.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..world.host import Host
from .retransmission import TIMEOUT_OF_FIRST_S

if TYPE_CHECKING:
    from .network import Network

NO_ANSWER: Final = "no answer within the limit"
TCP_PACKETS: Final = 2
"""SYN, and SYN-ACK."""
TLS_PACKETS: Final = 4
"""The client's hello, and the server's flight with its certificate in three packets."""


@dataclass(slots=True, eq=False)
class Dial:
    """A dial under way.

    target_boot:  start of the target that has admitted it
    over:         it has been told how it ended
    """

    host: Host
    boot: int
    address: str
    target: Host
    begun_s: float
    target_boot: int | None = None
    over: bool = False


def dial(network: Network, host: Host, address: str) -> None:
    """Open a connection: `opened` at both ends or `refused` follows."""
    target = network.host_at(address)
    if target is host:
        network.schedule.later(0.0, network.ends.refused, host, host.boot, address, "this is the agent itself")
        return
    if target is None:
        # An address that nobody has: in a routed network nothing comes back from there.
        network.schedule.later(
            network.conditions.dial_timeout_s, network.ends.refused, host, host.boot, address, NO_ANSWER
        )
        return
    one = Dial(host, host.boot, address, target, network.now_s)
    _answer_after(network, one, network.rtt_s(host, target), TCP_PACKETS, TIMEOUT_OF_FIRST_S, _reached)


def _answer_after(
    network: Network,
    one: Dial,
    rtt_s: float,
    packets: int,
    timeout_s: float,
    then: Callable[[Network, Dial], None],
) -> None:
    """Let ``then`` look at what the answer is when it is due, unless the dial has been given up by then."""
    due_s = network.now_s + rtt_s + network.wait_of_lost_s(packets, timeout_s)
    if due_s > one.begun_s + network.conditions.dial_timeout_s:
        _give_up_in_time(network, one)
    else:
        network.schedule.at(due_s, then, network, one)


def _give_up_in_time(network: Network, one: Dial) -> None:
    network.schedule.at(one.begun_s + network.conditions.dial_timeout_s, _end, network, one, NO_ANSWER)


def _end(network: Network, one: Dial, reason: str) -> None:
    """The dial has failed."""
    if not one.over:
        one.over = True
        network.ends.refused(one.host, one.boot, one.address, reason)


def _reached(network: Network, one: Dial) -> None:
    """TCP has an answer, or will never have one."""
    if _fails(network, one) or _waits(network, one, _reached):
        return
    if not network.admits(one.target):
        _end(network, one, "the peer admits no more connections now")
        return
    one.target_boot = one.target.boot
    rtt_s = network.rtt_s(one.host, one.target)
    _answer_after(network, one, rtt_s, TLS_PACKETS, network.timeout_s(rtt_s / 2), _secured)


def _secured(network: Network, one: Dial) -> None:
    """TLS is done on the dialling side."""
    if not _fails(network, one) and not _waits(network, one, _secured):
        one.over = True
        network.connect(one.host, one.target)


def _fails(network: Network, one: Dial) -> bool:
    """Whether the dial is over, or is now, or will be when time is up."""
    host, target = one.host, one.target
    if one.over or host.node is None or host.boot != one.boot:
        return True
    if network.is_silent_between(host, target):
        _give_up_in_time(network, one)
    elif not network.reachable(host, target):
        _end(network, one, "unreachable")
    elif target.node is None or one.target_boot not in {None, target.boot}:
        _end(network, one, "connection refused")
    else:
        return False
    return True


def _waits(network: Network, one: Dial, then: Callable[[Network, Dial], None]) -> bool:
    """Whether the other process is stopped: its machine accepts, and nobody answers until it goes on."""
    paused = one.target.paused
    if paused is None:
        return False
    paused.append((then, (network, one)))
    _give_up_in_time(network, one)
    return True
