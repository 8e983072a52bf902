"""Complaints: counted by peer and kind, of a bounded number of peers."""

from __future__ import annotations

from gossipconf.protocol.complaints import PEERS_MAX, Complaint, Complaints
from gossipconf.protocol.messages import Push
from tests.protocol.wire import Bench


def test_each_kind_is_counted_for_each_peer() -> None:
    complaints = Complaints()
    for complaint in (Complaint.INVALID, Complaint.UNEQUAL, Complaint.UNEQUAL):
        complaints.note("a", complaint)
    assert complaints.of("a") == {"invalid": 1, "unequal": 2}
    assert complaints.of("b") == {}


def test_the_latest_are_kept() -> None:
    complaints = Complaints()
    for number in range(PEERS_MAX):
        complaints.note(f"p{number}", Complaint.INVALID)
    complaints.note("p0", Complaint.INVALID)
    complaints.note("one more", Complaint.INVALID)
    assert complaints.of("p0") == {"invalid": 2}
    assert complaints.of("p1") == {}


def test_an_invalid_change_is_one() -> None:
    bench = Bench()
    link = bench.connect("evil")
    bench.tell(link, Push(1, 0, 0, b"no change"))
    assert bench.node.overlay.complaints.of("evil") == {"invalid": 1}
