"""What the tests of the protocol machines share: one node among scripted peers, and a world with a tapped wire.

`Bench` drives a single node by hand: the test is every peer of it, its disk and its
clock. `Tapped` is a `World` that notes every message and, where links matter, makes
exactly those that the test asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, put
from gossipconf.protocol.beacons import FRESHNESS_LIMITS, FreshnessLimits
from gossipconf.protocol.decoders import Decoders
from gossipconf.protocol.environment import Connect, Disconnect, Emit, Now, Output, Persist, Send
from gossipconf.protocol.link import Identity, Link
from gossipconf.protocol.messages import Hello, Message, Ping, Pong, decode_message, encode_message
from gossipconf.protocol.node import Node, Restored
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.signing import Reservation
from gossipconf.trust.statement import Notary
from gossipconf_sim.conditions import HostConditions, NetworkConditions
from gossipconf_sim.world.host import Disk, Host
from gossipconf_sim.world.twin import Twin
from gossipconf_sim.world.world import World
from tests.strategies import NOW_MS, ROLES, ROOTS, cluster, keys, signed, signer

Kind = TypeVar("Kind")


def change(value: str = "1", key: str = "a", *, seq: int = 1, by: str = "alice", **fields: Any) -> Change:
    """A change of ``cluster()`` that policy 1 allows."""
    return signed([put(key, value.encode())], by, seq=seq, **fields)


def second_policy(roles: Sequence[Role] = ROLES) -> Change:
    """Policy 2 of ``cluster()``: as policy 1, and `zoe` writes everything too."""
    chain = cluster().chain()
    head = chain.head
    policy = Policy(2, head.roots, head.threshold, (*roles, Role("zoo", keys("zoe"), ("",))))
    roots = [signer(name) for name in ROOTS[:2]]
    return sign_policy(chain, policy, roots, now_ms=NOW_MS, reservation=Reservation(b"policies", 2))


class Bench:
    """A node whose whole surroundings are the test."""

    def __init__(
        self,
        name: str = "m",
        *,
        seeds: Iterable[str] = (),
        seed_names: Iterable[str] = (),
        restored: Restored | None = None,
        of: Cluster | None = None,
        twin: str | None = None,
        seed: int = 0,
        address: str | None = None,
        zone: str = "",
        decoders: Decoders | None = None,
        freshness: FreshnessLimits = FRESHNESS_LIMITS,
        notary: Notary | None = None,
    ) -> None:
        self.cluster = of or cluster()
        self.now_s = 0.0
        self.disk = Disk()
        self.outputs: list[Output] = []
        self._last_link = 0
        self._written: dict[int, None] = {}
        self.node = Node(
            Identity(name, f"{name}:1" if address is None else address, zone),
            PolicyChain(self.cluster.genesis),
            rng=Random(seed),
            seeds=seeds,
            seed_names=seed_names,
            policies=self.cluster.policies,
            restored=restored,
            decoders=decoders,
            freshness=freshness,
            notary=notary,
        )
        self.node.start(self.now())
        self.write()

    def now(self) -> Now:
        return Now(self.now_s, NOW_MS + int(self.now_s * 1000))

    # -- outputs ----------------------------------------------------------------------------------

    def collect(self) -> list[Output]:
        """Note what the node has put out since the last call, and return that."""
        fresh = self.node.take_outputs()
        self.outputs += fresh
        return fresh

    def write(self, error: str | None = None) -> list[Persist]:
        """Carry out every open write, and those that follow from it, well or with ``error``."""
        done: list[Persist] = []
        while True:
            self.collect()
            persists = [output for output in self.outputs if isinstance(output, Persist)]
            writes = [persist for persist in persists if persist.token not in self._written]
            if not writes:
                return done
            self._written.update(dict.fromkeys(persist.token for persist in writes))
            for persist in writes:
                if error is None:
                    self.disk.write(persist.ops)
                self.node.persisted(self.now(), persist.token, error)
                done.append(persist)

    def drain(self, kind: type[Kind]) -> list[Kind]:
        """The outputs of one kind so far, which are forgotten then."""
        self.collect()
        found = [output for output in self.outputs if isinstance(output, kind)]
        self.outputs = [output for output in self.outputs if not isinstance(output, kind)]
        return found

    def events(self, kind: type[Kind]) -> list[Kind]:
        """The events of one kind so far; they stay."""
        self.collect()
        return [one.event for one in self.outputs if isinstance(one, Emit) and isinstance(one.event, kind)]

    def said(self, link: int, kind: type[Kind] | None = None) -> list[Any]:
        """Messages sent on ``link`` and not asked for before, all or of one kind; the others stay."""
        self.collect()
        found: list[Any] = []
        rest: list[Output] = []
        for output in self.outputs:
            message = decode_message(output.message) if isinstance(output, Send) and output.link == link else None
            if message is not None and (kind is None or isinstance(message, kind)):
                found.append(message)
            else:
                rest.append(output)
        self.outputs = rest
        return found

    def closed(self, link: int) -> str | None:
        """Why the node has closed ``link``, or None."""
        self.collect()
        reasons = [one.reason for one in self.outputs if isinstance(one, Disconnect) and one.link == link]
        return reasons[0] if reasons else None

    def dialled(self) -> list[str]:
        """Addresses dialled since the last call."""
        return [output.address for output in self.drain(Connect)]

    # -- inputs -----------------------------------------------------------------------------------

    def connect(
        self, peer: str, *, outbound: bool = False, address: str = "", zone: str = "", hello: bool = True
    ) -> int:
        """Open a link to a scripted peer that says hello at once."""
        self._last_link += 1
        link = self._last_link
        address = address or f"{peer}:1"
        self.node.connected(self.now(), link, peer, outbound=outbound, address=address)
        if hello:
            self.tell(link, self.hello(peer, zone=zone))
        self.collect()
        return link

    def answer(self, link: int, after_s: float, times: int = 1) -> None:
        """Let the peer answer so many pings, the first of which is out, each after ``after_s``."""
        for _ in range(times):
            self.wait(0.0)
            (ping,) = self.said(link, Ping)
            self.wait(after_s)
            self.tell(link, Pong(ping.token))

    def hello(self, peer: str, **fields: Any) -> Hello:
        known = {
            "version_min": 1,
            "version_max": 1,
            "capabilities": 0,
            "cluster": self.cluster.genesis.cluster_id,
            "node_id": peer,
            "boot": peer.encode().ljust(8, b"_")[:8],
            "address": f"{peer}:1",
            "zone": "",
            "software": "",
        }
        return Hello(**(known | fields))

    def tell(self, link: int, *messages: Message) -> None:
        """Let messages arrive on ``link``."""
        for message in messages:
            self.node.received(self.now(), link, encode_message(message))

    def lose(self, link: int, reason: str = "connection reset") -> None:
        self.node.disconnected(self.now(), link, reason)

    def wait(self, duration_s: float) -> None:
        """Let time pass, timer by timer; writes end at once."""
        end_s = self.now_s + duration_s
        while (due_s := self.node.next_timer_s) is not None and due_s <= end_s:
            self.now_s = max(self.now_s, due_s)
            self.node.timer(self.now())
        self.now_s = end_s

    def links(self) -> list[Link]:
        return self.node.links()


@dataclass(frozen=True, slots=True)
class Sent:
    """One message on its way between two hosts."""

    at_s: float
    sender: str
    receiver: str
    bytes: int
    message: Message


class Tapped(World):
    """A world that notes every message. With ``dials=False`` no dial succeeds: links are those made by `wire`, and
    everybody knows all addresses if ``acquainted``."""

    def __init__(
        self,
        *names: str,
        seed: int = 0,
        dials: bool = True,
        acquainted: bool = False,
        network: NetworkConditions | None = None,
        hosts: HostConditions | None = None,
        of: Cluster | None = None,
        twin: str | None = None,
    ) -> None:
        super().__init__(of or cluster(), seed, network=network, hosts=hosts, twin=twin)
        self.sent: list[Sent] = []
        self.dials = dials
        for name in names:
            others = [other for other in names if other != name]
            self.add(name, others[:3] if dials else others if acquainted else (), start=False)
        for name in names:
            self.start(name)

    def node(self, name: str) -> Node:
        node = self.hosts[name].node
        assert node is not None
        return node

    def twins_of(self, name: str) -> Twin:
        """The two nodes of the host that was given two."""
        node: object = self.node(name)
        assert isinstance(node, Twin)
        return node

    def wire(self, one: str, other: str) -> None:
        """Connect two hosts now."""
        self.link(one, other)

    def since(self, at_s: float, *kinds: type[Any]) -> list[Sent]:
        """What was sent from ``at_s`` on, all or of some kinds."""
        return [one for one in self.sent if one.at_s >= at_s and (not kinds or isinstance(one.message, kinds))]

    def events_of(self, name: str, kind: type[Kind]) -> list[Kind]:
        return [event for _, event in self.hosts[name].events if isinstance(event, kind)]

    def publish_value(self, name: str, key: str, value: str, by: str = "alice") -> Change:
        """Publish one entry, without waiting for the disk."""
        entries: list[Entry] = [put(key, value.encode())]
        return self.publish(name, signer(by), entries)[1]

    def _send(self, host: Host, send: Send) -> None:
        wire = host.links.get(send.link)
        if wire is not None and not wire.cut:
            message = decode_message(send.message)
            assert message is not None
            self.sent.append(Sent(self.now_s, host.name, wire.other(host).name, len(send.message), message))
        super()._send(host, send)

    def _connect(self, host: Host, connect: Connect) -> None:
        if self.dials:
            super()._connect(host, connect)
        else:
            self.schedule.later(0.01, self.refused, host, host.boot, connect.address, "only links made by hand")
