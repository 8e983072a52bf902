"""The network, each of its conditions by itself: exact times and counts, and laws for what is drawn."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.limits import FRAME_BYTES_MAX
from gossipconf.protocol.frames import HEADER_BYTES, QUEUE_BYTES_MAX, FrameClass
from gossipconf.runtime import link as shipped_link
from gossipconf.runtime.transport import TransportLimits
from gossipconf_sim.conditions import NetworkConditions
from gossipconf_sim.network import network as simulated
from gossipconf_sim.network.network import WRITE_BYTES
from gossipconf_sim.network.retransmission import (
    SEGMENT_BYTES,
    TIMEOUT_MAX_S,
    WINDOW_BYTES,
    next_attempt_s,
    segments,
    wait_of_lost_s,
)
from gossipconf_sim.world.world import World
from tests.strategies import cluster

from .ground import DELAY_S, Ground

RTT_S = 2 * DELAY_S
MBIT_8 = 8.0
"""Mbit/s: a million bytes a second."""


def frame_bytes(length: int) -> int:
    """A message on the wire."""
    return length + HEADER_BYTES * -(-length // FRAME_BYTES_MAX)


def within(count: int, trials: int, probability: float) -> bool:
    """Whether a count is within five standard deviations of its mean: one in two million is not."""
    return abs(count - trials * probability) <= 5 * sqrt(trials * probability * (1 - probability))


# -- delay ----------------------------------------------------------------------------------------


def test_a_message_takes_the_delay() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.send(wire, "a", b"there")
    ground.run(0.5)
    ground.send(wire, "b", b"back")
    ground.run(1.0)
    assert ground.got("b") == [(1 + DELAY_S, b"there")]
    assert ground.got("a") == [(1.5 + DELAY_S, b"back")]


def test_a_factor_makes_everything_as_many_times_slower() -> None:
    ground = Ground("a", "b")
    ground.network.latency_factor = 4.0
    ground.dial("a", "b")
    ground.run(2.5)
    assert [one[:3] for one in ground.opens] == [(8 * RTT_S, "a", True), (8 * RTT_S + 4 * DELAY_S, "b", False)]
    (wire,) = ground.network.wires()
    ground.send(wire, "a", b"x")
    ground.run(1.0)
    assert ground.got("b") == [(2.5 + 4 * DELAY_S, b"x")]


def test_the_jitter_is_a_uniform_factor_of_its_range() -> None:
    ground = Ground("a", "b", jitter=(1.0, 3.0))
    wire = ground.connect("a", "b")
    factors = []
    for _ in range(2_000):
        begin_s = ground.schedule.now_s
        ground.send(wire, "a", b"x")
        ground.run(1.0)
        factors.append((ground.arrivals[-1][0] - begin_s) / DELAY_S)
    assert 1.0 <= min(factors) < 1.01
    assert 2.99 < max(factors) <= 3.0
    assert all(within(sum(factor < bound for factor in factors), 2_000, (bound - 1) / 2) for bound in (1.5, 2.0, 2.5))


def test_messages_keep_their_order_on_a_wire_and_in_a_direction_whatever_the_jitter() -> None:
    ground = Ground("a", "b", jitter=(0.1, 50.0))
    wire = ground.connect("a", "b")
    for number in range(100):
        ground.send(wire, "a", b"%d" % number)
        ground.run(0.01)
    ground.send(wire, "b", b"back")
    ground.run(10.0)
    times = [at_s for at_s, _ in ground.got("b")]
    assert [message for _, message in ground.got("b")] == [b"%d" % number for number in range(100)]
    assert times == sorted(times)
    assert len(set(times)) < 50  # many had to wait for one before
    assert len(ground.got("a")) == 1


def test_hosts_are_always_as_far_apart_and_as_far_back() -> None:
    conditions = NetworkConditions(latency_ms=(2.0, 10.0))
    delays = []
    for _ in range(2):
        world = World(cluster(), 7, network=conditions)
        hosts = [world.add(f"h{number}", start=False) for number in range(40)]
        pairs = [(one, other) for one in hosts for other in hosts if one.index < other.index]
        delays.append([world.delay(one, other) for one, other in pairs])
        assert delays[-1] == [world.delay(other, one) for one, other in pairs]
        assert delays[-1] == [world.delay(one, other) for one, other in pairs]
    assert delays[0] == delays[1]
    assert 0.002 <= min(delays[0]) < 0.0021
    assert 0.0099 < max(delays[0]) <= 0.01
    assert all(within(sum(one < at for one in delays[0]), len(delays[0]), at / 0.008 - 0.25) for at in (0.004, 0.006))
    other = World(cluster(), 8, network=conditions)
    one, another = (other.add(name, start=False) for name in "ab")
    assert other.delay(one, another) != delays[0][0]


def test_a_connection_that_is_made_again_has_the_same_delay() -> None:
    ground = Ground("a", "b", delay=lambda one, other: 0.01 * (1 + one.index + other.index))
    wires = [ground.connect("a", "b") for _ in range(2)] + [ground.connect("b", "a")]
    assert {wire.base_s for wire in wires} == {0.02}


# -- what is counted ------------------------------------------------------------------------------


def test_what_is_sent_is_counted_as_frames() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(FRAME_BYTES_MAX))
    ground.send(wire, "a", bytes(FRAME_BYTES_MAX + 1), FrameClass.SYNC)
    ground.send(wire, "b", b"x", FrameClass.SYNC)
    assert ground.network.sent_messages == [0, 1, 0, 2]
    assert ground.network.sent_bytes == [0, FRAME_BYTES_MAX + 4, 0, FRAME_BYTES_MAX + 1 + 8 + 5]
    ground.network.reset(wire, "over")
    ground.send(wire, "a", b"into nothing")
    assert ground.network.sent_messages == [0, 1, 0, 2]


def test_a_message_has_the_frames_that_it_is_counted_with() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    for length in (1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 10 * FRAME_BYTES_MAX):
        before = sum(ground.network.sent_bytes)
        ground.send(wire, "a", bytes(length))
        assert sum(ground.network.sent_bytes) - before == frame_bytes(length)


# -- loss -----------------------------------------------------------------------------------------


def waits_of(count: int, loss: float, draws: int) -> Counter[float]:
    rng = Random(3)
    return Counter(wait_of_lost_s(count, loss, 1.0, rng) for _ in range(draws))


@pytest.mark.parametrize(("count", "loss"), [(1, 0.3), (1, 0.9), (10, 0.1), (700, 0.01), (700, 0.3)])
def test_packets_are_late_by_the_losses_of_the_most_unlucky_one(count: int, loss: float) -> None:
    draws = 20_000
    waits = waits_of(count, loss, draws)
    lost, wait_s, timeout_s = 0, 0.0, 1.0
    while waits:
        probability = (1 - loss ** (lost + 1)) ** count - (1 - loss**lost) ** count
        assert within(waits.pop(wait_s, 0), draws, probability), lost
        lost, wait_s, timeout_s = lost + 1, wait_s + timeout_s, min(2 * timeout_s, TIMEOUT_MAX_S)


def test_nothing_is_lost_without_loss() -> None:
    assert waits_of(1_000, 0.0, 100) == {0.0: 100}


def test_a_message_has_as_many_packets_as_it_fills() -> None:
    assert [segments(length) for length in (1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 1 << 20)] == [1, 1, 2, 725]


def test_a_lost_message_comes_after_the_time_outs_of_tcp() -> None:
    ground = Ground("a", "b", loss=0.5, retransmit_ms=250.0)
    wire = ground.connect("a", "b")
    waits: Counter[float] = Counter()
    for _ in range(1_000):
        begin_s = ground.schedule.now_s
        ground.send(wire, "a", b"x")
        ground.run(1_000.0)
        waits[ground.arrivals[-1][0] - begin_s - DELAY_S] += 1
    wait_s, timeout_s = 0.0, 0.25 + RTT_S
    for lost in range(16):
        assert within(waits.pop(wait_s, 0), 1_000, 0.5 ** (lost + 1))
        wait_s, timeout_s = wait_s + timeout_s, min(2 * timeout_s, TIMEOUT_MAX_S)
    assert not waits


def test_what_follows_a_lost_message_waits_for_it() -> None:
    ground = Ground("a", "b", loss=0.5)
    wire = ground.connect("a", "b")
    together = 0
    for number in range(200):
        ground.send(wire, "a", b"%d first" % number)
        ground.send(wire, "a", b"%d second" % number)
        ground.run(100.0)
        first, second = ground.got("b")[-2:]
        assert (first[1], second[1]) == (b"%d first" % number, b"%d second" % number)
        assert first[0] <= second[0]
        together += first[0] == second[0] > 100.0 * number + 1 + DELAY_S
    assert together > 50


def test_loss_alone_loses_nothing() -> None:
    ground = Ground("a", "b", loss=0.9)
    wire = ground.connect("a", "b")
    for number in range(500):
        ground.send(wire, "a", b"%d" % number)
    ground.run(100_000.0)
    assert [message for _, message in ground.got("b")] == [b"%d" % number for number in range(500)]


# -- harsher than any network ---------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth_mbit_s", [0.0, 1_000.0])
def test_drop_takes_its_share_of_the_messages(bandwidth_mbit_s: float) -> None:
    ground = Ground("a", "b", drop=0.25, bandwidth_mbit_s=bandwidth_mbit_s)
    wire = ground.connect("a", "b")
    for number in range(4_000):
        ground.send(wire, "a", b"%d" % number)
    ground.run(10.0)
    numbers = [int(message) for _, message in ground.got("b")]
    assert within(len(numbers), 4_000, 0.75)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("bandwidth_mbit_s", [0.0, 1_000.0])
def test_duplicates_follow_at_once(bandwidth_mbit_s: float) -> None:
    ground = Ground("a", "b", duplicate=0.25, bandwidth_mbit_s=bandwidth_mbit_s)
    wire = ground.connect("a", "b")
    for number in range(4_000):
        ground.send(wire, "a", b"%d" % number)
    ground.run(10.0)
    numbers = [int(message) for _, message in ground.got("b")]
    assert within(len(numbers) - 4_000, 4_000, 0.25)
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(4_000))
    assert max(Counter(numbers).values()) == 2


@pytest.mark.parametrize("bandwidth_mbit_s", [0.0, 1_000.0])
def test_all_is_dropped_or_twice(bandwidth_mbit_s: float) -> None:
    for name, copies in (("drop", 0), ("duplicate", 2)):
        ground = Ground("a", "b", bandwidth_mbit_s=bandwidth_mbit_s, **{name: 1.0})
        wire = ground.connect("a", "b")
        ground.send(wire, "a", b"x")
        ground.run(1.0)
        assert len(ground.got("b")) == copies


# -- connections that break -----------------------------------------------------------------------


def test_connections_break_at_their_rate() -> None:
    ground = Ground("a", "b", resets_per_link_per_h=360.0, notice_ms=0.0)
    for _ in range(1_000):
        ground.network.connect(ground.hosts["a"], ground.hosts["b"])
    for time_s, alive in ((5.0, 0.6065), (10.0, 0.3679), (20.0, 0.1353)):
        ground.run_to(time_s)
        assert within(sum(1 for _ in ground.network.wires()), 1_000, alive)


def test_a_reset_takes_what_is_under_way_and_both_ends_learn_of_it() -> None:
    ground = Ground("a", "b", notice_ms=250.0)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", b"early")
    ground.run(0.5)
    ground.send(wire, "a", b"late")
    ground.network.reset(wire, "connection reset")
    ground.run(0.2)
    assert list(ground.network.wires()) == [wire]
    ground.run(1.0)
    assert [message for _, message in ground.got("b")] == [b"early"]
    assert ground.ends == [(1.75, "a", "connection reset"), (1.75, "b", "connection reset")]
    assert list(ground.network.wires()) == []


def test_who_closes_is_told_nothing_and_the_other_after_the_last_message() -> None:
    ground = Ground("a", "b", jitter=(4.0, 4.0))
    wire = ground.connect("a", "b")
    ground.send(wire, "a", b"last")
    ground.run(0.25)
    ground.network.close(ground.hosts["a"], wire)
    ground.run(1.0)
    assert ground.got("b") == [(1 + 4 * DELAY_S, b"last")]
    assert ground.ends == [(1 + 4 * DELAY_S, "b", "closed by the peer")]
    wire = ground.connect("a", "b")
    ground.network.close(ground.hosts["b"], wire)
    begin_s = ground.schedule.now_s
    ground.run(1.0)
    assert ground.ends[1:] == [(begin_s + DELAY_S, "a", "closed by the peer")]


# -- rates ----------------------------------------------------------------------------------------


def test_a_megabyte_takes_a_second_at_8_mbit_s() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000_000))
    ground.run(5.0)
    ((at_s, message),) = ground.got("b")
    assert len(message) == 1_000_000
    assert at_s == pytest.approx(1 + frame_bytes(1_000_000) / 1e6 + DELAY_S)


def test_the_other_direction_is_free() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000_000))
    ground.send(wire, "b", b"x")
    ground.run(5.0)
    assert ground.got("a") == [(pytest.approx(1 + 5e-6 + DELAY_S), b"x")]


def test_all_links_of_a_host_share_its_uplink_in_turn() -> None:
    ground = Ground("a", "b", "c", "d", bandwidth_mbit_s=MBIT_8)
    wires = [ground.network.connect(ground.hosts["a"], ground.hosts[name]) for name in "bcd"]
    ground.run(1.0)
    for wire in wires:
        ground.send(wire, "a", bytes(500_000))
    ground.run(0.2)
    ground.send(wires[2], "a", b"ping", FrameClass.CONTROL)
    ground.run(5.0)
    ends = [max(at_s for at_s, _ in ground.got(name)) - 1 - DELAY_S for name in "bcd"]
    assert ends[-1] == pytest.approx(3 * frame_bytes(500_000) / 1e6, rel=1e-4)
    assert ends[-1] - ends[0] < 3 * WRITE_BYTES / 1e6
    ping_s = next(at_s for at_s, message in ground.got("d") if message == b"ping") - 1.2 - DELAY_S
    assert ping_s < 4 * WRITE_BYTES / 1e6  # behind one frame of each link


def test_control_overtakes_sync_at_the_next_frame() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    frame_s = WRITE_BYTES / 1e6
    ground.send(wire, "a", bytes(20 * FRAME_BYTES_MAX), FrameClass.SYNC)
    ground.run(1.5 * frame_s)  # the second frame is under way
    ground.send(wire, "a", b"ping", FrameClass.CONTROL)
    ground.run(5.0)
    (ping_s, ping), (sync_s, _) = ground.got("b")
    assert ping == b"ping"
    assert ping_s == pytest.approx(1 + 2 * frame_s + frame_bytes(4) / 1e6 + DELAY_S)
    assert sync_s == pytest.approx(1 + 20 * frame_s + frame_bytes(4) / 1e6 + DELAY_S)


def test_small_messages_of_one_moment_share_a_write() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    for number in range(5):
        ground.send(wire, "a", b"%d" % number)
    before = ground.schedule.events_run
    ground.run(1.0)
    assert [at_s for at_s, _ in ground.got("b")] == pytest.approx([1 + 5 * frame_bytes(1) / 1e6 + DELAY_S] * 5)
    assert ground.schedule.events_run - before < 8


@pytest.mark.parametrize(("frame_class", "length"), [(one, 40_000) for one in FrameClass])
def test_a_queue_holds_its_bound_and_tells_of_each_message_that_it_does_not_take(
    frame_class: FrameClass, length: int
) -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=0.001)
    wire = ground.connect("a", "b")
    fit = 2 + QUEUE_BYTES_MAX[frame_class] // length  # the first one does not count, and the last goes beyond
    for _ in range(fit + 3):
        ground.send(wire, "a", bytes(length), frame_class)
    forgets = frame_class is FrameClass.BROADCAST  # all that waits, at the first that is not taken
    drops = 1 if forgets else 3
    assert ground.drops == [(1.0, "a", frame_class)] * drops
    lane = wire.lanes[0]
    assert lane is not None
    assert lane.queue.held_bytes(frame_class) == (2 if forgets else fit) * length
    assert ground.network.sent_messages[frame_class] == fit + 3 - drops
    assert ground.network.sent_bytes[frame_class] == (fit + 3 - drops) * frame_bytes(length)


def test_who_closes_still_sends_control_and_nothing_else() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(100_000), FrameClass.SYNC)
    ground.send(wire, "a", b"goodbye", FrameClass.CONTROL)
    ground.network.close(ground.hosts["a"], wire)
    ground.run(5.0)
    at_s = pytest.approx(1 + frame_bytes(7) / 1e6 + DELAY_S)
    assert ground.got("b") == [(at_s, b"goodbye")]
    assert [end[:2] for end in ground.ends] == [(pytest.approx(1 + frame_bytes(7) / 1e6 + DELAY_S), "b")]


def test_who_closes_waits_no_longer_than_a_moment() -> None:
    ground = Ground("a", "b")
    ground.hosts["b"].read_bytes_s = 1.0
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000), FrameClass.CONTROL)
    ground.run(0.25)
    ground.send(wire, "a", b"goodbye", FrameClass.CONTROL)
    ground.network.close(ground.hosts["a"], wire)
    ground.run(2_000.0)
    assert [name for _, name, _ in ground.ends] == ["b"]
    assert ground.ends[0][0] == ground.got("b")[0][0] == pytest.approx(1 + frame_bytes(1_000) + DELAY_S)


def test_a_slow_reader_slows_no_other() -> None:
    ground = Ground("a", "b", "c")
    ground.hosts["b"].read_bytes_s = 1_000.0
    slow, fast = (ground.network.connect(ground.hosts["a"], ground.hosts[name]) for name in "bc")
    ground.run(1.0)
    for _ in range(3):
        ground.send(slow, "a", bytes(996))
        ground.run(0.001)
        ground.send(fast, "a", bytes(996))
    ground.send(slow, "b", b"back")
    ground.run(10.0)
    assert [at_s for at_s, _ in ground.got("b")] == pytest.approx([2 + DELAY_S, 4 + DELAY_S, 4 + DELAY_S])
    assert [at_s for at_s, _ in ground.got("c")] == pytest.approx([1.001 + DELAY_S, 1.002 + DELAY_S, 1.003 + DELAY_S])
    assert [at_s for at_s, _ in ground.got("a")] == pytest.approx([1.003 + DELAY_S])


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    ground = Ground("a", "b")
    ground.hosts["b"].read_bytes_s = 100.0
    wire = ground.connect("a", "b")
    for _ in range(1_000):
        ground.send(wire, "a", bytes(1_000), FrameClass.CONTROL)
    assert len(ground.drops) == 1_000 - QUEUE_BYTES_MAX[FrameClass.CONTROL] // 1_000 - 2


def test_a_reader_that_is_fast_again_needs_no_queue() -> None:
    ground = Ground("a", "b")
    ground.hosts["b"].read_bytes_s = 1_000.0
    wire = ground.connect("a", "b")
    for number in range(30):
        ground.send(wire, "a", b"%02d" % number * 100)
    ground.hosts["b"].read_bytes_s = None
    ground.send(wire, "a", b"last")
    ground.run(10.0)
    assert [message[:2] for _, message in ground.got("b")] == [b"%02d" % number for number in range(30)] + [b"la"]
    assert wire.lanes == [None, None]
    ground.send(wire, "a", b"direct")
    ground.run(1.0)
    assert ground.got("b")[-1] == (11 + DELAY_S, b"direct")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    loss=st.sampled_from((0.0, 0.3)),
    bandwidth_mbit_s=st.sampled_from((0.0, 0.1, 100.0)),
    reads=st.sampled_from((None, 500.0)),
    lengths=st.lists(st.sampled_from((1, 100, 40_000)), min_size=1, max_size=30),
)
def test_whatever_waits_arrives_once_and_in_the_order_of_its_class(
    seed: int, loss: float, bandwidth_mbit_s: float, reads: float | None, lengths: list[int]
) -> None:
    ground = Ground("a", "b", seed=seed, loss=loss, bandwidth_mbit_s=bandwidth_mbit_s, jitter=(0.5, 2.0))
    wire, rng = ground.connect("a", "b"), Random(seed)
    sent: dict[FrameClass, list[bytes]] = {one: [] for one in FrameClass}
    cuts = []
    for number, length in enumerate(lengths):
        frame_class = rng.choice(list(FrameClass))
        message = bytes([frame_class, number]) + bytes(length)
        ground.send(wire, "a", message, frame_class)
        sent[frame_class].append(message)
        match rng.randrange(6):
            case 0:
                ground.hosts["b"].read_bytes_s = reads
            case 1:
                ground.hosts["b"].read_bytes_s = None
            case 2:
                cuts.append(ground.cut("a", "b", silent=True, one_way=rng.random() < 0.5))
            case 3 if cuts:
                ground.network.mend(cuts.pop())
        ground.run(rng.choice((0.0, 0.01, 1.0)))
    ground.network.mend_all()
    ground.run(100_000.0)
    lost = Counter(frame_class for _, _, frame_class in ground.drops)
    for frame_class, messages in sent.items():
        got = [message for _, message in ground.got("b") if message[0] == frame_class]
        if frame_class is not FrameClass.BROADCAST or not lost[frame_class]:  # else what had waited is forgotten too
            assert len(got) == len(messages) - lost[frame_class]
        assert got == [message for message in messages if message in got]
    assert not any(wire.blocked)


# -- dialling -------------------------------------------------------------------------------------


def test_a_dial_takes_two_round_trips_and_half_a_one_more_at_the_other_end() -> None:
    ground = Ground("a", "b")
    ground.dial("a", "b")
    ground.run(3.0)
    assert ground.opens == [(2 * RTT_S, "a", True, "b:1"), (2 * RTT_S + DELAY_S, "b", False, "a:0")]
    assert ground.refusals == []


def test_what_is_said_at_once_arrives_after_the_other_end_knows_of_the_connection() -> None:
    ground = Ground("a", "b", jitter=(0.0, 0.1))
    wire = ground.network.connect(ground.hosts["a"], ground.hosts["b"])
    ground.send(wire, "a", b"hello")
    ground.run(1.0)
    assert ground.got("b") == [(DELAY_S, b"hello")]
    assert ground.opens[-1][0] == DELAY_S


def test_a_machine_without_the_process_refuses_after_one_round_trip() -> None:
    ground = Ground("a", "b")
    ground.crash("b")
    ground.dial("a", "b")
    ground.run(5.0)
    assert ground.refusals == [(RTT_S, "a", "b:1", "connection refused")]


@pytest.mark.parametrize("case", ["nobody", "machine gone", "silent cut", "one-way cut", "paused", "too far"])
def test_a_dial_without_an_answer_ends_at_its_limit(case: str) -> None:
    ground = Ground("a", "b", dial_timeout_s=2.0, delay=lambda one, other: 0.51 if case == "too far" else DELAY_S)
    match case:
        case "machine gone":
            ground.crash("b", silent=True)
        case "silent cut":
            ground.cut("a", "b", silent=True)
        case "one-way cut":
            ground.cut("b", "a", silent=True, one_way=True)
        case "paused":
            ground.pause("b")
    ground.dial("a", "nobody" if case == "nobody" else "b")
    ground.run(10.0)
    assert [(at_s, reason) for at_s, _, _, reason in ground.refusals] == [(2.0, "no answer within the limit")]
    assert ground.opens == []


def test_a_cut_that_is_not_silent_answers_at_once() -> None:
    ground = Ground("a", "b")
    ground.cut("a", "b")
    ground.dial("a", "b")
    ground.run(5.0)
    assert ground.refusals == [(RTT_S, "a", "b:1", "unreachable")]


def test_a_paused_process_that_goes_on_in_time_is_reached() -> None:
    ground = Ground("a", "b")
    ground.pause("b")
    ground.dial("a", "b")
    ground.run(1.0)
    ground.resume("b")
    ground.run(5.0)
    assert ground.opens == [(1 + RTT_S, "a", True, "b:1"), (1 + RTT_S + DELAY_S, "b", False, "a:0")]
    assert ground.refusals == []


def test_a_paused_process_that_goes_on_too_late_is_not() -> None:
    ground = Ground("a", "b")
    ground.pause("b")
    ground.dial("a", "b")
    ground.run(3.5)
    ground.resume("b")
    ground.run(5.0)
    assert ground.opens == []
    assert len(ground.refusals) == 1


def test_a_process_that_has_restarted_during_a_dial_knows_nothing_of_it() -> None:
    ground = Ground("a", "b")
    ground.dial("a", "b")
    ground.run(1.5 * RTT_S)
    ground.crash("b")
    ground.boot("b")
    ground.run(5.0)
    assert ground.refusals == [(2 * RTT_S, "a", "b:1", "connection refused")]


def test_a_process_that_has_dialled_and_is_gone_is_told_nothing() -> None:
    ground = Ground("a", "b")
    ground.dial("a", "b")
    ground.crash("a")
    ground.boot("a")
    ground.run(5.0)
    assert (ground.opens, ground.refusals) == ([], [])


def test_admission_is_a_bucket_of_tokens() -> None:
    ground = Ground("a", "b", accepts_per_s=2.0, accepts_burst=3.0)
    for _ in range(5):
        ground.dial("a", "b")
    ground.run(2.0)
    assert len([one for one in ground.opens if one[1] == "b"]) == 3
    assert ground.refusals == [(RTT_S, "a", "b:1", "the peer admits no more connections now")] * 2
    ground.run_to(RTT_S + 1.0)  # two tokens have come since
    for _ in range(5):
        ground.dial("a", "b")
    ground.run(2.0)
    assert len([one for one in ground.opens if one[1] == "b"]) == 3 + 2
    ground.crash("b")
    ground.boot("b")  # a new process has a full bucket
    for _ in range(5):
        ground.dial("a", "b")
    ground.run(2.0)
    assert len([one for one in ground.opens if one[1] == "b"]) == 3 + 2 + 3


def test_a_lost_packet_of_a_dial_costs_a_second_and_more() -> None:
    ground = Ground("a", "b", loss=0.3, dial_timeout_s=1_000.0)
    for _ in range(500):
        ground.dial("a", "b")
        ground.run(1_000.0)
    took = [at_s % 1_000 - 2 * RTT_S for at_s, name, *_ in ground.opens if name == "a"]
    assert len(took) == 500
    packets_of_tcp, packets_of_tls = 2, 4
    assert within(sum(one == 0 for one in took), 500, 0.7 ** (packets_of_tcp + packets_of_tls))
    assert within(sum(one >= 1 for one in took), 500, 1 - 0.7**2 * (1 - 0.3**2) ** 4)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_every_dial_ends_once_whatever_happens_meanwhile(seed: int) -> None:
    rng = Random(seed)
    ground = Ground("a", "b", "c", seed=seed, loss=rng.choice((0.0, 0.3)), accepts_burst=2.0)
    dials, cuts = 0, []
    for _ in range(20):
        match rng.randrange(8):
            case 0 | 1 | 2:
                ground.dial("a", rng.choice("bc"))
                dials += 1
            case 3:
                ground.crash("b", silent=rng.random() < 0.5)
            case 4 if ground.hosts["b"].node is None:
                ground.boot("b")
            case 5 if ground.hosts["b"].node is not None:
                (ground.pause if ground.hosts["b"].paused is None else ground.resume)("b")
            case 6:
                cuts.append(ground.cut("a", "b", silent=rng.random() < 0.5, one_way=rng.random() < 0.5))
            case 7 if cuts:
                ground.network.mend(cuts.pop())
        ground.run(rng.choice((0.0, 0.1, 1.0)))
    ground.run(10.0)
    opened = [one for one in ground.opens if one[1] == "a"]
    assert len(opened) + len(ground.refusals) == dials


# -- machines and processes that go ---------------------------------------------------------------


def test_a_process_that_crashes_is_told_of_by_its_machine() -> None:
    ground = Ground("a", "b", notice_ms=250.0)
    wire = ground.connect("a", "b")
    ground.send(wire, "b", b"under way")
    ground.crash("b")
    ground.run(1.0)
    assert ground.ends == [(1.25, "a", "the peer has crashed")]
    assert ground.arrivals == []


def test_of_a_machine_that_crashes_nobody_is_told() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.send(wire, "b", b"under way")
    ground.crash("b", silent=True)
    ground.send(wire, "a", b"in vain")
    ground.run(100.0)
    assert ground.ends == []
    assert ground.got("a") == [(1 + DELAY_S, b"under way")]
    assert ground.got("b") == []
    assert list(ground.network.wires()) == [wire]
    ground.network.close(ground.hosts["a"], wire)
    ground.run(1.0)
    assert list(ground.network.wires()) == []


def test_a_machine_that_is_back_answers_a_connection_of_before_by_a_reset() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.crash("b", silent=True)
    ground.run(1.0)
    ground.boot("b")
    ground.run(100.0)
    assert ground.ends == []  # nobody has asked
    ground.send(wire, "a", b"x")
    ground.run(1.0)
    assert ground.ends == [(102 + RTT_S, "a", "connection reset")]
    assert ground.got("b") == []


def test_what_was_sent_to_a_machine_that_was_gone_asks_it_again_once_it_is_back() -> None:
    ground = Ground("a", "b", retransmit_ms=250.0)
    timeout_s = 0.25 + RTT_S
    wire = ground.connect("a", "b")
    ground.crash("b", silent=True)
    ground.send(wire, "a", b"in vain")
    ground.run_to(1 + 5 * timeout_s)  # sent again after 1, 3 and 7 time-outs
    ground.boot("b")
    ground.run(100.0)
    assert ground.ends == [(1 + 7 * timeout_s + RTT_S, "a", "connection reset")]


@pytest.mark.parametrize("bandwidth_mbit_s", [0.0, 100.0])
def test_a_queue_to_a_machine_that_is_back_is_answered_too(bandwidth_mbit_s: float) -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=bandwidth_mbit_s)
    wire = ground.connect("a", "b")
    for _ in range(10):
        ground.send(wire, "a", bytes(10_000))
    ground.crash("b", silent=True)
    ground.boot("b")
    ground.send(wire, "a", b"x")
    ground.run(10.0)
    assert [(name, reason) for _, name, reason in ground.ends] == [("a", "connection reset")]
    assert list(ground.network.wires()) == []


def test_a_host_that_restarts_sends_at_its_rate_again() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000_000))
    ground.run(0.1)
    ground.crash("a")
    ground.boot("a")
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000_000))
    begin_s = ground.schedule.now_s
    ground.run(5.0)
    assert [at_s for at_s, _ in ground.got("b")] == [pytest.approx(begin_s + frame_bytes(1_000_000) / 1e6 + DELAY_S)]


# -- cuts -----------------------------------------------------------------------------------------


def test_a_cut_breaks_what_crosses_it_and_nothing_else() -> None:
    ground = Ground("a", "b", "c", "d", "e", notice_ms=250.0)
    for one, other in ("ab", "ac", "cd", "ae", "ce"):
        ground.network.connect(ground.hosts[one], ground.hosts[other])
    ground.run(1.0)
    ground.cut("ab", "cd")  # e is on no side
    ground.run(1.0)
    assert ground.ends == [(1.25, name, "the network is partitioned") for name in "ac"]
    left = sorted((wire.ends[0].name, wire.ends[1].name) for wire in ground.network.wires())
    assert left == [("a", "b"), ("a", "e"), ("c", "d"), ("c", "e")]
    assert [ground.network.reachable(ground.hosts["a"], ground.hosts[name]) for name in "bce"] == [True, False, True]


def test_a_silent_cut_keeps_what_is_sent_until_it_ends() -> None:
    ground = Ground("a", "b", retransmit_ms=250.0)
    timeout_s = 0.25 + RTT_S
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True)
    for number in range(3):
        ground.send(wire, "a", b"%d" % number, FrameClass.SYNC)
        ground.run(0.5)
    ground.run_to(1 + 4 * timeout_s)
    assert (ground.arrivals, ground.ends) == ([], [])
    ground.network.mend(cut)
    ground.run(0.5)
    ground.send(wire, "a", b"3", FrameClass.SYNC)  # behind what waits for the next attempt
    ground.send(wire, "b", b"back")  # in that direction nothing has waited
    ground.run(100.0)
    again_s = 1 + 7 * timeout_s
    assert ground.got("b") == [(again_s + DELAY_S, b"%d" % number) for number in range(4)]
    assert ground.got("a") == [(1.5 + 4 * timeout_s + DELAY_S, b"back")]
    assert wire.lanes == [None, None]


def test_a_cut_over_which_nothing_was_sent_leaves_nothing_behind() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True)
    ground.run(100.0)
    ground.network.mend(cut)
    ground.send(wire, "a", b"x")
    ground.run(1.0)
    assert ground.got("b") == [(101 + DELAY_S, b"x")]


def test_what_is_tried_again_is_tried_at_doubled_distances_up_to_the_longest() -> None:
    attempts = [next_attempt_s(10.0, 1.0, now_s) for now_s in (10.0, 10.5, 11.0, 11.5, 14.0, 200.0, 300.0, 500.0)]
    assert attempts == [10.0, 11.0, 11.0, 13.0, 17.0, 257.0, 377.0, 617.0]


def test_only_packets_from_the_first_side_vanish_in_a_one_way_cut() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True, one_way=True)
    ground.send(wire, "a", b"in vain")
    ground.send(wire, "b", b"heard")
    ground.run(10.0)
    assert ground.got("b") == []
    assert ground.got("a") == [(1 + DELAY_S, b"heard")]
    ground.network.mend(cut)
    ground.run(100.0)
    assert [message for _, message in ground.got("b")] == [b"in vain"]


def test_what_is_not_acknowledged_fills_a_window_and_then_stalls_too() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True, one_way=True)
    size = 1_448
    for number in range(13):
        ground.send(wire, "b", b"%02d" % number + bytes(size - 2))
    ground.run(10.0)
    assert len(ground.got("a")) == WINDOW_BYTES // size == 10
    ground.network.mend(cut)
    ground.run(100.0)
    assert [message[:2] for _, message in ground.got("a")] == [b"%02d" % number for number in range(13)]


def test_cuts_that_overlap_end_one_by_one() -> None:
    ground = Ground("a", "b", "c")
    wire = ground.connect("a", "b")
    first = ground.cut("a", "bc", silent=True)
    second = ground.cut("b", "ac", silent=True)
    ground.send(wire, "a", b"x")
    ground.network.mend(first)
    ground.run(100.0)
    assert ground.arrivals == []
    ground.network.mend(second)
    ground.run(1_000.0)
    assert [message for _, message in ground.got("b")] == [b"x"]


def test_a_link_that_is_cut_again_before_tcp_has_tried_stays_stalled() -> None:
    ground = Ground("a", "b", retransmit_ms=250.0)
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True)
    ground.send(wire, "a", b"x")
    ground.run(2.0)  # attempts at 1.5, 2.5, 4.5, 8.5
    ground.network.mend(cut)
    ground.run(1.0)
    ground.network.cut(cut)
    ground.run(1.0)
    assert ground.got("b") == []
    ground.network.mend(cut)
    ground.run(10.0)
    assert ground.got("b") == [(8.5 + DELAY_S, b"x")]


def test_who_gives_up_behind_a_silent_cut_is_missed_only_when_it_ends() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True)
    ground.send(wire, "b", b"x")
    ground.network.close(ground.hosts["a"], wire)
    ground.run(10.0)
    assert ground.ends == []
    ground.network.mend(cut)
    ground.run(100.0)
    assert [(name, reason) for _, name, reason in ground.ends] == [("b", "connection reset")]
    assert ground.arrivals == []


@pytest.mark.parametrize("silent", [False, True])
def test_who_crashes_behind_a_silent_cut_is_missed_only_when_it_ends(silent: bool) -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    cut = ground.cut("a", "b", silent=True)
    ground.crash("a", silent=silent)
    ground.send(wire, "b", b"x")
    ground.run(10.0)
    assert ground.ends == []
    ground.network.mend(cut)
    ground.run(100.0)
    told = [(name, reason) for _, name, reason in ground.ends]
    assert told == ([] if silent else [("b", "connection reset")])
    ground.boot("a")
    ground.run(200.0)
    assert [(name, reason) for _, name, reason in ground.ends] == [("b", "connection reset")]


def test_what_waits_at_a_cut_is_bounded_as_in_the_agent() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.cut("a", "b", silent=True)
    for _ in range(300):
        ground.send(wire, "a", bytes(1_024), FrameClass.CONTROL)
    assert len(ground.drops) == 300 - 256 - 2


# -- pauses ---------------------------------------------------------------------------------------


def test_what_comes_to_a_paused_process_waits_for_it_in_order_even_past_the_end_of_the_connection() -> None:
    ground = Ground("a", "b")
    wire = ground.connect("a", "b")
    ground.pause("b")
    ground.send(wire, "a", b"first")
    ground.run(0.5)
    ground.send(wire, "a", b"second")
    ground.network.close(ground.hosts["a"], wire)
    ground.run(10.0)
    assert (ground.arrivals, ground.ends) == ([], [])
    ground.resume("b")
    assert ground.got("b") == [(11.5, b"first"), (11.5, b"second")]
    assert ground.ends == [(11.5, "b", "closed by the peer")]


def test_a_paused_process_sends_nothing_of_what_waits() -> None:
    ground = Ground("a", "b", bandwidth_mbit_s=MBIT_8)
    wire = ground.connect("a", "b")
    ground.send(wire, "a", bytes(1_000_000))
    ground.run(0.5)
    ground.pause("a")
    ground.run(10.0)
    assert ground.got("b") == []
    ground.resume("a")
    ground.run(10.0)
    assert [at_s for at_s, _ in ground.got("b")] == [
        pytest.approx(11 + frame_bytes(1_000_000) / 1e6, abs=WRITE_BYTES / 1e6 + DELAY_S)
    ]


# -- the shipped agent ----------------------------------------------------------------------------


def test_the_constants_of_the_agent_are_those_of_the_model() -> None:
    limits, conditions = TransportLimits(), NetworkConditions()
    assert conditions.dial_timeout_s == limits.connect_s
    assert (conditions.accepts_per_s, conditions.accepts_burst) == (limits.accepts_per_s, limits.accepts_burst)
    assert simulated.WRITE_BYTES == shipped_link.WRITE_BYTES
    assert simulated.CLOSE_FLUSH_S == shipped_link.CLOSE_FLUSH_S
