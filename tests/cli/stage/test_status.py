"""What `stage status` says of a stage that is open: who is waited for, and what to do."""

from __future__ import annotations

from gossipconf.cli.stage.progress import Progress
from gossipconf.cli.stage.status import advice
from gossipconf.protocol.certificate import Outcome
from tests.protocol.epochs import stage

AB = stage(None, "ab")


def progress(members: str, missing: str, *, acked: str = "", asked_to_end: bool = False) -> Progress:
    return Progress(stage(AB, members), Outcome.OPEN, tuple(acked), (), tuple(missing), (), asked_to_end)


def test_members_that_wait_for_new_ones_are_not_called_missing() -> None:
    first, second = advice(progress("abx", "abx"))
    assert first == "missing: x, new; the members of the epoch in force ack after all who are new"
    assert "gossipconf stage abort" in second


def test_of_members_that_are_missing_each_way_out_is_told() -> None:
    told = advice(progress("abx", "b", acked="ax"))
    assert told[0] == "missing: b"
    assert "gossipconf stage abort" in told[1]
    assert "gossipconf stage remove NODE" in told[2]
    assert advice(progress("abx", "bx", asked_to_end=True))[0] == "missing: b, x"
