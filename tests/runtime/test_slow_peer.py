"""A peer that stops reading, over real sockets: it fills no memory, delays nobody, and comes by what it has missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.model.change import Change
from gossipconf.model.limits import MESSAGE_BYTES_MAX
from gossipconf.protocol.frames import QUEUE_BYTES_MAX, FrameClass
from gossipconf.protocol.messages import Batch, Hinted, Hints, Ping, Pong

from .cluster import Site, fleet_of, no_complaints, publish, raw_peer

VALUE_BYTES = 500_000
CHANGES = 60
"""30 MB: more than the kernel's buffers and the queue's bound together."""


async def test_a_peer_that_stops_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(tmp_path / "site")
    with no_complaints(caplog):
        async with fleet_of(site, tmp_path) as fleet:
            agent = await fleet.start("mmm")
            honest = await fleet.start("honest", agent)
            await fleet.linked(agent, honest)
            async with raw_peer(site, "zzz", agent) as peer:
                await peer.greet()
                await fleet.until(lambda: "zzz" in {link.node_id for link in agent.node.links()})
                (number,) = (link.id for link in agent.node.links() if link.node_id == "zzz")
                link = agent._links[number]
                most_bytes = 0
                for number in range(CHANGES):
                    await peer.send(Ping(number))  # it lives, or it would be missed before long
                    last = await publish(agent, "key", b"%d" % number + bytes(VALUE_BYTES))
                    most_bytes = max(most_bytes, link.queue_bytes())
                await fleet.settled(agent, honest)
                assert VALUE_BYTES < most_bytes <= QUEUE_BYTES_MAX[FrameClass.BROADCAST] + 2 * VALUE_BYTES + 4_096
                assert most_bytes < MESSAGE_BYTES_MAX
                # It reads again: what the kernel held, and then, asked for, what lives, and that alone.
                await peer.send(Ping(4711))
                await peer.expect(Pong, lambda pong: pong.token == 4711)
                await peer.send(Hints(1, bytes(16), 1, (b"", ()), True, 1 << 20))
                batch = await peer.expect(Batch, lambda batch: len(batch.changes[-1]) > VALUE_BYTES)
                assert [Change.decode(data, site.cluster_id).id for data in batch.changes][-1] == last.id
                await peer.expect(Hinted)
