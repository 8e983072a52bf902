"""The control interface, and above all what it must refuse: after each refusal the state is as before."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
import trio.testing

from gossipconf.model.change import Change, Header, Writer
from gossipconf.model.encoding import encode, unpack
from gossipconf.model.entry import Entry, put
from gossipconf.model.errors import ControlError
from gossipconf.model.limits import (
    CHANGE_BYTES_MAX,
    ENTRIES_MAX,
    SEQ_MAX,
    TIME_MS_MAX,
    VALUE_BYTES_MAX,
)
from gossipconf.model.merkle import SparseTree
from gossipconf.protocol.node import Node
from gossipconf.protocol.subject import AskedChange, Subject
from gossipconf.runtime import handout
from gossipconf.runtime.control import ControlServer
from gossipconf.runtime.control_socket import REQUEST_BYTES_MAX, SOCKET_PATH_BYTES_MAX, WAIT_S_MAX, short_path
from gossipconf.runtime.transport import Transport
from gossipconf.store.journal import Journal
from gossipconf.store.journal_ops import JournalOp
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, compose, sign_change

from .cluster import (
    ADMIN,
    CLERK,
    HANG_S,
    NOW_MS,
    ROOT,
    STRANGER,
    Asker,
    Fleet,
    Site,
    WatchedAgent,
    asking,
    fleet_of,
    prepare,
    publish,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("control"))


@dataclasses.dataclass
class Desk:
    """An agent with one value, and a connection to it."""

    agent: WatchedAgent
    asker: Asker
    fleet: Fleet

    async def refused(self, data: Any, *errors: str) -> str:
        """Publish what must be refused; its message. The state must be the same before and after."""
        before = self.agent.node.root, self.agent.values(), len(self.agent.node.replica.live)
        reply = await self.asker.ask("publish", change=data)
        assert reply["ok"] is False
        assert reply["error"] in errors, reply
        assert len(reply["message"]) > 10
        assert (self.agent.node.root, self.agent.values(), len(self.agent.node.replica.live)) == before
        return reply["message"]

    async def works(self) -> None:
        """The agent still takes an honest publish and serves it."""
        change = await publish(self.agent, "proof/of-life", b"alive")
        reply = await self.asker.ask("get", key="proof/of-life")
        got = Change.decode(reply["versions"][0]["change"], change.header.cluster)
        assert got.id == change.id
        assert got.entries[0][1].value == b"alive"


@asynccontextmanager
async def desk_of(site: Site, data: Path) -> AsyncIterator[Desk]:
    async with fleet_of(site, data) as fleet:
        agent = await fleet.start("desk")
        await publish(agent, "shop/price", b"1")
        async with asking(agent) as asker:
            desk = Desk(agent, asker, fleet)
            yield desk
            await desk.works()


def signed(site: Site, *entries: Entry, signer: Signer = ADMIN, incarnation: bytes = b"offline1", **fields: Any) -> Any:
    """Any header over ``entries``, signed, whatever `compose` would say."""
    tree = SparseTree(len(entries), {index: entry.leaf() for index, entry in enumerate(entries)}, ())
    known = {"policy": 1, "seq": 1, "time_ms": NOW_MS, "cluster": site.cluster_id} | fields
    writer = Writer(signer.public, incarnation)
    header = Header(writer=writer, count=len(entries), size=tree.size, root=tree.root, **known)
    return sign_change(header, tuple(enumerate(entries)), signer)


# -- refused publishes ----------------------------------------------------------------------------


async def test_every_altered_byte_is_refused(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        data = prepare(desk.agent, put("shop/price", b"2")).encode()
        seen = set()
        for position in range(len(data)):
            for mask in (0x01, 0x80):
                altered = bytearray(data)
                altered[position] ^= mask
                reply = await desk.asker.ask("publish", change=bytes(altered))
                assert reply["ok"] is False, f"byte {position} altered by {mask:#x} was taken"
                assert reply["message"]
                seen.add(reply["error"])
        assert {"FormatError", "WrongCluster", "BadSignature", "NotAuthorised"} <= seen
        assert desk.agent.value("shop/price") == b"1"
        reply = await desk.asker.ask("publish", change=data)  # and the unaltered one was not spoilt by them
        assert reply["ok"] is True, reply
        assert desk.agent.value("shop/price") == b"2"


async def test_every_cut_and_every_addition_is_refused(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        data = prepare(desk.agent, put("shop/price", b"2")).encode()
        for length in range(0, len(data), 7):
            await desk.refused(data[:length], "FormatError")
        await desk.refused(data + b"\0", "FormatError")
        await desk.refused(data + data, "FormatError")


async def test_unknown_keys_and_foreign_prefixes(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        stranger = signed(site, put("shop/price", b"2"), signer=STRANGER)
        assert "does not know" in await desk.refused(stranger.encode(), "NotAuthorised")
        outside = signed(site, put("pay/limit", b"2"), signer=CLERK)
        message = await desk.refused(outside.encode(), "NotAuthorised")
        assert "'pay/limit'" in message
        assert "shop" in message  # what the clerk may do
        mixed = signed(site, put("pay/limit", b"2"), put("shop/price", b"2"), signer=CLERK)
        await desk.refused(mixed.encode(), "NotAuthorised")
        near = signed(site, put("shopping", b"2"), signer=CLERK)
        await desk.refused(near.encode(), "NotAuthorised")
        system = signed(site, put("_nodes/x", b"2"))
        await desk.refused(system.encode(), "NotAuthorised")
        policy = signed(site, put("_policy/2", b"2"))
        await desk.refused(policy.encode(), "NotAuthorised")
        rooted = signed(site, put("shop/price", b"2"), signer=ROOT)
        await desk.refused(rooted.encode(), "NotAuthorised")
        allowed = prepare(desk.agent, put("shop/price", b"3"), signer=CLERK)
        assert (await desk.asker.ask("publish", change=allowed.encode()))["ok"] is True


async def test_another_cluster(site: Site, tmp_path: Path) -> None:
    other = found_cluster(
        "other", [ROOT], [Role("admins", (ADMIN.public,), ("",))], threshold=1, now_ms=1, salt=b"x" * 16
    )
    async with desk_of(site, tmp_path) as desk:
        change = compose(
            [put("shop/price", b"2")],
            (),
            chain=other.chain(),
            signer=ADMIN,
            reservation=Reservation(bytes(8), 1),
            now_ms=NOW_MS,
        )
        assert "cluster" in await desk.refused(change.encode(), "WrongCluster")
        fields = list(unpack(change.encode()))
        fields[0] = site.cluster_id[:4]  # relabelled: the whole id is in what is signed
        await desk.refused(encode(fields), "BadSignature")


async def test_non_canonical_bytes(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        data = prepare(desk.agent, put("shop/price", b"2")).encode()
        assert data[0] == 0x90 | 14
        long_form = b"\xdc\x00\x0e" + data[1:]
        assert unpack(long_form) == unpack(data)
        assert "canonical" in await desk.refused(long_form, "FormatError")


async def test_a_part_is_no_publish(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        change = prepare(desk.agent, put("a", b"1"), put("b", b"2"), put("c", b"3"))
        for indices in ((0,), (1, 2), ()):
            assert "whole" in await desk.refused(change.restrict(indices).encode(), "InvalidInput")
        assert (await desk.asker.ask("publish", change=change.encode()))["ok"] is True


async def test_an_overtaken_reservation(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        first = prepare(desk.agent, put("a", b"first"))
        second = prepare(desk.agent, put("b", b"second"))
        assert first.header.seq < second.header.seq
        assert (await desk.asker.ask("publish", change=second.encode()))["ok"] is True
        assert "again" in await desk.refused(first.encode(), "StaleReservation")
        assert desk.agent.value("a") is None
        again = prepare(desk.agent, put("a", b"first"))
        assert (await desk.asker.ask("publish", change=again.encode()))["ok"] is True


async def test_a_number_that_was_not_handed_out(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        given = desk.agent.reserve(ADMIN.public, [])
        ahead = prepare(desk.agent, put("a", b"1"), reservation=Reservation(given.incarnation, given.seq + 5))
        assert "not handed out" in await desk.refused(ahead.encode(), "Rejected")
        end = prepare(desk.agent, put("a", b"1"), reservation=Reservation(given.incarnation, SEQ_MAX))
        await desk.refused(end.encode(), "Rejected")


async def test_a_replayed_publish_changes_nothing(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        change = await publish(desk.agent, "shop/price", b"2")
        assert "again" in await desk.refused(change.encode(), "StaleReservation")
        await publish(desk.agent, "shop/price", b"3")
        await desk.refused(change.encode(), "StaleReservation")
        assert desk.agent.value("shop/price") == b"3"
        offline = signed(site, put("kept", b"1"))
        for _ in range(2):  # a writer of its own: its own bytes again are no harm
            assert (await desk.asker.ask("publish", change=offline.encode()))["ok"] is True
        assert desk.agent.value("kept") == b"1"
        assert not desk.agent.node.replica.live.forks()


async def test_a_second_body_under_a_used_number_is_refused(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        assert (await desk.asker.ask("publish", change=signed(site, put("a", b"1"), seq=7).encode()))["ok"]
        await desk.refused(signed(site, put("a", b"2"), seq=7).encode(), "StaleReservation")
        await desk.refused(signed(site, put("b", b"2"), seq=3).encode(), "StaleReservation")
        assert not desk.agent.node.replica.live.forks()


async def test_extreme_numbers_and_times(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        last = signed(site, put("end", b"1"), seq=SEQ_MAX, time_ms=TIME_MS_MAX)
        assert (await desk.asker.ask("publish", change=last.encode()))["ok"] is True
        # The slot's time cannot rise any more, but causality still decides, here and at the next start.
        await publish(desk.agent, "end", b"2")
        assert desk.agent.value("end") == b"2"
        first = signed(site, put("begin", b"1"), incarnation=b"offline2", time_ms=0)
        assert (await desk.asker.ask("publish", change=first.encode()))["ok"] is True
        for fields in ({"seq": SEQ_MAX + 1}, {"seq": 0}, {"time_ms": TIME_MS_MAX + 1}, {"time_ms": -1}, {"policy": -1}):
            await desk.refused(
                signed(site, put("x", b"1"), incarnation=b"offline3", **fields).encode(), "LimitExceeded"
            )
        unknown = signed(site, put("x", b"1"), incarnation=b"offline3", policy=2)
        assert "policy 2" in await desk.refused(unknown.encode(), "UnknownPolicy")


async def test_a_body_that_claims_its_own_future(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        writer = Writer(ADMIN.public, b"offline1").id
        entry = dataclasses.replace(put("shop/price", b"2"), seen=((writer, 1),))
        await desk.refused(signed(site, entry, seq=1).encode(), "Rejected")


async def test_somebody_claims_this_agents_next_numbers(site: Site, tmp_path: Path) -> None:
    """A poisoned vector must not lock the agent out of the slot: it takes another incarnation."""
    async with desk_of(site, tmp_path) as desk:
        mine = desk.agent.reserve(ADMIN.public, [])
        claimed = ((Writer(ADMIN.public, mine.incarnation).id, SEQ_MAX),)
        thief = signed(site, dataclasses.replace(put("shop/price", b"2"), seen=claimed))
        assert (await desk.asker.ask("publish", change=thief.encode()))["ok"] is True
        await publish(desk.agent, "shop/price", b"3")
        assert desk.agent.value("shop/price") == b"3"
        assert len(desk.agent.reads.versions("shop/price")) == 1


async def test_overlong_values_and_keys(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        big = put("big", b"x" * VALUE_BYTES_MAX)
        change = prepare(desk.agent, big)
        assert (await desk.asker.ask("publish", change=change.encode()))["ok"] is True
        over = dataclasses.replace(big, value=b"x" * (VALUE_BYTES_MAX + 1))
        message = await desk.refused(signed(site, over).encode(), "LimitExceeded")
        assert str(VALUE_BYTES_MAX) in message
        long_key = dataclasses.replace(put("k", b"1"), key="k" * 513)
        await desk.refused(signed(site, long_key).encode(), "LimitExceeded")
        whole = [put(f"big/{number}", b"x" * (VALUE_BYTES_MAX - 100)) for number in range(8)]
        fits = signed(site, *whole).encode()
        assert CHANGE_BYTES_MAX - 1_000 < len(fits) <= CHANGE_BYTES_MAX
        assert (await desk.asker.ask("publish", change=fits))["ok"] is True
        await desk.refused(signed(site, *whole, put("big/9", b"x" * 2_000)).encode(), "LimitExceeded")


async def test_the_largest_number_of_entries(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        entries = [put(f"many/{number:05}", b"") for number in range(ENTRIES_MAX)]
        over = signed(site, *entries, put("one-more", b"")).encode()
        assert str(ENTRIES_MAX) in await desk.refused(over, "LimitExceeded")
        reply = await desk.asker.ask("reserve", signer=ADMIN.public, slots=[[entry.key, ""] for entry in entries])
        assert reply["ok"] is True
        change = compose(
            entries,
            (),
            chain=desk.agent.node.replica.chain,
            signer=ADMIN,
            reservation=Reservation(reply["incarnation"], reply["seq"]),
            now_ms=NOW_MS,
        )
        reply = await desk.asker.ask("publish", change=change.encode())
        assert reply["ok"] is True, reply
        assert reply["versions"] == ENTRIES_MAX
        page = await desk.asker.ask("list", prefix="many", limit=10, after="many/00099")
        assert [item["key"] for item in page["items"]] == [f"many/{number:05}" for number in range(100, 110)]
        assert page["more"] is True


# -- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_map",
    [
        {},
        {"op": None},
        {"op": "nothing"},
        {"op": ["get"]},
        {"op": "get"},
        {"op": "get", "key": 5},
        {"op": "get", "key": ""},
        {"op": "get", "key": "a//b"},
        {"op": "get", "key": "k" * 600},
        {"op": "list"},
        {"op": "list", "prefix": "/"},
        {"op": "list", "prefix": "", "limit": 0},
        {"op": "list", "prefix": "", "limit": "9"},
        {"op": "ids"},
        {"op": "ids", "prefix": "a//b"},
        {"op": "watch"},
        {"op": "watch", "prefix": "a/"},
        {"op": "acks"},
        {"op": "acks", "wait_ms": 0},
        {"op": "acks", "wait_ms": 1.5},
        {"op": "acks", "wait_ms": WAIT_S_MAX * 1000 + 1},
        {"op": "acks", "wait_ms": 1000, "change": "abc"},
        {"op": "acks", "wait_ms": 1000, "change": "xyzw"},
        {"op": "acks", "wait_ms": 1000, "change": 5},
        {"op": "publish"},
        {"op": "publish", "change": "text"},
        {"op": "reserve"},
        {"op": "reserve", "signer": b"short", "slots": []},
        {"op": "reserve", "signer": bytes(32)},
        {"op": "reserve", "signer": bytes(32), "slots": [["a"]]},
        {"op": "reserve", "signer": bytes(32), "slots": [["a", 5]]},
        {"op": "reserve", "signer": bytes(32), "slots": [["a//b", ""]]},
        {"op": "reserve", "signer": bytes(32), "slots": [["a", ""]] * (ENTRIES_MAX + 1)},
    ],
    ids=lambda request_map: str(request_map)[:50],
)
async def test_malformed_requests_get_a_clear_answer(site: Site, tmp_path: Path, request_map: dict[str, Any]) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            await asker.send(msgpack.packb(request_map))
            reply = await asker.reply()
            assert reply is not None
            assert reply["ok"] is False
            assert reply["error"] in {"InvalidInput", "LimitExceeded"}
            assert reply["message"]
        async with asking(agent) as asker:
            assert (await asker.ask("info"))["ok"] is True


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"\x01", b"[]", b"\x91" * 5_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\x90\x01"],
    ids=repr,
)
async def test_malformed_bytes_end_the_connection_with_a_word(site: Site, tmp_path: Path, body: bytes) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            await asker.send(body)
            reply = await asker.reply()
            assert reply is not None
            assert reply["error"] == "InvalidInput"
            assert await asker.reply() is None
        async with asking(agent) as asker:
            assert (await asker.ask("info"))["ok"] is True


async def test_a_claimed_length_allocates_nothing(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            await asker.stream.send_all(b"\xff\xff\xff\xff")
            reply = await asker.reply()
            assert reply is not None
            assert str(REQUEST_BYTES_MAX) in reply["message"]
        async with asking(agent) as asker:
            await asker.stream.send_all(b"\x00\x00\x00\x10half")  # and hangs up
        async with asking(agent) as asker:
            assert (await asker.ask("info"))["ok"] is True


async def test_watch_tells_what_changes_under_its_prefix(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            assert await asker.ask("watch", prefix="shop") == {"ok": True}
            await publish(agent, "pay/limit", b"1")
            change = await publish(agent, "shop/price", b"1")
            event = await asker.reply()
            assert event is not None
            assert (event["event"], event["key"]) == ("change", "shop/price")
            assert Change.decode(event["versions"][0]["change"], site.cluster_id).id == change.id
        await fleet.until(lambda: True)
        async with asking(agent) as asker:  # the watcher has gone; the agent has not
            await publish(agent, "shop/price", b"2")
            assert (await asker.ask("info"))["keys"] == 2


async def test_acks_tell_who_has_applied_a_change(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        one = await fleet.start("one", zone="eu")
        other = await fleet.start("other", one)
        await fleet.linked(one, other)
        change = await publish(one, "shop/price", b"1")
        await fleet.settled(one, other)
        for fields in ({"change": change.id.hex()[:10]}, {"change": change.id.hex().upper()}, {}):
            async with asking(other) as asker:
                assert await asker.ask("acks", wait_ms=60_000, **fields) == {"ok": True}
                event = await asker.reply()
                while event is not None and not event["done"]:
                    event = await asker.reply()
                assert event == {
                    "event": "tally",
                    "done": True,
                    "applied": 2,
                    "total": 2,
                    "complete": True,
                    "missing": [],
                    "silent": [],
                    "more_silent": False,
                    "zones": [{"zone": "eu", "applied": 1, "total": 1}],
                }
                assert await asker.reply() is None
        await fleet.until(lambda: not any(agent.node.acks.questions() for agent in (one, other)))


async def test_acks_end_in_time_or_with_their_asker(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody_has = Subject((AskedChange(bytes(32), bytes(16), 1, None),))
    monkeypatch.setattr(ControlServer, "_subject", lambda self, request: nobody_has)
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            await asker.ask("acks", wait_ms=100)
            events = [await asker.reply(), await asker.reply()]
            assert [(one["applied"], one["missing"], one["done"]) for one in events if one] == [
                (0, ["desk"], False),
                (0, ["desk"], True),
            ]
            assert await asker.reply() is None
        async with asking(agent) as asker:
            await asker.ask("acks", wait_ms=3_000_000)
            assert len(agent.node.acks.questions()) == 1
        await fleet.until(lambda: agent.node.acks.questions() == [])  # the asker has hung up


async def test_acks_of_a_change_that_has_died_and_of_one_that_nobody_knows(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        old = await publish(agent, "shop/price", b"1")
        await publish(agent, "shop/price", b"2")
        async with asking(agent) as asker:
            await asker.ask("acks", wait_ms=60_000, change=old.id.hex())
            event = await asker.reply()
            assert event is not None
            assert (event["applied"], event["done"]) == (1, True)
        async with asking(agent) as asker:
            refused = await asker.ask("acks", wait_ms=1, change="0123456789")
            assert (refused["ok"], refused["error"]) == (False, "UnknownChange")


async def test_ids_alone_come_in_pages(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handout, "IDS_KEYS_MAX", 2)
    async with desk_of(site, tmp_path) as desk:
        published = [await publish(desk.agent, f"ids/{number}", b"1") for number in range(5)]
        listed: list[Any] = []
        more = True
        while more:
            reply = await desk.asker.ask("ids", prefix="ids", after=listed[-1][0] if listed else None)
            assert len(reply["keys"]) <= 2
            listed, more = listed + reply["keys"], reply["more"]
        assert listed == [[f"ids/{number}", [change.version_id(0)]] for number, change in enumerate(published)]


async def test_status_and_info(site: Site, tmp_path: Path) -> None:
    async with desk_of(site, tmp_path) as desk:
        status = await desk.asker.ask("status")
        assert [(member["node"], member["state"]) for member in status["members"]] == [("desk", "self")]
        info = await desk.asker.ask("info")
        assert (info["root"], info["pid"], info["disk_error"]) == (desk.agent.node.root, os.getpid(), None)


class SlowDisk:
    """Holds each write of any journal back until `let_go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._free = threading.Event()
        commit = Journal.commit

        def held(journal: Journal, ops: Sequence[JournalOp]) -> None:
            assert self._free.wait(HANG_S)
            commit(journal, ops)

        monkeypatch.setattr(Journal, "commit", held)

    def let_go(self) -> None:
        self._free.set()


async def test_conflicts_are_counted_as_readers_see_them(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_of(site, tmp_path) as desk:
        agent = desk.agent
        first, second = (prepare(agent, put("shop/price", b"1"), signer=signer) for signer in (ADMIN, CLERK))
        await agent.publish(first)
        await agent.writer.flushed()
        disk = SlowDisk(monkeypatch)
        agent._input(lambda: agent.node.replica.receive(second, "a peer"))
        held = len(agent.node.replica.live.slot(("shop/price", "")))
        before = await conflicts_told(desk)
        disk.let_go()
        await agent.writer.flushed()
        assert (held, before) == (2, {0}), "what is held runs ahead of readers"
        assert await conflicts_told(desk) == {1}


async def conflicts_told(desk: Desk) -> set[int]:
    return {(await desk.asker.ask(op))["conflicts"] for op in ("info", "status")}


# -- stopping -------------------------------------------------------------------------------------


async def test_a_publish_in_flight_at_a_stop_is_answered(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        await agent.writer.flushed()
        change = prepare(agent, put("late", b"1"))
        disk = SlowDisk(monkeypatch)
        async with asking(agent) as asker, asking(agent) as idle, asking(agent) as watching:
            assert (await watching.ask("watch", prefix="late"))["ok"] is True
            await asker.send(msgpack.packb({"op": "publish", "change": change.encode()}))
            await fleet.until(lambda: agent._waiting)
            agent.stop()
            assert await idle.reply() is None  # it has asked nothing
            with (
                short_path(agent.settings.control_socket) as name,
                pytest.raises(OSError, match=r"refused|No such file"),
            ):
                await trio.open_unix_socket(name)
            disk.let_go()
            reply = await asker.reply()
            assert reply is not None, "it is written and spread, and its asker not told"
            assert (reply["ok"], reply["id"]) == (True, change.id)
            assert await asker.reply() is None  # nothing more is taken
            assert await watching.reply() is None
        await agent.finished.wait()
        agent = await fleet.start("desk")
        assert agent.value("late") == b"1"


async def test_an_answer_that_is_being_sent_at_a_stop_is_sent_whole(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        await publish(agent, "big", b"x" * VALUE_BYTES_MAX)
        async with asking(agent) as asker:
            await asker.send(msgpack.packb({"op": "get", "key": "big"}))
            head = await asker._exactly(4)  # it has begun, and fills the socket's buffer
            agent.stop()
            await trio.testing.wait_all_tasks_blocked()
            assert not agent.finished.is_set()
            assert head is not None
            body = await asker._exactly(int.from_bytes(head, "big"))
            assert body is not None, "the answer was cut off"
        await agent.finished.wait()


async def test_an_asker_that_does_not_read_its_answer_holds_no_stop_up(
    site: Site, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        await publish(agent, "big", b"x" * VALUE_BYTES_MAX)
        async with asking(agent) as asker:
            for _ in range(3):
                await asker.send(msgpack.packb({"op": "get", "key": "big"}))
            await asker.stream.receive_some(1)  # it has begun to answer
            agent.stop()
            mock_clock.rate = 1_000.0
            with trio.fail_after(1_000 * HANG_S):
                await agent.finished.wait()


async def test_the_commands_socket_listens_before_peers_and_the_node_starts_before_any_link(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(kind: type[Any], name: str, word: str) -> None:
        method = getattr(kind, name)

        def call(self: Any, *args: Any, **options: Any) -> Any:
            order.append(word)
            return method(self, *args, **options)

        monkeypatch.setattr(kind, name, call)

    noted(ControlServer, "run", "commands")
    noted(Transport, "run", "peers")
    noted(Node, "start", "node")
    noted(Node, "connected", "link")
    async with fleet_of(site, tmp_path) as fleet:
        await fleet.start("desk")
        assert order == ["commands", "peers", "node"]


# -- the socket -----------------------------------------------------------------------------------


async def test_only_the_owner_may_ask(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        assert stat.S_IMODE(agent.settings.control_socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(agent.settings.data.stat().st_mode) == 0o700


async def test_a_very_long_data_path(site: Site, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-directory-name"] * 8)
    async with fleet_of(site, deep) as fleet:
        agent = await fleet.start("desk")
        assert len(os.fsencode(agent.settings.control_socket)) > SOCKET_PATH_BYTES_MAX
        await publish(agent, "a", b"1")
        async with asking(agent) as asker:
            assert (await asker.ask("info"))["keys"] == 1
        await fleet.stop(agent)
        assert not agent.settings.control_socket.exists()
        agent = await fleet.start("desk")
        assert agent.value("a") == b"1"


async def test_the_stale_socket_of_a_killed_agent_is_replaced(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "desk" / "control.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with fleet_of(site, tmp_path) as fleet:
        agent = await fleet.start("desk")
        async with asking(agent) as asker:
            assert (await asker.ask("info"))["node"] == "desk"


async def test_a_socket_that_another_agent_listens_on_is_left_alone(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "desk" / "control.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        async with fleet_of(site, tmp_path) as fleet:
            with pytest.raises(ControlError, match="another agent is listening"):
                await _start_alone(fleet, site, tmp_path)
        assert path.exists()


async def test_a_file_in_place_of_the_socket_is_left_alone(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "desk" / "control.sock"
    path.parent.mkdir()
    path.write_text("mine")
    async with fleet_of(site, tmp_path) as fleet:
        with pytest.raises(ControlError, match="not a socket"):
            await _start_alone(fleet, site, tmp_path)
    assert path.read_text() == "mine"


async def _start_alone(fleet: Fleet, site: Site, data: Path) -> None:
    """Run an agent that cannot start, outside the fleet's nursery, so that its error comes alone."""
    with trio.fail_after(60):
        await WatchedAgent(site.settings("desk", data / "desk"), fleet.bell).run()
