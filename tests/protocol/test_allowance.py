"""What a peer's questions cost it: an honest one waits for nothing, one that asks and asks waits, and is answered."""

from __future__ import annotations

import pytest

from gossipconf.model.limits import SYNC_BUDGET_BYTES
from gossipconf.protocol.allowance import BURST_BYTES, QUESTION_BYTES, RATE_BYTES_S, Allowance
from gossipconf.protocol.exchange import QUESTIONS_WAITING_MAX
from gossipconf.protocol.messages import Batch, Check, Checked, Hinted, Hints, Walk, Walked
from tests.protocol.wire import Bench, change

OTHER_ROOT = b"another root, 16"


def test_a_boot_of_two_hundred_thousand_changes_waits_for_nothing() -> None:
    allowance = Allowance(0.0)
    answers = 200_000 * 300 // SYNC_BUDGET_BYTES
    for _ in range(answers):
        assert allowance.wait_s(0.0) == 0.0, "though no time has passed at all"
        allowance.spend(SYNC_BUDGET_BYTES - QUESTION_BYTES, 0.0)


def test_who_verifies_what_comes_never_waits() -> None:
    """4,000 changes of 300 bytes a second, for ever."""
    allowance = Allowance(0.0)
    for second in range(10_000):
        assert allowance.wait_s(float(second)) == 0.0
        allowance.spend(4_000 * 300, float(second))


def test_who_uses_more_gets_the_rate_on_average() -> None:
    allowance, now_s, brought = Allowance(0.0), 0.0, 0
    while now_s < 100.0:
        now_s += allowance.wait_s(now_s)
        allowance.spend(SYNC_BUDGET_BYTES, now_s)
        brought += SYNC_BUDGET_BYTES + QUESTION_BYTES
    assert brought == pytest.approx(BURST_BYTES + 100 * RATE_BYTES_S, rel=0.01)
    assert not allowance.is_full(now_s)
    assert allowance.is_full(now_s + 1.1 * BURST_BYTES / RATE_BYTES_S)


# -- in a node ------------------------------------------------------------------------------------


def flooded() -> tuple[Bench, int]:
    """A node that holds 200 KB, and a peer that has used its allowance up."""
    bench = Bench("m")
    link = bench.connect("z")
    for number in range(2):
        bench.tell(link, Batch((change("v" * 100_000, f"k{number}", seq=number + 1).encode(),)))
    bench.said(link)
    questions = BURST_BYTES // (200_000 + QUESTION_BYTES) + 1
    ask(bench, link, questions)
    assert len(bench.said(link, Hinted)) == questions, "as fast as it can"
    bench.said(link)
    return bench, link


def ask(bench: Bench, link: int, count: int, first: int = 1) -> None:
    for number in range(first, first + count):
        bench.tell(link, Hints(number, OTHER_ROOT, 0, (b"", ()), True, SYNC_BUDGET_BYTES))


def test_who_asks_and_asks_waits_and_is_answered() -> None:
    bench, link = flooded()
    ask(bench, link, 1, first=1_000)
    assert bench.said(link) == []
    bench.tell(link, Check(7))
    assert [type(one) for one in bench.said(link)] == [Checked], "which costs nothing"
    bench.wait(0.2)
    assert [one.request for one in bench.said(link, Hinted)] == [1_000]
    assert bench.closed(link) is None


def test_only_the_last_few_questions_wait() -> None:
    bench, link = flooded()
    ask(bench, link, 500, first=1_000)
    bench.wait(10.0)
    assert [one.request for one in bench.said(link, Hinted)] == list(range(1_500 - QUESTIONS_WAITING_MAX, 1_500))
    assert len(bench.said(link, Batch)) <= 3 * QUESTIONS_WAITING_MAX, "the policy and the two for each"


def test_another_link_has_no_other_allowance_and_another_peer_has() -> None:
    bench, link = flooded()
    bench.lose(link)
    again = bench.connect("z")
    bench.said(again)
    ask(bench, again, 1)
    assert bench.said(again, Hinted) == []
    other = bench.connect("y")
    ask(bench, other, 1)
    assert len(bench.said(other, Hinted)) == 1


def test_what_a_lost_peer_has_asked_is_not_answered() -> None:
    bench, link = flooded()
    ask(bench, link, 2)
    bench.lose(link)
    bench.wait(1.0)
    assert bench.said(link) == []


def test_a_question_that_asks_too_much_is_a_violation_at_once_however_long_it_would_wait() -> None:
    bench, link = flooded()
    nodes = tuple(((number,), bytes(4)) for number in range(16))
    bench.tell(link, Walk(1, 4, 2, nodes))
    assert "2 levels of 16 tree nodes" in (bench.closed(link) or "")
    assert bench.said(link, Walked) == []
