"""A peer with a valid certificate that does what no correct peer does.

After each attack the agent still serves reads, syncs with an honest peer both ways, and
its log has neither a traceback nor an error. (`run` raising would fail the nursery.)
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from gossipconf.model.change import Change
from gossipconf.model.encoding import encode
from gossipconf.model.entry import put
from gossipconf.model.limits import (
    ADDRESS_BOOK_MAX,
    ADDRESS_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRONTIER_WRITERS_MAX,
    SEQ_MAX,
    SYNC_BUDGET_BYTES,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
)
from gossipconf.protocol.broadcast import CATCH_UP_S, WAITING_BYTES_MAX
from gossipconf.protocol.fields import WIDTH_MIN
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.frontier import START_BYTES
from gossipconf.protocol.keepalive import HELLO_LIMIT_S
from gossipconf.protocol.messages import (
    ADDRESSES_MAX,
    BATCH_CHANGES_MAX,
    BUNDLED_MAX,
    GRAFT_ZONES_MAX,
    PRESENCES_MAX,
    TEXT_BYTES_MAX,
    WALK_NODES_MAX,
    WANTED_ITEMS_MAX,
    Addresses,
    Batch,
    Check,
    Checked,
    Given,
    Goodbye,
    Hello,
    Hinted,
    Hints,
    Message,
    Ping,
    Pong,
    Push,
    Root,
    Roster,
    Told,
    Walk,
    Walked,
    Want,
    WantPolicies,
    encode_message,
)
from gossipconf.protocol.overlay import FAULTS_MAX
from gossipconf.protocol.roster import UNCONFIRMED_MAX
from gossipconf.protocol.sighting import Presence, Sighting
from gossipconf.protocol.sync import REPLY_LIMIT_S, SESSION_LIMIT_S
from gossipconf.protocol.tuning import LAN
from gossipconf.runtime.settings import AgentSettings
from gossipconf.runtime.transport import TransportLimits
from gossipconf.store.hash_tree import FANOUT

from .cluster import (
    ADMIN,
    NOW_MS,
    STRANGER,
    UNKNOWN_CLUSTER,
    Fleet,
    RawPeer,
    Site,
    WatchedAgent,
    fleet_of,
    no_complaints,
    prepare,
    publish,
    raw_peer,
)
from .test_control import signed

LED, LEADER = "aaa", "zzz"
"""Names of attackers. The larger name leads a sync: the agent "mmm" leads LED and answers LEADER."""


NOWHERE = "127.0.0.1:{}"
"""Where the agent's neighbours say that they are, so that they are linked to the agent alone: what reaches one from
another has passed the agent."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("hostile"))


@dataclasses.dataclass
class Siege:
    """The agent under attack and its honest neighbour."""

    site: Site
    fleet: Fleet
    agent: WatchedAgent
    honest: WatchedAgent

    @asynccontextmanager
    async def attacker(self, name: str = LED, *, greeted: bool = True) -> AsyncIterator[RawPeer]:
        async with raw_peer(self.site, name, self.agent) as peer:
            if greeted:
                await peer.greet()
            yield peer

    async def gone(self, name: str) -> None:
        """Wait until the agent has forgotten its link to ``name``."""
        await self.fleet.until(lambda: all(link.node_id != name for link in self.agent.node.overlay._links.values()))

    async def proves_well(self) -> None:
        """Reads, and sync with the honest peer, both ways."""
        await self.fleet.linked(self.agent, self.honest)
        await publish(self.honest, "from/honest", b"1")
        await publish(self.agent, "from/agent", b"2")
        await self.fleet.settled(self.agent, self.honest)
        assert self.agent.values() == {"shop/price": b"1", "from/honest": b"1", "from/agent": b"2"}


@asynccontextmanager
async def siege_of(site: Site, data: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Siege]:
    with no_complaints(caplog):
        async with fleet_of(site, data) as fleet:
            agent = await fleet.start("mmm")
            honest = await fleet.start("honest", agent, advertise=NOWHERE.format(1))
            await publish(agent, "shop/price", b"1")
            await fleet.linked(agent, honest)
            await fleet.settled(agent, honest)
            siege = Siege(site, fleet, agent, honest)
            yield siege
            await siege.proves_well()


def presence(name: str, **fields: Any) -> Presence:
    return dataclasses.replace(Presence(name, bytes(8), 1, 1, "", "", bytes(16), 1, 0, False), **fields)


def forged(agent: WatchedAgent, number: int, size: int = 10) -> Change:
    """A change in the admin's name that the admin has not signed."""
    change = prepare(agent, put(f"forged/{number}", b"x" * size))
    return dataclasses.replace(change, signature=random.Random(number).randbytes(64))


# -- bytes ----------------------------------------------------------------------------------------


NO_FRAMES = {
    "random": random.Random(1).randbytes(100_000),
    "http": b"GET / HTTP/1.1\r\nHost: config\r\n\r\n",
    "4 GiB claimed": b"\xff\xff\xff\xff" + bytes(100),
    "all that the field can say": b"\x00\xff\xff\xff" + bytes(100),
    "one byte too many": (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(FRAME_BYTES_MAX + 1),
    "an empty frame": bytes(4),
}


@pytest.mark.parametrize("greeted", [False, True])
async def test_bytes_that_are_no_frames(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, greeted: bool
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        for data in NO_FRAMES.values():
            async with siege.attacker(greeted=greeted) as peer:
                await peer.send_bytes(data)
                await peer.end()
                await siege.gone(LED)


MALFORMED = [
    b"\xc1",
    b"\x91" * 10_000 + b"\xc0",  # nested ten thousand deep
    encode([]),
    encode([None]),
    encode([-1]),
    encode(["1"]),
    encode([True]),
    encode([2]),
    encode([2, "token"]),
    encode([2, 2**63]),
    encode([4, ["x" * (ADDRESS_BYTES_MAX + 1)], [0]]),
    encode([4, ["x"] * (ADDRESSES_MAX + 1), []]),
    encode([4, ["x:1"], [1 << 32]]),
    encode([6, [[]], True]),
    encode([10, 1]),
    encode([10, 256, 0, 0, b"x"]),
    encode([11, bytes(7)]),
    encode([12, b""]),
    encode([13, [0] * (GRAFT_ZONES_MAX + 1)]),
    encode([18, [b""] * (BUNDLED_MAX + 1)]),
    encode([18, [encode([2, "token"])]]),
    encode([20, bytes(15), 0, False]),
    encode([23, [b"x"] * (BATCH_CHANGES_MAX + 1)]),
    encode([26, 1, 4, 1, [[[16], bytes(4)]]]),
    encode([26, 1, 4, 1, [[[0] * 65, bytes(4)]]]),
    encode([26, 1, 3, 1, []]),
    encode([26, 1, 4, 3, []]),
    encode([27, 1, [[[], 3, bytes(16)]]]),
    encode([28, 1, [bytes(4)] * (WANTED_ITEMS_MAX + 1), 0]),
    encode([28, 1, [bytes(3)], 0]),
    encode([28, 1, [], SYNC_BUDGET_BYTES + 1]),
    b"\x81\x01\x02",
    b"\xcb" + bytes(8),
    b"\xc7\x01\x05\x00",
    encode([2, 1]) + b"\0",
]


AT_ONCE = TransportLimits().accepts_burst - 2
"""More attackers in a row might be turned away at the door, by the limit that protects seeds."""


@pytest.mark.parametrize("first", range(0, len(MALFORMED), AT_ONCE))
async def test_malformed_messages(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        for payload in MALFORMED[first : first + AT_ONCE]:
            async with siege.attacker() as peer:
                await peer.send_payload(FrameClass.CONTROL, payload)
                assert (await peer.end()).startswith("malformed message"), payload
                await siege.gone(LED)


async def test_unknown_types_and_further_fields_are_skipped(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker(greeted=False) as peer:
        hello = encode_message(peer.hello(version_max=9, capabilities=SEQ_MAX))
        assert hello[0] == 0x90 | 10
        await peer.send_payload(FrameClass.CONTROL, b"\x9c" + hello[1:] + encode("newer") + encode([1, [2]]))
        for number in (0, 99, SEQ_MAX):
            await peer.send_payload(FrameClass.SYNC, encode([number, "of a newer version", [[b""]]]))
        await peer.send_payload(FrameClass.CONTROL, encode([2, 4711, "further", [1]]))
        assert await peer.expect(Pong, lambda pong: pong.token == 4711)
        await siege.fleet.until(lambda: LED in {link.node_id for link in siege.agent.node.links()})


async def test_a_connection_cut_in_the_middle_of_a_message(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        for _ in range(5):
            async with siege.attacker() as peer:
                await peer.send_bytes((1 << 31 | 100).to_bytes(4, "big") + bytes(60))
            await siege.gone(LED)


# -- hello ----------------------------------------------------------------------------------------


async def test_a_message_before_hello(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    early = [
        Ping(1),
        Root(bytes(16), 1),
        Push(1, 0, 0, b"x"),
        Roster(()),
        Hints(1, bytes(16), 1, (b"", ()), True, 9),
        Goodbye(0, "x"),
    ]
    async with siege_of(site, tmp_path, caplog) as siege:
        for message in early:
            async with siege.attacker(greeted=False) as peer:
                await peer.send(message)
                assert await peer.end() == f"{type(message).__name__} before hello"
                await siege.gone(LED)


WRONG_HELLOS: list[tuple[dict[str, Any], str]] = [
    ({"cluster": UNKNOWN_CLUSTER}, "from cluster 00000000"),
    ({"node_id": "honest"}, "under the certificate of 'aaa'"),
    ({"node_id": "mmm"}, "under the certificate of 'aaa'"),
    ({"node_id": ""}, "malformed message"),
    ({"version_min": 2, "version_max": 9}, "peer speaks protocol 2 to 9"),
    ({"version_min": 0, "version_max": 0}, "peer speaks protocol 0 to 0"),
    ({"zone": "z" * (TEXT_BYTES_MAX + 1)}, "malformed message"),
    ({"cluster": b""}, "malformed message"),
]


async def test_a_wrong_hello(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        for fields, reason in WRONG_HELLOS:
            async with siege.attacker(greeted=False) as peer:
                await peer.send(peer.hello(**fields))
                assert reason in await peer.end()
                await siege.gone(LED)


async def test_a_second_hello(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        await peer.send(peer.hello(address="127.0.0.1:1"))
        assert await peer.end() == "a second hello"
        await siege.gone(LED)


async def test_a_hello_with_garbage_in_its_texts(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        for fields in ({"address": "\x00\n:1"}, {"zone": "\x1b[2J"}, {"software": "\x9b31m"}):
            async with siege.attacker(greeted=False) as peer:
                await peer.send(peer.hello(**fields))
                assert "malformed message" in await peer.end()
                await siege.gone(LED)
        async with siege.attacker(greeted=False) as peer:
            await peer.send(peer.hello(address="\u202e:99999", zone="\u2028", software="%s%n{}"))
            await peer.expect(Hello)
            await siege.fleet.until(lambda: LED in {link.node_id for link in siege.agent.node.links()})


async def test_many_links_of_one_name_leave_one(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as first, siege.attacker() as second:
        assert "replaced" in await first.end()
        await second.send(Ping(5))
        assert await second.expect(Pong, lambda pong: pong.token == 5)
        assert [link.node_id for link in siege.agent.node.links()].count(LED) == 1


async def test_a_peer_that_says_nothing_is_closed(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker(greeted=False) as peer:
        await peer.expect(Hello)
        mock_clock.jump(HELLO_LIMIT_S + 1)
        await peer.end()
        await siege.gone(LED)


async def test_a_peer_that_falls_silent_is_closed(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        await peer.expect(Ping)
        await siege.fleet.until(lambda: LED in {link.node_id for link in siege.agent.node.links()})
        mock_clock.jump(LAN.keepalive_s * LAN.silences_max + 2)
        await peer.end()
        await siege.gone(LED)


# -- changes --------------------------------------------------------------------------------------


def in_batches(changes: list[bytes]) -> list[Message]:
    return [Batch((change,)) for change in changes]


def in_one_batch(changes: list[bytes]) -> list[Message]:
    return [Batch(tuple(changes))]


def pushed(changes: list[bytes]) -> list[Message]:
    return [Push(1, 0, 0, change) for change in changes]


@pytest.mark.parametrize("packing", [in_batches, in_one_batch, pushed])
async def test_invalid_signatures_close_the_link_and_store_nothing(
    site: Site,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    packing: Callable[[list[bytes]], list[Message]],
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        before = siege.agent.node.root
        changes = [forged(siege.agent, number).encode() for number in range(3 * FAULTS_MAX)]
        await peer.send(*packing(changes))
        await peer.end()
        await siege.gone(LED)
        assert siege.agent.node.root == before
        refused = [record for record in caplog.records if "refused a change" in record.getMessage()]
        assert len(refused) == FAULTS_MAX  # nothing is verified for a peer that has had its chances


async def test_every_kind_of_invalid_change_is_a_fault(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker(LEADER) as peer:
        agent = siege.agent
        valid = prepare(agent, put("a", b"1"))
        before = agent.node.root
        bad = [
            b"",
            b"garbage",
            b"\x91" * 5_000,
            valid.encode()[:-1],
            signed(site, put("a", b"1"), signer=STRANGER).encode(),
            signed(site, put("_nodes/a", b"1")).encode(),
            signed(site, put("a", b"1"), cluster=UNKNOWN_CLUSTER).encode(),
        ]
        assert len(bad) == FAULTS_MAX - 1
        for change in bad:
            await peer.send(Batch((change,)))
        await peer.send(Ping(77))
        await peer.expect(Pong, lambda pong: pong.token == 77)  # still linked
        assert agent.node.root == before
        await peer.send(Push(1, 0, 0, forged(agent, 1).encode()))
        await peer.end()
        await siege.gone(LEADER)
        assert agent.node.root == before


async def test_a_part_is_never_pushed(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        part = prepare(siege.agent, put("a", b"1"), put("b", b"1")).restrict((0,))
        await peer.send(Push(1, 0, 0, part.encode()))
        assert "part of a change" in await peer.end()
        assert siege.agent.value("a") is None


async def test_changes_of_unknown_policies_fill_no_memory(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        async with siege.attacker() as peer:
            before = siege.agent.node.root
            for number in range(WAITING_BYTES_MAX // VALUE_BYTES_MAX + 4):
                value = number.to_bytes(2, "big") * (VALUE_BYTES_MAX // 2)
                unknown = signed(site, put("a", value), policy=1_000 + number, signer=STRANGER)
                await peer.send(Push(1, 0, 0, unknown.encode()))
                if not number:
                    await peer.expect(WantPolicies)  # once
            await peer.send(Ping(71))
            await peer.expect(Pong, lambda pong: pong.token == 71)
            waiting = siege.agent.node.broadcast._waiting
            assert 0 < sum(len(push.change) for _, push in waiting.values()) <= WAITING_BYTES_MAX
            assert siege.agent.node.root == before
        await siege.gone(LED)
        assert not siege.agent.node.broadcast._waiting


# -- sync -----------------------------------------------------------------------------------------


async def led(peer: RawPeer) -> Hints:
    """Make the agent lead a sync with ``peer``; its first question."""
    await peer.send(Root(b"another root 16b", 1))
    return await peer.expect(Hints)


async def walked(peer: RawPeer) -> Walk:
    """Make the agent walk down the tree of ``peer``; its first question about it."""
    hints = await led(peer)
    await peer.send(Hinted(hints.request, b"another root 16b", 1, (), False))
    return await peer.expect(Walk)


async def test_tree_nodes_that_were_not_asked_for(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege:
        async with siege.attacker() as peer:
            walk = await walked(peer)
            await peer.send(Walked(walk.request, (Told((1, 2, 3), 0, b""),)))
            assert "not asked for" in await peer.end()
        async with siege.attacker() as peer:
            walk = await walked(peer)
            twice = Told((), 1, bytes(FANOUT * WIDTH_MIN))
            await peer.send(Walked(walk.request, (twice, twice)))
            assert "told already" in await peer.end()


async def test_answers_to_other_requests_are_skipped(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        await peer.send(Hinted(1, bytes(16), 1, (), True), Given(5, bytes(16)), Walked(9, ()), Checked(2, bytes(16), 1))
        hints = await led(peer)
        for request in (0, hints.request + 1, SEQ_MAX):
            await peer.send(
                Hinted(request, bytes(16), 1, (), True), Given(request, bytes(16)), Checked(request, bytes(16), 1)
            )
        await peer.send(Ping(78))
        await peer.expect(Pong, lambda pong: pong.token == 78)
        await peer.send(Hinted(hints.request, siege.agent.node.root, 1, (), False))  # "equal"
        await siege.fleet.until(lambda: siege.agent.node.sync.is_idle)


@pytest.mark.parametrize("kind", [Given, Checked, Walked])
async def test_an_answer_of_another_kind(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[Any]
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        hints = await led(peer)
        answers = {
            Given: Given(hints.request, bytes(16)),
            Checked: Checked(hints.request, bytes(16), 1),
            Walked: Walked(hints.request, ()),
        }
        await peer.send(answers[kind])
        assert "another question" in await peer.end()
        assert siege.agent.node.sync.is_idle


async def test_a_peer_that_never_answers_keeps_no_other_from_syncing(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        mock_clock.jump(CATCH_UP_S)
        await led(peer)
        late = await late_joiner(siege)
        assert not siege.agent.node.sync.is_idle
        mock_clock.jump(REPLY_LIMIT_S)
        await siege.fleet.until(lambda: late.value("shop/price") == b"1")


async def test_a_peer_that_answers_for_ever_keeps_no_other_from_syncing(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, mock_clock: trio.testing.MockClock
) -> None:
    """It tells of a tree of 2^60 leaves: each node has two children that differ."""
    mock_clock.rate = 1.0
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        mock_clock.jump(CATCH_UP_S)
        walk: Walk | None = await walked(peer)
        late = await late_joiner(siege)
        rng = random.Random(3)
        answers = 0
        while walk is not None:
            assert len(walk.nodes) <= WALK_NODES_MAX
            told = [
                Told(prefix, 1, rng.randbytes(2 * walk.width) + bytes((FANOUT - 2) * walk.width))
                if len(prefix) < 60
                else Told(prefix, 0, b"")
                for prefix, _ in walk.nodes
            ]
            await peer.send(Walked(walk.request, tuple(told)))
            answers += 1
            assert answers < 100, "it still answers, and nobody else has had a turn"
            mock_clock.jump(SESSION_LIMIT_S / 50)
            walk = await next_walk(peer, late)
        assert answers > 10
        assert late.value("shop/price") == b"1"


async def next_walk(peer: RawPeer, late: WatchedAgent) -> Walk | None:
    """The next question, or None once the one who waited has had its turn."""
    while late.value("shop/price") is None:
        message = await peer.next()
        assert message is not None, peer.goodbye
        match message:
            case Walk():
                return message
            case Check():
                await peer.send(Checked(message.request, b"another root 16b", 1))
            case Ping():
                await peer.send(Pong(message.token))
            case Root():
                await peer.send(Ping(1))  # an answer, so that the loop comes round
    return None


async def late_joiner(siege: Siege) -> WatchedAgent:
    """An empty honest node that the agent must lead, linked to no other. What was published CATCH_UP_S ago is no news
    to it: it comes by sync."""
    late = await siege.fleet.start("bbb", siege.agent, advertise=NOWHERE.format(2))
    await siege.fleet.until(lambda: "bbb" in {link.node_id for link in siege.agent.node.links()})
    return late


async def test_huge_frontiers_and_items_that_do_not_exist(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker(LEADER) as peer:
        rng = random.Random(5)
        starts = sorted(rng.randbytes(START_BYTES) for _ in range(FRONTIER_WRITERS_MAX))
        frontier = (b"".join(starts), (SEQ_MAX,) * FRONTIER_WRITERS_MAX)
        await peer.send(Hints(1, bytes(16), 1, frontier, False, SYNC_BUDGET_BYTES))
        hinted = await peer.expect(Hinted)
        assert len(hinted.lacks) == FRONTIER_WRITERS_MAX
        items = tuple(rng.randbytes(16) for _ in range(WANTED_ITEMS_MAX))
        await peer.send(Want(2, items, SYNC_BUDGET_BYTES), Want(3, (), 0), WantPolicies(1 << 30))
        assert (await peer.expect(Given)).request == 2
        assert (await peer.expect(Given)).request == 3
        deep = tuple(((nibble,) * 64, rng.randbytes(4)) for nibble in range(16))
        await peer.send(Walk(4, 4, 1, deep))
        answer = await peer.expect(Walked)
        assert {(told.levels, told.data) for told in answer.nodes} == {(0, b"")}
        over = encode([21, 5, bytes(16), 1, [frontier[0] + b"\xff" * START_BYTES, [*frontier[1], 1]], False, 0])
        await peer.send_payload(FrameClass.SYNC, over)
        assert "malformed" in await peer.end()


async def test_a_flood_of_roots_arms_few_timers(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        walk = await walked(peer)
        await peer.send(Walked(walk.request, ()))
        check = await peer.expect(Check)
        await peer.send(Checked(check.request, b"another root 16b", 1))
        await siege.fleet.until(lambda: siege.agent.node.sync.is_idle)
        timers = len(siege.agent.node.environment._timers)
        await peer.send(*(Root(number.to_bytes(16, "big"), 1) for number in range(2_000)), Ping(79))
        await peer.expect(Pong, lambda pong: pong.token == 79)
        assert len(siege.agent.node.environment._timers) < timers + 20


# -- membership -----------------------------------------------------------------------------------


async def test_a_roster_of_ten_thousand_names(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        for first in range(0, 10_000, PRESENCES_MAX):
            names = [f"ghost-{number}" for number in range(first, first + PRESENCES_MAX)]
            ghosts = [presence(name, address=f"127.0.0.1:{1 + first}") for name in names]
            await peer.send(Roster(tuple(map(Sighting, ghosts))))
        await peer.send(Ping(80))
        await peer.expect(Pong, lambda pong: pong.token == 80)
        assert len(siege.agent.node.members()) <= UNCONFIRMED_MAX + 2
        assert len(siege.agent.node.overlay.book) <= ADDRESS_BOOK_MAX
        assert len(siege.honest.node.members()) <= UNCONFIRMED_MAX + 2
        assert {"mmm", "honest"} & {member.name for member in siege.honest.node.members()}


async def test_records_of_extremes_and_of_the_agent_itself(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        extreme = presence("z", started_ms=TIME_MS_MAX, count=SEQ_MAX, versions=SEQ_MAX, zone="\u2028" * 85)
        older = presence("mmm", boot=b"12345678", started_ms=1)
        await peer.send(
            Roster((Sighting(extreme), Sighting(older))), Roster((Sighting(extreme),) * PRESENCES_MAX), Ping(81)
        )
        await peer.expect(Pong, lambda pong: pong.token == 81)
        assert "mmm" not in {member.presence.node_id for member in siege.agent.node.members()}


async def test_a_flood_of_addresses(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    garbage = ["", ":", "x", "127.0.0.1:0", "127.0.0.1:99999", "[::1", "\u202e.\u2028:1", "a" * 256]
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        await peer.send(Addresses(tuple(garbage), (0,) * len(garbage)), Addresses((siege.agent.address,), (0,)))
        for first in range(0, 5_000, ADDRESSES_MAX):
            spam = tuple(f"127.0.0.1:{number}x" for number in range(first, first + ADDRESSES_MAX))
            await peer.send(Addresses(spam, (0,) * len(spam)))
        await peer.send(Ping(82))
        await peer.expect(Pong, lambda pong: pong.token == 82)
        book = siege.agent.node.overlay.book
        assert len(book) <= ADDRESS_BOOK_MAX
        assert siege.agent.address not in book
        # Each that was dialled has failed in words, and is not dialled again at once.
        await siege.fleet.until(lambda: any("cannot reach" in record.getMessage() for record in caplog.records))


async def test_a_flood_of_pings_from_a_peer_that_does_not_read(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with siege_of(site, tmp_path, caplog) as siege, siege.attacker() as peer:
        burst = b"".join(b"\x00\x00\x00\x0b" + encode([2, SEQ_MAX]) for _ in range(1_000))
        assert len(burst) == 15_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_for_ever, peer, burst)
            await siege.gone(LED)
            nursery.cancel_scope.cancel()
        assert any("does not read" in record.getMessage() for record in caplog.records)


async def _send_for_ever(peer: RawPeer, data: bytes) -> None:
    while True:
        await peer.send_bytes(data)
        await trio.lowlevel.checkpoint()


async def test_another_agent_under_this_agents_name(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A copied certificate: the one error that is told at error level, since only a human can end it."""
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("mmm")
        async with raw_peer(site, "mmm", agent) as peer:
            await peer.send(peer.hello())
            await peer.end()
        assert any("runs under this agent's name" in record.getMessage() for record in caplog.records)
        await publish(agent, "a", b"1")
        assert agent.value("a") == b"1"
        assert not agent.node.links()


def test_the_attackers_names_are_on_both_sides_of_the_agent() -> None:
    assert LED < "mmm" < LEADER
    assert ADMIN.public != STRANGER.public
    assert NOW_MS < TIME_MS_MAX
    assert AgentSettings.__slots__
