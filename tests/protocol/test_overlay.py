"""The overlay: one link between two nodes whatever the order of events, limits of time and number, and whom to dial."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.encoding import encode
from gossipconf.model.limits import ADDRESS_BOOK_MAX
from gossipconf.protocol.address_book import AddressBook
from gossipconf.protocol.environment import Connect, Disconnect, Now, Send
from gossipconf.protocol.events import ConnectFailed, DuplicateNode, PeerDown, PeerUp
from gossipconf.protocol.keepalive import HELLO_LIMIT_S
from gossipconf.protocol.link import FAR_AGREEING, Identity
from gossipconf.protocol.messages import (
    ADDRESSES_MAX,
    Addresses,
    Goodbye,
    GoodbyeCode,
    Hello,
    Ping,
    Pong,
    Root,
    Roster,
    RosterDigest,
    WantAddresses,
    ZoneTold,
    decode_message,
)
from gossipconf.protocol.neighbourhood import TELL_S
from gossipconf.protocol.node import Node, Restored
from gossipconf.protocol.overlay import (
    ALIAS_REST_S,
    ASK_CAP_S,
    ASK_S,
    CALM_FACTOR,
    EXCESS_MAX,
    EXCESS_STEP,
    FULL_REST_S,
    SAVE_S,
    SAVED_ADDRESSES,
    SAVED_ZONE,
    TOLD_ADDRESSES_MAX,
    decode_saved_addresses,
    decode_saved_zone,
)
from gossipconf.protocol.sighting import Sighting
from gossipconf.protocol.tuning import LAN
from gossipconf.protocol.views import FAR, FAR_SMALL, LINKS_MAX, NEAR, ONLY_NEAR, SLACK, SMALL_ZONE, Wanted
from gossipconf.protocol.zone import FAR_RTT_S, NEAR_RTT_S, TAG_MAX, ZoneTag, tag_of
from gossipconf.store.journal_ops import PutMeta
from gossipconf.trust.chain import PolicyChain
from tests.protocol.wire import Bench
from tests.strategies import cluster

# -- two links between two nodes ------------------------------------------------------------------


class Two:
    """Nodes `a` and `b`, and links between them whose every event the test orders."""

    def __init__(self, dialled_by: Sequence[str]) -> None:
        self.nodes = {name: _node(name) for name in "ab"}
        self.dialled_by = dict(enumerate(dialled_by, 1))
        self.open: dict[str, dict[int, None]] = {"a": {}, "b": {}}
        self.ended: dict[str, dict[int, None]] = {"a": {}, "b": {}}
        self.queues: dict[tuple[int, str], deque[bytes | None]] = {}
        for link in self.dialled_by:
            for name in "ab":
                self.queues[link, name] = deque()

    def possible(self) -> list[tuple[str, int, str]]:
        """What can happen next: an end learns of its link, or the next message (or the end) of a link arrives."""
        connects = [
            ("connect", link, name)
            for link in self.dialled_by
            for name in "ab"
            if link not in self.open[name] and link not in self.ended[name]
        ]
        arrivals = [
            ("arrive", link, name) for (link, name), queue in self.queues.items() if queue and link in self.open[name]
        ]
        return connects + arrivals

    def happen(self, event: tuple[str, int, str]) -> None:
        kind, link, name = event
        node, other = self.nodes[name], "ab"[name == "a"]
        if kind == "connect":
            self.open[name][link] = None
            outbound = self.dialled_by[link] == name
            node.connected(Now(0.0, 0), link, other, outbound=outbound, address=f"{other}:1" if outbound else "")
        else:
            message = self.queues[link, name].popleft()
            if message is None:
                self._end(name, link)
            else:
                node.received(Now(0.0, 0), link, message)
        for output in node.take_outputs():
            match output:
                case Send() if output.link in self.open[name]:
                    self.queues[output.link, other].append(output.message)
                case Disconnect() if output.link in self.open[name]:
                    self.queues[output.link, other].append(None)
                    self._end(name, output.link)

    def _end(self, name: str, link: int) -> None:
        if link in self.open[name]:
            del self.open[name][link]
            self.ended[name][link] = None
            self.queues[link, name].clear()
            self.nodes[name].disconnected(Now(0.0, 0), link, "closed")

    def ready(self, name: str) -> list[int]:
        return [link.id for link in self.nodes[name].links()]


def _node(name: str) -> Node:
    node = Node(
        Identity(name, f"{name}:1"), PolicyChain(cluster().genesis), rng=Random(name), policies=cluster().policies
    )
    node.start(Now(0.0, 0))
    node.take_outputs()
    return node


@settings(max_examples=200)
@given(st.lists(st.sampled_from("ab"), min_size=2, max_size=3), st.data())
def test_both_ends_keep_the_same_one_of_several_links(dialled_by: list[str], data: st.DataObject) -> None:
    """Both may dial at once, and one may dial twice, under two addresses of the other."""
    two = Two(dialled_by)
    while options := two.possible():
        two.happen(options[data.draw(st.integers(0, len(options) - 1))])
        if len(set(dialled_by)) == len(dialled_by):
            assert all(len(two.ready(name)) <= 1 for name in "ab")
    assert two.ready("a") == two.ready("b")
    (kept,) = two.ready("a")
    assert two.dialled_by[kept] == min(dialled_by), "one that the smaller name dialled, if it did"


def test_a_new_boot_replaces_the_link_of_the_old_one() -> None:
    bench = Bench("b")
    old = bench.connect("a")
    bench.said(old)
    new = bench.connect("a", hello=False)
    bench.tell(new, bench.hello("a", boot=b"new boot"))
    assert bench.closed(old) == "replaced by another link to this node"
    assert [link.id for link in bench.links()] == [new]


def test_a_second_link_in_the_wrong_direction_is_refused() -> None:
    bench = Bench("b")
    kept = bench.connect("a")
    second = bench.connect("a", outbound=True)
    assert bench.closed(second) == "a link to this node exists already"
    assert [type(one) for one in bench.said(second)] == [Hello, Goodbye]
    assert [link.id for link in bench.links()] == [kept]
    assert [one.node_id for one in bench.events(PeerUp)] == ["a"]
    assert bench.events(PeerDown) == []


# -- hello ----------------------------------------------------------------------------------------


def test_hello_goes_first_and_the_link_is_up_when_the_peers_has_come() -> None:
    bench = Bench()
    link = bench.connect("a", hello=False)
    (hello,) = bench.said(link)
    assert hello == bench.hello("m", boot=bench.node.overlay.boot)
    assert bench.links() == []
    bench.tell(link, bench.hello("a"))
    assert bench.events(PeerUp) == [PeerUp(link, "a", "a:1")]
    assert [one.id for one in bench.links()] == [link]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cluster": bytes(32)}, "hello from cluster 00000000"),
        ({"node_id": "b"}, "hello from 'b' under the certificate of 'a'"),
        ({"version_min": 2, "version_max": 9}, "peer speaks protocol 2 to 9, this node 1 to 1"),
        ({"version_min": 0, "version_max": 0}, "peer speaks protocol 0 to 0"),
    ],
)
def test_a_hello_that_does_not_fit_closes_the_link(fields: dict[str, Any], reason: str) -> None:
    bench = Bench()
    link = bench.connect("a", hello=False)
    bench.tell(link, bench.hello("a", **fields))
    assert reason in (bench.closed(link) or "")
    assert reason in bench.said(link, Goodbye)[0].reason
    assert bench.events(PeerUp) == []


def test_newer_versions_and_capabilities_are_no_obstacle() -> None:
    bench = Bench()
    link = bench.connect("a", hello=False)
    bench.tell(link, bench.hello("a", version_min=0, version_max=7, capabilities=255))
    assert len(bench.links()) == 1


def test_nothing_before_hello_and_no_second_one() -> None:
    for messages, reason in (([Root(bytes(16), 1)], "Root before hello"), ([None, None], "a second hello")):
        bench = Bench()
        link = bench.connect("a", hello=False)
        bench.tell(link, *(bench.hello("a") if message is None else message for message in messages))
        assert bench.closed(link) == reason


def test_who_does_not_say_hello_is_closed() -> None:
    bench = Bench()
    link = bench.connect("a", hello=False)
    bench.wait(HELLO_LIMIT_S)
    assert bench.closed(link) is None
    bench.wait(2 * LAN.refill_s)
    assert bench.closed(link) == "no hello within 3 s"


def test_dialling_oneself_forgets_the_address() -> None:
    bench = Bench(seeds=["alias:1"])
    assert bench.dialled() == ["alias:1"]
    link = bench.connect("m", outbound=True, address="alias:1", hello=False)
    bench.tell(link, bench.hello("m", boot=bench.node.overlay.boot))
    assert bench.closed(link) == "this is the agent itself"
    bench.lose(link)
    bench.wait(10 * LAN.retry_cap_s)
    assert bench.dialled() == []
    assert bench.events(DuplicateNode) == []


def test_ones_own_address_is_not_dialled() -> None:
    bench = Bench(seeds=["m:1"])
    bench.wait(5.0)
    assert bench.dialled() == []


def test_a_namesake_is_told_of() -> None:
    bench = Bench(seeds=["other:1"])
    link = bench.connect("m", outbound=True, address="other:1", hello=False)
    bench.tell(link, bench.hello("m", boot=b"namesake"))
    assert bench.events(DuplicateNode) == [DuplicateNode("other:1")]
    assert "give each its own certificate" in (bench.closed(link) or "")


# -- silence --------------------------------------------------------------------------------------


def wait_in_company(bench: Bench, company: Sequence[int], duration_s: float) -> None:
    """Let time pass while some peers speak and answer."""
    while duration_s > 0:
        step_s = min(0.5, duration_s)
        bench.wait(step_s)
        duration_s -= step_s
        for link in company:
            for ping in bench.said(link, Ping):
                bench.tell(link, Pong(ping.token))
            bench.tell(link, Ping(1))
            bench.said(link)


def test_a_silent_link_is_pinged_and_closed() -> None:
    bench = Bench()
    company = [bench.connect("x"), bench.connect("y")]
    link = bench.connect("a")
    (first,) = bench.said(link, Ping)
    bench.tell(link, Pong(first.token))
    wait_in_company(bench, company, LAN.keepalive_s - 0.1)
    assert bench.said(link, Ping) == []
    wait_in_company(bench, company, 1.0)
    assert len(bench.said(link, Ping)) == 1
    wait_in_company(bench, company, LAN.keepalive_s * LAN.silences_max)
    assert bench.said(link, Ping) == [], "one question is out"
    assert bench.closed(link) == "silent for 15 s"
    assert bench.events(PeerDown) == [PeerDown(link, "a", "silent for 15 s")]


def test_each_silence_is_noticed_within_one_upkeep() -> None:
    """Nothing ticks: of links that fell silent at different times none is looked at early, and none late."""
    bench = Bench()
    company = [bench.connect(f"x{number}") for number in range(5)]
    heard_s: dict[int, float] = {}
    for number in range(5):
        wait_in_company(bench, company, 0.7)
        link = bench.connect(f"p{number}")
        heard_s[link] = bench.now_s
        for ping in bench.said(link, Ping):
            bench.tell(link, Pong(ping.token))
    pinged_s: dict[int, float] = {}
    closed_s: dict[int, float] = {}
    while len(closed_s) < len(heard_s):
        wait_in_company(bench, company, 0.01)
        for link, last_s in heard_s.items():
            if bench.said(link, Ping):
                pinged_s[link] = bench.now_s - last_s
            if link not in closed_s and bench.closed(link):
                closed_s[link] = bench.now_s - last_s
    late_s = 1.25 * LAN.refill_s + 0.01
    assert all(LAN.keepalive_s <= after_s <= LAN.keepalive_s + late_s for after_s in pinged_s.values())
    assert pinged_s.keys() == heard_s.keys()
    limit_s = LAN.keepalive_s * LAN.silences_max
    assert all(limit_s <= after_s <= limit_s + late_s for after_s in closed_s.values())


def test_whoever_answers_stays() -> None:
    bench = Bench()
    link = bench.connect("a")
    for _ in range(100):
        for ping in bench.said(link, Ping):
            bench.tell(link, Pong(ping.token))
        bench.wait(1.0)
    assert bench.closed(link) is None
    assert len(bench.links()) == 1


def test_round_trips_are_measured_by_the_latest_ping_only() -> None:
    bench = Bench()
    link = bench.connect("a")
    (ping,) = bench.said(link, Ping)
    bench.wait(0.25)
    bench.tell(link, Pong(ping.token + 5))
    assert bench.links()[0].rtt_s is None
    bench.tell(link, Pong(ping.token))
    assert bench.links()[0].rtt_s == pytest.approx(0.25)


def test_a_ping_is_answered() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.said(link)
    bench.tell(link, Ping(77))
    assert bench.said(link) == [Pong(77)]


# -- whom to dial ---------------------------------------------------------------------------------


def test_saved_addresses_are_dialled_before_seeds_and_no_more_than_needed() -> None:
    saved = tuple((f"s{number}:1", 0) for number in range(3))
    addresses = [address for address, _ in saved]
    bench = Bench(seeds=["seed:1"], restored=Restored(addresses=saved))
    dialled = bench.dialled()
    assert (sorted(dialled[:3]), dialled[3:]) == (addresses, ["seed:1"])
    bench = Bench(seeds=[f"seed{number}:1" for number in range(20)], restored=Restored(addresses=saved))
    dialled = bench.dialled()
    assert sorted(dialled[:3]) == addresses
    assert len(dialled) == ONLY_NEAR
    bench.wait(10.0)
    assert bench.dialled() == [], "so many dials are open"


def test_an_unreachable_seed_is_tried_for_ever_and_at_most_every_few_seconds() -> None:
    bench = Bench(seeds=["seed:1"])
    dials = 0
    hours = 1
    for _ in range(hours * 3_600 * 2):
        for address in bench.dialled():
            dials += 1
            bench.node.connect_failed(bench.now(), address, "refused")
        bench.wait(0.5)
    assert hours * 3_600 / (LAN.retry_cap_s + 2 * LAN.refill_s) <= dials <= hours * 3_600 / (LAN.retry_cap_s / 2) + 10
    assert bench.events(ConnectFailed)[-1] == ConnectFailed("seed:1", "refused")


@pytest.mark.parametrize("fields", [{"cluster": bytes(32)}, {"node_id": "b"}, None])
def test_an_address_where_no_hello_fits_is_backed_off_too(fields: dict[str, Any] | None) -> None:
    """Another cluster's agent behind a seed must not be dialled twice a second for ever."""
    bench = Bench(seeds=["seed:1"])
    dials = 0
    for _ in range(120):
        for address in bench.dialled():
            dials += 1
            link = bench.connect("a", outbound=True, address=address, hello=False)
            bench.tell(link, Goodbye(GoodbyeCode.LEAVING, "go away") if fields is None else bench.hello("a", **fields))
            assert bench.closed(link) is not None
            bench.lose(link)
        bench.wait(0.5)
    assert dials <= 60 / (LAN.retry_cap_s / 2) + 6


def test_a_seed_under_another_name_than_its_node_tells_is_dialled_seldom() -> None:
    """`seed:1` resolves to `a`, whose own address is `a:1`, and who has dialled us before."""
    bench = Bench("m", seeds=["seed:1"])
    bench.drain(Connect)
    dials = 0
    kept = bench.connect("a")
    again = bench.connect("a", outbound=True, address="seed:1")
    assert bench.closed(again) == "a link to this node exists already"
    bench.lose(again)
    for _ in range(40):
        bench.wait(0.5)
        bench.tell(kept, Ping(1))
        for address in bench.dialled():
            dials += 1
            bench.lose(bench.connect("a", outbound=True, address=address))
    assert dials <= 40 * 0.5 / ALIAS_REST_S
    assert [link.id for link in bench.links()] == [kept]


def test_a_lost_link_is_replaced_soon() -> None:
    bench = Bench(seeds=["a:1"])
    bench.drain(Connect)
    link = bench.connect("a", outbound=True, address="a:1")
    bench.wait(2.0)
    assert bench.dialled() == []
    bench.lose(link)
    bench.wait(1.25 * LAN.refill_s)
    assert bench.dialled() == ["a:1"]


def test_a_full_view_lets_one_go_kindly_and_leaves_it_alone() -> None:
    bench = Bench()
    links = []
    for number in range(ONLY_NEAR + SLACK + 1):
        links.append(bench.connect(f"p{number:02d}"))
        for ping in bench.said(links[-1], Ping):
            bench.tell(links[-1], Pong(ping.token))  # it is near
    assert len(bench.links()) == ONLY_NEAR + SLACK
    (victim,) = [link for link in links if bench.closed(link)]
    assert victim != links[-1], "a newcomer finds room"
    assert bench.said(victim, Goodbye) == [Goodbye(GoodbyeCode.FULL, "too many links")]


def test_after_too_many_links_the_peer_is_left_alone_for_a_while() -> None:
    bench = Bench(seeds=["a:1"])
    bench.drain(Connect)
    link = bench.connect("a", outbound=True, address="a:1")
    bench.tell(link, Goodbye(GoodbyeCode.FULL, "too many links"))
    bench.lose(link)
    bench.wait(FULL_REST_S - 1.0)
    assert bench.dialled() == []
    bench.wait(2.0)
    assert bench.dialled() == ["a:1"]


def test_with_a_full_view_unreached_addresses_are_still_probed_now_and_then() -> None:
    bench = Bench(seeds=["away:1"])
    bench.node.connect_failed(bench.now(), "away:1", "refused")
    bench.drain(Connect)
    links = [bench.connect(f"p{number}") for number in range(ONLY_NEAR)]
    dials = 0
    for _ in range(600):
        bench.wait(1.0)
        for link in links:
            bench.tell(link, Ping(1))
        for address in bench.dialled():
            assert address == "away:1"
            dials += 1
            bench.node.connect_failed(bench.now(), address, "refused")
    assert 600 / 60 <= dials <= 600 / (LAN.retry_cap_s / 2)


def full_view(seeds: Sequence[str] = ("away:1",)) -> tuple[Bench, list[int]]:
    """A node with as many links as it looks for, and as many members; and addresses behind which nobody is."""
    bench = Bench(seeds=list(seeds))
    for address in seeds:
        bench.node.connect_failed(bench.now(), address, "refused")
    links = [bench.connect(f"p{number}") for number in range(ONLY_NEAR)]
    for number, link in enumerate(links):
        bench.tell(link, Roster((Sighting(replace(bench.node.presence.own(), node_id=f"p{number}")),)))
    bench.drain(Connect)
    return bench, links


def live_for(bench: Bench, links: Sequence[int], duration_s: float) -> int:
    """Let time pass while the peers speak now and then and every dial fails; how often the node woke."""
    wakes = 0
    end_s = bench.now_s + duration_s
    spoken_s = bench.now_s
    while (due_s := bench.node.next_timer_s) is not None and due_s <= end_s:
        bench.now_s = due_s
        bench.node.timer(bench.now())
        wakes += 1
        for address in bench.dialled():
            bench.node.connect_failed(bench.now(), address, "refused")
        if bench.now_s - spoken_s > 1.0:
            spoken_s = bench.now_s
            for link in links:
                bench.tell(link, Ping(1))
        for link in links:
            for ping in bench.said(link, Ping):
                bench.tell(link, Pong(ping.token))
            bench.said(link)
    return wakes


def test_an_idle_node_with_a_full_view_wakes_for_what_is_due_only() -> None:
    bench, links = full_view()
    wakes = live_for(bench, links, 300.0)
    assert len(bench.links()) == ONLY_NEAR
    looks, tellings = 300 / LAN.keepalive_s, 300 / 7.5
    probes = 3 * 300 / (ONLY_NEAR + 1)  # each with its failure, and the upkeep that was planned before
    assert wakes <= looks + tellings + probes + 20


@pytest.mark.parametrize(("seeds", "factor"), [(["away:1"], 1), ([], CALM_FACTOR)])
def test_the_whole_component_probes_about_once_a_second_and_less_when_nobody_is_missing(
    monkeypatch: pytest.MonkeyPatch, seeds: list[str], factor: int
) -> None:
    """And a book is read for a probe only, not to see that there is none to be made."""
    reads: list[float] = []
    due = AddressBook.due

    def counted(book: AddressBook, now_s: float, *busy: Any) -> list[str]:
        reads.append(now_s)
        return due(book, now_s, *busy)

    bench, links = full_view(seeds)
    monkeypatch.setattr(AddressBook, "due", counted)
    live_for(bench, links, 1_000.0 * factor)
    expected = 1_000 / (ONLY_NEAR + 1)
    assert 0.7 * expected <= len(reads) <= 1.3 * expected


def answering(bench: Bench, links: Sequence[int], duration_s: float) -> Counter[str]:
    """Let time pass while peers answer and every dial fails; what was dialled."""
    dialled: Counter[str] = Counter()
    end_s = bench.now_s + duration_s
    while bench.now_s < end_s:
        bench.wait(1.0)
        for link in links:
            for ping in bench.said(link, Ping):
                bench.tell(link, Pong(ping.token))
            bench.said(link)
        for address in bench.dialled():
            dialled[address] += 1
            bench.node.connect_failed(bench.now(), address, "refused")
    return dialled


@pytest.mark.parametrize("lost", ["here", "there"])
def test_who_never_finds_peers_of_one_kind_goes_on_to_probe_for_those_it_lost_of_the_other(lost: str) -> None:
    """A zone that somebody has invented, or one of few nodes, is looked for in vain for ever."""
    bench = Bench(zone="here")
    count = (NEAR if lost == "here" else FAR_SMALL) + 1
    links = [bench.connect(f"p{number}", outbound=True, zone=lost) for number in range(count)]
    bench.tell(links[0], Addresses(("nowhere:1",), (tag_of("nowhere" if lost == "here" else "here"),)))
    bench.lose(links.pop())
    dialled = answering(bench, links, 100.0 * (count + 1))
    assert dialled[f"p{count - 1}:1"] > 10
    assert len(bench.links()) == count - 1


def test_a_probe_that_holds_the_same_goes_although_peers_of_the_other_kind_are_wanting() -> None:
    bench = Bench(zone="here")
    for number in range(NEAR):
        bench.connect(f"p{number}", zone="here")
    bench.connect("far", zone="there")
    bench.tell(1, Addresses(("z:1",), (tag_of("here"),)))
    bench.dialled()
    while "z:1" not in bench.dialled():
        bench.wait(1.0)
        for link in range(1, NEAR + 2):
            bench.tell(link, Ping(1))
    probe = bench.connect("z", outbound=True, address="z:1", zone="here")
    bench.tell(
        probe, Root(bench.node.root, 1), RosterDigest(bench.node.presence._roster.digest, bytes(16), b"", 1, False)
    )
    assert bench.closed(probe) == "it holds the same, and the view is full"


def test_one_message_for_many_is_encoded_once() -> None:
    bench, links = full_view()
    bench.drain(Send)
    bench.node.stop(bench.now())
    rosters = [one for one in bench.drain(Send) if isinstance(decode_message(one.message), Roster)]
    assert [one.link for one in rosters] == links
    assert all(one.message is rosters[0].message for one in rosters)


# -- near and far ---------------------------------------------------------------------------------

HERE, THERE, YONDER = map(tag_of, ("here", "there", "yonder"))


def saved_in(zone: ZoneTag, count: int) -> tuple[tuple[str, ZoneTag], ...]:
    return tuple((f"z{zone}-{number}:1", zone) for number in range(count))


def of_zones(bench: Bench, addresses: Sequence[str]) -> Counter[ZoneTag]:
    return Counter(map(bench.node.overlay.book.zone, addresses))


@pytest.mark.parametrize(("own", "far"), [(20, FAR_SMALL), (SMALL_ZONE + 10, FAR)])
def test_so_many_near_and_far_addresses_are_dialled_as_links_are_wanted(own: int, far: int) -> None:
    addresses = (*saved_in(THERE, 20), *saved_in(HERE, own), *saved_in(YONDER, 20), *saved_in(0, 20))
    bench = Bench(zone="here", restored=Restored(addresses=addresses))
    zones = of_zones(bench, bench.dialled())
    assert zones[HERE] == NEAR
    assert zones.total() == NEAR + far


def test_where_too_few_near_addresses_are_known_those_of_unknown_zones_are_tried_and_no_far_ones() -> None:
    addresses = (*saved_in(THERE, 40), *saved_in(HERE, 2), *saved_in(0, 1))
    bench = Bench(zone="here", restored=Restored(addresses=addresses))
    zones = of_zones(bench, bench.dialled())
    assert (zones[HERE], zones[0], zones[THERE]) == (2, 1, FAR_SMALL)
    bench.wait(10.0)
    assert bench.dialled() == []


def test_a_link_of_another_kind_than_was_hoped_leaves_its_place_open() -> None:
    """Addresses of unknown zones are dialled in the hope of somebody near; those who are far fill the far places."""
    bench = Bench(zone="here", restored=Restored(addresses=(*saved_in(0, NEAR), *saved_in(THERE, FAR_SMALL))))
    dialled = bench.dialled()
    assert len(dialled) == NEAR + FAR_SMALL
    for number, address in enumerate(dialled[:NEAR]):
        bench.connect(f"f{number}", outbound=True, address=address, zone="there")
    assert [(link.is_far, link.wanted_near) for link in bench.links()] == [(True, True)] * NEAR
    bench.node.overlay.book.learn("new:1", Random(0))
    bench.wait(2 * LAN.refill_s)
    assert bench.dialled() == ["new:1"], "somebody near is still looked for"


def test_a_far_peer_that_was_hoped_near_goes_when_the_far_view_is_full() -> None:
    bench = Bench(zone="here", restored=Restored(addresses=saved_in(0, 4)))
    for number in range(FAR_SMALL):
        bench.connect(f"f{number}", zone="there")
    bench.wait(2 * LAN.refill_s)
    address = bench.dialled()[0]
    link = bench.connect("g", outbound=True, address=address, zone="there")
    assert bench.closed(link) == "too many links"
    assert len(bench.links()) == FAR_SMALL


def lonely(*, far: int = 1) -> tuple[Bench, list[int]]:
    """A node that has far links, and knows nobody near."""
    bench = Bench(zone="here")
    links = [bench.connect(f"f{number}", zone="there") for number in range(far)]
    for link in links:
        bench.said(link)
    return bench, links


ASKS_STEP_S = 0.1


def asks_of(bench: Bench, links: Sequence[int], duration_s: float) -> list[float]:
    """When the node asks its peers for near addresses; all at once."""
    times_s = []
    end_s = bench.now_s + duration_s
    while bench.now_s < end_s:
        bench.wait(ASKS_STEP_S)
        asks = [bench.said(link, WantAddresses) for link in links]
        if asks[0]:
            assert asks == [[WantAddresses(HERE)]] * len(links)
            times_s.append(bench.now_s)
        for link in links:
            bench.tell(link, Ping(1))
        bench.drain(Send)
    return times_s


def test_who_lacks_near_peers_asks_for_them_the_less_often_the_longer_it_is_in_vain() -> None:
    bench, links = lonely(far=2)
    begin_s = bench.now_s
    times_s = asks_of(bench, links, 400.0)
    pauses_s = [later - earlier for earlier, later in zip([begin_s, *times_s], times_s, strict=False)]
    assert pauses_s[0] <= 1.25 * LAN.refill_s + ASKS_STEP_S
    for number, pause_s in enumerate(pauses_s[1:]):
        full_s = min(ASK_CAP_S, ASK_S * 2**number)
        assert 0.75 * full_s <= pause_s <= 1.25 * (full_s + LAN.refill_s) + 2 * ASKS_STEP_S
    assert len(pauses_s) > 8, "and it never gives up"


def test_a_node_alone_asks_nobody_and_loses_no_time_by_that() -> None:
    bench = Bench(zone="here", seeds=["f:1"])
    bench.wait(100.0)
    link = bench.connect("f", zone="there")
    assert asks_of(bench, [link], 1.5 * LAN.refill_s) != []


def test_near_addresses_that_were_asked_for_are_dialled_and_do_not_count_as_told_by_itself() -> None:
    bench, (link,) = lonely()
    asks_of(bench, [link], 1.5 * LAN.refill_s)
    near = tuple(f"n{number}:1" for number in range(NEAR + 2))
    bench.tell(link, Addresses(near, (HERE,) * len(near)))
    bench.wait(2 * LAN.refill_s)
    dialled = bench.dialled()
    assert len(dialled) == NEAR
    assert set(dialled) < set(near)
    overlay_link = bench.node.overlay.link(link)
    assert overlay_link is not None
    assert overlay_link.told == 0
    bench.tell(link, Addresses(("x:1",), (THERE,)))
    assert overlay_link.told == 1


def test_asking_begins_anew_once_the_near_view_was_full() -> None:
    bench, (far,) = lonely()
    asks_of(bench, [far], 100.0)
    near = [bench.connect(f"n{number}", zone="here") for number in range(NEAR)]
    assert asks_of(bench, [far, *near], 100.0) == []
    for link in near:
        bench.lose(link)
    bench.wait(2 * LAN.refill_s)
    for address in bench.dialled():
        bench.node.connect_failed(bench.now(), address, "refused")
        bench.node.overlay.book.forget(address)
    assert len(asks_of(bench, [far], 10.0)) >= 3


def test_addresses_in_a_zone_are_told_to_whoever_wants_them() -> None:
    bench = Bench(zone="here", restored=Restored(addresses=(*saved_in(YONDER, 3), *saved_in(0, 5))))
    link = bench.connect("f", zone="there")
    bench.said(link)
    bench.tell(link, WantAddresses(YONDER), WantAddresses(THERE), WantAddresses(1))
    first, second, third = bench.said(link, Addresses)
    assert sorted(zip(first.addresses, first.zones, strict=True)) == list(saved_in(YONDER, 3))
    assert (second, third) == (Addresses(("f:1",), (THERE,)), Addresses((), ()))


def fail_dials(bench: Bench) -> int:
    """Let a look for peers come, and every dial fail at once; how many there were."""
    dialled = bench.dialled()
    for address in dialled:
        bench.node.connect_failed(bench.now(), address, "refused")
    bench.wait(1.25 * LAN.refill_s)
    return len(dialled)


def test_who_is_nearly_alone_dials_more_at_once_the_more_dials_fail() -> None:
    """After a mass crash most addresses are dead."""
    bench = Bench(restored=Restored(addresses=saved_in(0, 900)))
    counts = [fail_dials(bench) for _ in range(8)]
    failures = [sum(counts[:number]) for number in range(8)]
    assert counts == [ONLY_NEAR * min(EXCESS_MAX, 1 + failed // EXCESS_STEP) for failed in failures]
    assert counts[-1] == ONLY_NEAR * EXCESS_MAX


def test_one_that_answers_ends_that() -> None:
    bench = Bench(restored=Restored(addresses=saved_in(0, 900)))
    for _ in range(6):
        fail_dials(bench)
    *others, address = bench.dialled()
    for other in others:
        bench.node.connect_failed(bench.now(), other, "refused")
    bench.connect("a", outbound=True, address=address)
    bench.wait(1.25 * LAN.refill_s)
    assert len(bench.dialled()) == ONLY_NEAR - 1


def test_who_has_half_of_its_links_dials_one_for_each_that_is_missing() -> None:
    bench = Bench(restored=Restored(addresses=saved_in(0, 900)))
    for number in range(ONLY_NEAR // 2):
        bench.connect(f"p{number}")
    bench.drain(Connect)
    for address in [f"z0-{number}:1" for number in range(100)]:
        bench.node.connect_failed(bench.now(), address, "refused")
    bench.wait(1.25 * LAN.refill_s)
    open_dials = len(bench.dialled())
    assert open_dials <= ONLY_NEAR // 2


# -- peers without labels -------------------------------------------------------------------------


def test_a_peer_without_label_is_near_after_one_short_round_trip() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.answer(link, NEAR_RTT_S)
    assert [one.near for one in bench.links()] == [True]
    assert bench.said(link, Ping) == []


def test_it_is_far_only_after_several_long_ones_that_follow_each_other() -> None:
    bench = Bench()
    link = bench.connect("a")
    for _ in range(FAR_AGREEING):
        assert [one.near for one in bench.links()] == [None]
        assert (bench.node.overlay.zone, bench.node.overlay.wanted().far) == (0, 0)
        bench.answer(link, 2 * FAR_RTT_S)
    assert [one.near for one in bench.links()] == [False]
    assert bench.said(link, Ping) == []
    assert bench.node.overlay.wanted() == Wanted(NEAR, FAR_SMALL)


def test_a_busy_moment_at_the_start_makes_no_zone() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.answer(link, 0.5, FAR_AGREEING - 1)
    bench.answer(link, 0.001)
    bench.wait(10 * TELL_S)
    assert (bench.node.overlay.zone, bench.said(link, ZoneTold)) == (0, [])


def test_a_tag_is_drawn_told_saved_and_kept_over_a_restart() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.answer(link, 2 * FAR_RTT_S, FAR_AGREEING)
    drawn = bench.node.overlay.zone
    assert 0 < drawn <= TAG_MAX
    bench.wait(TELL_S)
    assert bench.said(link, ZoneTold) == [ZoneTold(drawn)]
    near = bench.connect("b")
    bench.answer(near, NEAR_RTT_S / 2)
    bench.wait(SAVE_S + 1.0)
    assert [decode_saved_zone(saved.value) for saved in meta_writes(bench, SAVED_ZONE)] == [drawn]
    bench.tell(near, ZoneTold(drawn - 1))  # long after any link has come up
    bench.wait(TELL_S + SAVE_S + 0.1)
    assert [decode_saved_zone(saved.value) for saved in meta_writes(bench, SAVED_ZONE)] == [drawn - 1]
    again = Bench(restored=Restored(zone=drawn - 1))
    link = again.connect("a")
    assert again.said(link, ZoneTold) == [ZoneTold(drawn - 1)], "right after the hello"


def test_a_labelled_node_tells_and_saves_no_tag() -> None:
    bench = Bench(zone="here")
    link = bench.connect("a", zone="there")
    bench.answer(link, 2 * FAR_RTT_S)
    bench.wait(SAVE_S + 1.0)
    assert bench.said(link, ZoneTold) == []
    assert meta_writes(bench, SAVED_ZONE) == []


def test_addresses_are_placed_by_what_their_nodes_tell() -> None:
    bench = Bench()
    link = bench.connect("a")
    book = bench.node.overlay.book
    assert book.zone("a:1") == 0
    bench.tell(link, ZoneTold(7))
    assert book.zone("a:1") == 7
    labelled = bench.connect("b", zone="there")
    bench.tell(labelled, ZoneTold(7))
    assert book.zone("b:1") == THERE
    bench.tell(link, Addresses(("x:1", "a:1", "b:1"), (9, 9, 9)))
    assert [book.zone(address) for address in ("x:1", "a:1", "b:1")] == [9, 9, 9], "nobody was met there by a dial"
    assert bench.said(bench.connect("c"), Addresses)[0].zones.count(9) == 2


def test_links_that_turn_from_far_to_near_stay_within_the_view() -> None:
    bench = Bench(restored=Restored(zone=7))
    far: list[int] = []
    for number in range(3 * LINKS_MAX):
        link = bench.connect(f"p{number}")
        if not bench.closed(link):
            bench.answer(link, 2 * FAR_RTT_S, FAR_AGREEING)
            far.append(link)
        assert len(bench.links()) <= LINKS_MAX
        if number % 5 == 4:  # a long first moment is over
            for one in bench.links():
                if one.is_far and one.ping_s is None:
                    bench.node.overlay.keepalive.ping(one)
                    bench.answer(one.id, 0.0)
            near = sum(not one.is_far for one in bench.links())
            assert near <= ONLY_NEAR + SLACK
        for one in bench.links():
            bench.tell(one.id, Ping(1))
    assert len(far) > LINKS_MAX


@pytest.mark.parametrize("data", [None, b"", b"\xff", encode("7"), encode(-1), encode(TAG_MAX + 1)])
def test_a_saved_tag_that_cannot_be_read_is_no_tag(data: bytes | None) -> None:
    assert decode_saved_zone(data) == 0


# -- addresses ------------------------------------------------------------------------------------


def test_peers_tell_each_other_where_others_are() -> None:
    bench = Bench()
    bench.connect("a")
    other = bench.connect("b")
    told = bench.said(other, Addresses)
    assert {address for one in told for address in one.addresses} == {"a:1", "b:1"}
    bench.tell(other, Addresses(("c:1", "m:1", "a:1"), (0, 0, 0)))
    bench.wait(1.0)
    assert bench.dialled() == ["c:1"], "not oneself, and not who is here"


def test_the_book_is_bounded_whatever_peers_tell() -> None:
    bench = Bench()
    links = [bench.connect(f"p{number}") for number in range(6)]
    for position, link in enumerate(links):
        for number in range(0, 2 * TOLD_ADDRESSES_MAX, ADDRESSES_MAX):
            names = tuple(f"x{position}-{number + one}:1" for one in range(ADDRESSES_MAX))
            bench.tell(link, Addresses(names, (0,) * len(names)))
        assert len(bench.node.overlay.book) <= len(links) + (position + 1) * TOLD_ADDRESSES_MAX
    assert len(bench.node.overlay.book) == ADDRESS_BOOK_MAX
    assert not any(bench.closed(link) for link in links)


def meta_writes(bench: Bench, name: str) -> list[PutMeta]:
    """What was written under a name since the last call; the writes have ended well."""
    return [op for one in bench.write() for op in one.ops if isinstance(op, PutMeta) and op.name == name]


def test_a_burst_of_joins_is_saved_in_one_write() -> None:
    bench = Bench()
    for number in range(10):
        bench.connect(f"p{number}")
    assert meta_writes(bench, SAVED_ADDRESSES) == []
    bench.wait(SAVE_S + 0.1)
    (saved,) = meta_writes(bench, SAVED_ADDRESSES)
    assert saved.name == SAVED_ADDRESSES
    assert decode_saved_addresses(saved.value) == [(f"p{number}:1", 0) for number in range(10)]
    bench.wait(60.0)
    assert meta_writes(bench, SAVED_ADDRESSES) == []


@pytest.mark.parametrize(
    "data",
    [None, b"", b"\xff", encode([1]), encode("a:1"), encode(["a:1"]), encode([["a:1"]]), encode([["x" * 300, 0]])],
)
def test_a_saved_book_that_cannot_be_read_is_no_book(data: bytes | None) -> None:
    assert decode_saved_addresses(data) == []


def test_events_are_told_once() -> None:
    bench = Bench()
    link = bench.connect("a")
    bench.node.overlay.close(bench.links()[0], "first")
    bench.node.overlay.fault(bench.node.overlay.link(link), "second")  # type: ignore[arg-type]
    bench.lose(link, "third")
    assert bench.events(PeerDown) == [PeerDown(link, "a", "first")]
