"""Frames: round trips however the stream is cut, refusals before allocation, and the order of leaving."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.errors import InvalidInput, LimitExceeded, ProtocolViolation
from gossipconf.model.limits import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX
from gossipconf.protocol.frames import (
    HEADER_BYTES,
    QUEUE_BYTES_MAX,
    STALE_S,
    FrameClass,
    FrameDecoder,
    FrameQueue,
    encode_frames,
)

CLASSES = st.sampled_from(FrameClass)
# Few long messages (they cost time), many short ones; the edges of a frame always among them.
LENGTHS = st.one_of(
    st.integers(1, 40),
    st.sampled_from([FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 2 * FRAME_BYTES_MAX, 40_000]),
)


def body(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(stream) + 1) for point in points), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CLASSES, LENGTHS), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 1 << 20), max_size=30),
)
def test_any_split_of_any_interleaving_round_trips(
    sizes: list[tuple[FrameClass, int]], order: random.Random, points: list[int]
) -> None:
    sent: dict[FrameClass, list[bytes]] = {each: [] for each in FrameClass}
    frames: dict[FrameClass, list[bytes]] = {each: [] for each in FrameClass}
    for number, (frame_class, length) in enumerate(sizes):
        message = body(length, number)
        sent[frame_class].append(message)
        frames[frame_class] += encode_frames(frame_class, message)
    stream = bytearray()
    while waiting := [each for each in FrameClass if frames[each]]:
        stream += frames[order.choice(waiting)].pop(0)

    decoder = FrameDecoder()
    received: dict[FrameClass, list[bytes]] = {each: [] for each in FrameClass}
    for piece in cut(bytes(stream), points):
        for frame_class, message in decoder.feed(piece):
            received[frame_class].append(message)

    assert received == sent
    assert decoder.held_bytes == 0


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_garbage_raises_only_protocol_violation(pieces: list[bytes]) -> None:
    decoder = FrameDecoder()
    violated = False
    for piece in pieces:
        try:
            messages = decoder.feed(piece)
        except ProtocolViolation:
            violated = True
        else:
            assert not violated, "a decoder that has refused must go on refusing"
            assert all(message for _, message in messages)


def test_wire_bytes_are_fixed() -> None:
    """A change here is a change of the wire: agents of different versions stop understanding each other."""
    assert list(encode_frames(FrameClass.SYNC, b"abc")) == [b"\x03\x00\x00\x03abc"]
    first, last = encode_frames(FrameClass.BROADCAST, b"x" * (FRAME_BYTES_MAX + 1))
    assert first[:HEADER_BYTES] == b"\x81\x00\x1f\xfc"
    assert last == b"\x01\x00\x00\x01x"


def test_largest_message_round_trips_byte_identical() -> None:
    message = body(MESSAGE_BYTES_MAX)
    decoder = FrameDecoder()
    received = [each for frame in encode_frames(FrameClass.SYNC, message) for each in decoder.feed(frame)]
    assert received == [(FrameClass.SYNC, message)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x02\xff\xff\xff", "16777215 bytes"),
        ((FRAME_BYTES_MAX + 1).to_bytes(4, "big"), f"{FRAME_BYTES_MAX + 1} bytes"),
        (b"\x00\x00\x00\x00", "empty control frame"),
        (b"\x83\x00\x00\x00", "empty sync frame"),
        (b"\x04\x00\x00\x01x", "reserved bits"),
        (b"GET / HTTP/1.1\r\n", "HTTP request"),
        (b"\x16\x03\x01\x02", "TLS handshake"),
        (b"SSH-2.0-OpenSSH_9.9", "SSH"),
    ],
)
def test_strange_headers_are_refused_in_words_and_for_ever(data: bytes, words: str) -> None:
    decoder = FrameDecoder()
    with pytest.raises(ProtocolViolation, match=words):
        decoder.feed(data)
    with pytest.raises(ProtocolViolation, match=words):
        decoder.feed(b"\x00\x00\x00\x01x")


def test_message_above_limit_is_refused_by_the_header_that_crosses_it() -> None:
    decoder = FrameDecoder()
    fragment = (1 << 31 | 3 << 24 | FRAME_BYTES_MAX).to_bytes(4, "big") + bytes(FRAME_BYTES_MAX)
    whole = MESSAGE_BYTES_MAX // FRAME_BYTES_MAX
    for _ in range(whole):
        assert decoder.feed(fragment) == []
    assert decoder.held_bytes == whole * FRAME_BYTES_MAX
    with pytest.raises(ProtocolViolation, match=f"reaches {(whole + 1) * FRAME_BYTES_MAX} bytes"):
        decoder.feed(fragment[:HEADER_BYTES])
    assert decoder.held_bytes <= HEADER_BYTES


def test_a_claimed_length_allocates_nothing() -> None:
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        for frame_class in FrameClass:
            decoder.feed((1 << 31 | frame_class << 24 | 1).to_bytes(4, "big") + b"x")
        decoder.feed(FRAME_BYTES_MAX.to_bytes(4, "big"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < FRAME_BYTES_MAX
    assert decoder.held_bytes == len(FrameClass)


@pytest.mark.parametrize("frame_class", FrameClass)
def test_illegal_messages_are_refused_at_the_call(frame_class: FrameClass) -> None:
    for encode in (encode_frames, lambda one, message: FrameQueue().put(one, message, 0.0)):
        with pytest.raises(InvalidInput, match="empty message"):
            encode(frame_class, b"")
        with pytest.raises(LimitExceeded, match=str(MESSAGE_BYTES_MAX + 1)):
            encode(frame_class, bytes(MESSAGE_BYTES_MAX + 1))


def decoded(stream: bytes) -> list[tuple[FrameClass, bytes]]:
    return FrameDecoder().feed(stream)


def drained(queue: FrameQueue, bytes_max: int = 8_192) -> list[bytes]:
    batches = []
    while batch := queue.take(bytes_max):
        batches.append(batch)
    return batches


def test_control_overtakes_a_half_sent_sync_message() -> None:
    queue = FrameQueue()
    long = body(5 * FRAME_BYTES_MAX)
    assert queue.put(FrameClass.SYNC, long, 0.0)
    started = queue.take()
    assert queue.put(FrameClass.ACK, b"ack", 0.0)
    assert queue.put(FrameClass.BROADCAST, b"change", 0.0)
    assert queue.put(FrameClass.CONTROL, b"ping", 0.0)
    received = decoded(started + b"".join(drained(queue)))
    assert received == [
        (FrameClass.CONTROL, b"ping"),
        (FrameClass.BROADCAST, b"change"),
        (FrameClass.ACK, b"ack"),
        (FrameClass.SYNC, long),
    ]


def test_small_frames_share_a_batch_and_full_ones_do_not_exceed_it() -> None:
    queue = FrameQueue()
    for number in range(10):
        queue.put(FrameClass.CONTROL, b"%d" % number, 0.0)
    assert len(drained(queue)) == 1
    queue.put(FrameClass.BROADCAST, body(3 * FRAME_BYTES_MAX), 0.0)
    assert [len(batch) for batch in drained(queue)] == [8_192] * 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.tuples(CLASSES, LENGTHS), st.none()), max_size=20), st.integers(1, 40_000))
def test_queue_delivers_each_class_in_order_and_counts_its_bytes(
    steps: list[tuple[FrameClass, int] | None], bytes_max: int
) -> None:
    queue = FrameQueue()
    accepted: dict[FrameClass, list[bytes]] = {each: [] for each in FrameClass}
    stream = bytearray()
    for number, step in enumerate(steps):
        if step is None:
            stream += queue.take(bytes_max)
        elif queue.put(step[0], message := body(step[1], number), 0.0):
            accepted[step[0]].append(message)
        assert queue.held_bytes() == sum(queue.held_bytes(each) for each in FrameClass)
    stream += b"".join(drained(queue, bytes_max))
    received: dict[FrameClass, list[bytes]] = {each: [] for each in FrameClass}
    for frame_class, message in decoded(bytes(stream)):
        received[frame_class].append(message)
    assert received == accepted
    assert queue.held_bytes() == 0


@pytest.mark.parametrize("frame_class", FrameClass)
def test_a_full_class_refuses_and_leaves_the_others_alone(frame_class: FrameClass) -> None:
    queue = FrameQueue()
    bound = QUEUE_BYTES_MAX[frame_class]
    part = bytes(bound // 4)
    assert [queue.put(frame_class, part, 0.0) for _ in range(7)] == [True] * 6 + [False]
    forgotten = frame_class is FrameClass.BROADCAST
    assert queue.held_bytes(frame_class) == (0 if forgotten else 6 * len(part))
    assert queue.bounded_bytes(frame_class) == (0 if forgotten else 4 * len(part))
    others = [each for each in FrameClass if each is not frame_class]
    assert all(queue.put(each, b"x", 0.0) for each in others)


@pytest.mark.parametrize("frame_class", FrameClass)
def test_the_largest_message_and_small_ones_hold_each_other_up_in_no_order(frame_class: FrameClass) -> None:
    for sizes in ((MESSAGE_BYTES_MAX, 1, 1), (1, 1, MESSAGE_BYTES_MAX)):
        queue = FrameQueue()
        assert all(queue.put(frame_class, bytes(size), 0.0) for size in sizes)


def test_dropping_keeps_one_class_whole() -> None:
    queue = FrameQueue()
    queue.put(FrameClass.SYNC, body(3 * FRAME_BYTES_MAX), 0.0)
    queue.take()
    queue.put(FrameClass.CONTROL, b"goodbye", 0.0)
    queue.drop_all_but(FrameClass.CONTROL)
    assert queue.held_bytes() == len(b"goodbye")
    assert decoded(b"".join(drained(queue))) == [(FrameClass.CONTROL, b"goodbye")]


# -- pushes ---------------------------------------------------------------------------------------

PUSH = FrameClass.BROADCAST
KIB = bytes(1024)


def test_a_burst_waits_for_a_link_that_is_only_far() -> None:
    """500 changes of 1 KiB within a round trip, none of which has left yet, and one of the largest before them."""
    queue = FrameQueue()
    assert queue.put(PUSH, bytes(MESSAGE_BYTES_MAX), 0.0)
    assert all(queue.put(PUSH, KIB, 0.15 * number / 500) for number in range(500))
    assert sum(map(len, drained(queue))) > 500 * len(KIB)


def test_pushes_that_do_not_fit_are_forgotten_until_the_queue_has_been_empty() -> None:
    queue = FrameQueue()
    fit = QUEUE_BYTES_MAX[PUSH] // len(KIB) + 2
    assert all(queue.put(PUSH, KIB, 0.0) for _ in range(fit))
    assert not queue.put(PUSH, KIB, 0.0)
    assert queue.held_bytes() == 0
    assert queue.put(FrameClass.SYNC, b"answer", 0.0)
    assert not queue.put(PUSH, KIB, 0.1), "the answer goes first"
    assert decoded(b"".join(drained(queue))) == [(FrameClass.SYNC, b"answer")]
    assert queue.put(PUSH, KIB, 0.2)


def test_old_news_is_forgotten_though_there_is_room() -> None:
    queue = FrameQueue()
    assert queue.put(PUSH, b"1", 0.0)
    assert queue.put(PUSH, b"2", STALE_S - 0.01)
    assert not queue.put(PUSH, b"3", STALE_S)
    assert queue.held_bytes() == 0
    assert queue.put(PUSH, b"4", STALE_S)


def test_a_push_that_is_half_sent_is_sent_to_its_end() -> None:
    """And does not count as waiting, however long it takes."""
    queue = FrameQueue()
    large = body(5 * FRAME_BYTES_MAX)
    queue.put(PUSH, large, 0.0)
    sent = queue.take()
    assert queue.put(PUSH, b"next", 10 * STALE_S)
    assert not queue.put(PUSH, b"late", 11 * STALE_S)
    assert queue.held_bytes() == 4 * FRAME_BYTES_MAX
    assert decoded(sent + b"".join(drained(queue))) == [(PUSH, large)]


def test_dropping_all_pushes_forgets_when_they_came() -> None:
    queue = FrameQueue()
    queue.put(PUSH, b"1", 0.0)
    queue.drop_all_but(FrameClass.CONTROL)
    assert queue.put(PUSH, b"2", 2 * STALE_S)
    assert queue.put(PUSH, b"3", 2 * STALE_S)
