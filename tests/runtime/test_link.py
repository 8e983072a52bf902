"""One link over memory streams."""

from __future__ import annotations

from collections import Counter

import trio
import trio.testing

from gossipconf.protocol.frames import FrameClass, encode_frames
from gossipconf.runtime.link import READ_BYTES, Link
from gossipconf.runtime.pki import PeerIdentity


async def test_a_read_full_of_messages_leaves_others_their_turns() -> None:
    """Each may cost a signature check: hundreds in one go would hold up every other link and reader."""
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(1, PeerIdentity("b", bytes(32), 0), outbound=False, address="b:1")
    data = b"".join(encode_frames(FrameClass.SYNC, b"x")) * 300
    assert len(data) < READ_BYTES
    turns = 0
    seen: list[int] = []

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    def received(link: Link, frame_class: FrameClass, message: bytes) -> None:
        seen.append(turns)
        if len(seen) == 300:
            link.close("enough")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await theirs.send_all(data)
            await link.serve(ours, received)
            nursery.cancel_scope.cancel()
    assert len(seen) == 300
    assert max(Counter(seen).values()) <= 2  # trio's order within a round is random, but nobody waits for two rounds


async def test_nothing_of_a_read_is_received_after_close() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(1, PeerIdentity("b", bytes(32), 0), outbound=False, address="b:1")
    seen: list[bytes] = []

    def received(link: Link, frame_class: FrameClass, message: bytes) -> None:
        seen.append(message)
        link.close("enough")

    await theirs.send_all(b"".join(encode_frames(FrameClass.SYNC, b"x")) * 3)
    with trio.fail_after(30):
        await link.serve(ours, received)
    assert seen == [b"x"]
