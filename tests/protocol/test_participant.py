"""The invariants of `protocol.participant`, in every state of small worlds; and that breaking a rule is found there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from gossipconf.protocol import certificate, participant
from gossipconf.protocol.certificate import Heard, Nodes, Outcome, outcome_of
from gossipconf.protocol.epoch import Stage, committed_subject
from gossipconf.protocol.participant import (
    ANSWERS_MAX,
    HORIZON,
    Participant,
    Record,
    Standing,
    View,
    answer,
    answered,
    decide,
)

from .epochs import Pool, Setting, Violation, explore, member, stage

ABC = stage(None, "abc")
AB = stage(None, "ab")
AT_ABC = tuple(member(node, ABC) for node in "abc")
AT_AB = (member("a", AB), member("b", AB), member("c"))

RIVALS = Setting(AT_ABC, (stage(ABC, "abc", value="1"), stage(ABC, "abc", value="2")))
FIRST_RIVALS = Setting(
    tuple(member(node) for node in "abc"), (stage(None, "abc", value="1"), stage(None, "ab", value="2"))
)
NEWCOMERS = Setting(AT_AB, (stage(AB, "ac"), stage(AB, "bc")))
ALL_LEAVE = Setting(AT_AB, (stage(AB, "c"), stage(AB, "a")))
CHAIN = Setting(AT_AB, (stage(AB, "ac"), stage(stage(AB, "ac"), "bc")))
REMOVAL = Setting(AT_ABC, (stage(ABC, "abc", value="1"),), may_lose=("c",), revoking=("c",))
NEWCOMER_REMOVED = Setting(AT_AB, (stage(AB, "ac"),), may_lose=("c",), revoking=("c",))
ALL_NEW_REMOVED = Setting(
    (*AT_AB, member("d")), (stage(AB, "c"), stage(stage(AB, "c"), "d")), may_lose=("c",), revoking=("c",)
)
CHAIN_AND_REMOVAL = Setting(
    AT_AB, (stage(AB, "ac"), stage(stage(AB, "ac"), "a", revoked="c", policy=1)), may_lose=("c",), revoking=("c",)
)


@pytest.mark.parametrize(
    ("setting", "commits"),
    [
        pytest.param(RIVALS, 2, id="two rivals"),
        pytest.param(FIRST_RIVALS, 2, id="two first epochs"),
        pytest.param(NEWCOMERS, 2, id="one of two leaves"),
        pytest.param(ALL_LEAVE, 2, id="both leave, or one"),
        pytest.param(CHAIN, 2, id="an epoch after an epoch"),
    ],
)
def test_every_state_without_removal(setting: Setting, commits: int) -> None:
    found = explore(setting)
    assert len(found.committed) == commits, "each stage is committed in some state, or this shows nothing"
    assert len(found.aborted) >= 1
    assert found.blocked == 0


@pytest.mark.parametrize(
    ("setting", "removed", "fences"),
    [
        pytest.param(REMOVAL, REMOVAL.stages, True, id="a member"),
        pytest.param(NEWCOMER_REMOVED, NEWCOMER_REMOVED.stages, False, id="a newcomer"),
        pytest.param(CHAIN_AND_REMOVAL, CHAIN_AND_REMOVAL.stages[:1], False, id="one, and the next epoch without it"),
        pytest.param(
            ALL_NEW_REMOVED, ALL_NEW_REMOVED.stages[1:], True, id="all new members of the first: that one blocks"
        ),
    ],
)
def test_every_state_with_a_lost_disk_and_a_removal(setting: Setting, removed: tuple[Stage, ...], fences: bool) -> None:
    found = explore(setting)
    assert found.removed == {one.id for one in removed}
    assert found.committed
    assert (found.blocked > 0) == fences, "until the removal whoever has acked waits, and for newcomers nobody acks"


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(Setting(AT_ABC, RIVALS.stages, may_end=RIVALS.stages[:1]), id="an admin asks for the end"),
        pytest.param(Setting(AT_ABC, RIVALS.stages, may_lose=("c",)), id="a lost disk"),
        pytest.param(
            Setting(
                (*AT_ABC, member("d")),
                (RIVALS.stages[0], stage(ABC, "abd", value="2", revoked="c", policy=1)),
                may_lose=("c",),
                revoking=("c",),
            ),
            id="a lost disk, and a new node in its place",
        ),
        pytest.param(
            Setting(
                AT_ABC,
                (RIVALS.stages[0], stage(ABC, "ab", value="2", revoked="c", policy=1)),
                may_lose=("c",),
                revoking=("c",),
            ),
            id="a lost disk, and an epoch without it",
        ),
        pytest.param(Setting(AT_ABC, RIVALS.stages[:1], may_lose=("c", "b"), revoking=("c", "b")), id="two of three"),
    ],
)
def test_every_state_of_larger_worlds(setting: Setting) -> None:
    assert explore(setting).states > 20_000


# -- rules that are broken ------------------------------------------------------------------------


def _speaks_too_early(self: Participant, heard: Heard, revoked: Iterable[Nodes]) -> Any:
    return _words(Participant(self.node_id, self.writing or self.record), heard, revoked)


_words = Participant.words


def _acks_two(node_id: str, record: Record, one: Stage, view: View) -> bool | None:
    return answer(node_id, Record(record.position, None, record.answers), one, view)


def _waits_for_the_rival(node_id: str, record: Record, one: Stage, view: View) -> bool | None:
    return None if record.promise is not None else answer(node_id, record, one, view)


def _follows_anything(node_id: str, record: Record, one: Stage, view: View) -> bool | None:
    return True if record.promise is None else answer(node_id, record, one, view)


def _keeps_a_nack(record: Record, one: Stage, *, is_ack: bool) -> Record:
    found = answered(record, one, is_ack=is_ack)
    return found if is_ack else record


def _removal_is_a_nack(one: Stage, heard: Heard, revoked: Iterable[Nodes], gave_up: Iterable[Nodes] = ()) -> Outcome:
    shut_out = frozenset[str]().union(*revoked)
    if (one.participants & shut_out) - heard.acks(one.id):
        return Outcome.ABORTED
    return outcome_of(one, heard, (), gave_up)


def _commits_what_it_gave_up(
    one: Stage, heard: Heard, revoked: Iterable[Nodes], gave_up: Iterable[Nodes] = ()
) -> Outcome:
    return outcome_of(one, heard, revoked)


def _believes_who_is_removed(one: Stage, heard: Heard, gave_up: tuple[Nodes, ...] = ()) -> bool:
    if not gave_up and one.participants <= heard.acks(one.id):
        return True
    return bool(heard.acks(committed_subject(one.id)))


def _removes_everybody(one: Stage, revoked: Iterable[Nodes]) -> list[Nodes]:
    return [removed for nodes in revoked if (removed := one.participants & frozenset(nodes))]


TWO_OF_THREE = Setting(AT_ABC, RIVALS.stages[:1], may_lose=("c", "b"), revoking=("c", "b"))


@pytest.mark.parametrize(
    ("owner", "name", "broken", "setting", "found"),
    [
        pytest.param(
            Participant, "words", _speaks_too_early, RIVALS, "ack and nack", id="it speaks before it is on disk"
        ),
        pytest.param(participant, "answer", _acks_two, RIVALS, "different epochs", id="it acks two that are open"),
        pytest.param(
            participant,
            "answer",
            _follows_anything,
            ALL_LEAVE,
            "different epochs",
            id="it acks what follows another epoch than its own",
        ),
        pytest.param(participant, "answered", _keeps_a_nack, RIVALS, "fenced for ever", id="it keeps a nack to itself"),
        pytest.param(
            participant, "answer", _waits_for_the_rival, RIVALS, "fenced for ever", id="it waits for a rival's outcome"
        ),
        pytest.param(
            Standing,
            "served",
            property(lambda self: self.epoch),
            RIVALS,
            "different epochs",
            id="it serves the old epoch while it is fenced",
        ),
        pytest.param(
            participant,
            "outcome_of",
            _removal_is_a_nack,
            REMOVAL,
            "different epochs",
            id="a removal counts as a nack at once",
        ),
        pytest.param(
            participant,
            "outcome_of",
            _commits_what_it_gave_up,
            REMOVAL,
            "committed that is aborted",
            id="it commits what it has given up",
        ),
        pytest.param(
            certificate,
            "is_committed",
            _believes_who_is_removed,
            TWO_OF_THREE,
            "committed that is aborted",
            id="it believes one whom it has called removed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            certificate,
            "removals",
            _removes_everybody,
            ALL_NEW_REMOVED,
            "different epochs",
            id="a removal of all new members counts",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_broken_rule_is_found(
    owner: Any,
    name: str,
    broken: Callable[..., Any],
    setting: Setting,
    found: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, broken)
    if name == "removals":
        monkeypatch.setattr(participant, "removals", broken)
    with pytest.raises(Violation, match=found):
        explore(setting)


# -- single rules ---------------------------------------------------------------------------------


def view(*stages: Stage, said: Iterable[tuple[str, bytes, bool]] = (), ending: tuple[Stage, ...] = ()) -> View:
    return View(stages, ending, Pool(frozenset(said)), (), lambda policy: frozenset() if policy == 0 else None)


def test_who_has_lost_its_memory_says_nothing() -> None:
    one = stage(ABC, "abc", value="1")
    assert decide("a", Record(), view(one)) == Record()
    assert decide("a", Record(), view(one, ending=(one,))) == Record()


def test_a_stage_under_a_policy_that_is_not_here_waits() -> None:
    record = member("a", ABC).record
    assert decide("a", record, view(stage(ABC, "abc", policy=3))) == record


def test_a_stage_that_removes_others_than_the_policy_is_nacked() -> None:
    record = member("a", ABC).record
    one = stage(ABC, "ab", revoked="c")  # policy 0 has revoked nobody
    assert decide("a", record, view(one)).answer_to(one.id) is False


def test_a_fence_ends_with_the_first_nack_and_the_old_epoch_is_served_again() -> None:
    one = stage(ABC, "abc", value="1")
    node = member("a", ABC).step(view(one))
    assert node.standing(frozenset()).served == ABC, "until its ack is on disk it may serve"
    node = node.persisted()
    assert node.standing(frozenset()) == Standing(ABC, one)
    assert list(node.words(Pool(frozenset()), ())) == [(ABC.id, True), (one.id, True)]
    node = node.step(view(one, said=[("b", one.id, False)])).persisted()
    assert node.standing(frozenset()).served == ABC


def test_an_ack_by_who_is_no_participant_counts_nothing() -> None:
    one = stage(AB, "ab", value="1")
    node = member("a", AB).step(view(one)).persisted()
    said = [("a", one.id, True), ("x", one.id, True), ("x", one.id, False)]
    assert node.step(view(one, said=said)) == node
    node = node.step(view(one, said=[*said, ("b", one.id, True)])).persisted()
    assert node.standing(frozenset()).served == one


def test_who_leaves_agrees_and_is_no_member_then() -> None:
    one = stage(AB, "a")
    node = member("b", AB).step(view(one)).persisted()
    assert node.standing(frozenset()).fence == one
    node = node.step(view(one, said=[("a", one.id, True), ("b", one.id, True)])).persisted()
    assert node.standing(frozenset()) == Standing(None)
    back = stage(one, "ab")
    node = node.step(view(back)).persisted()
    assert node.record.promise == back
    late = stage(AB, "ab", value="late")
    assert member("b", one).step(view(late)).persisted().record.answer_to(late.id) is False


@pytest.mark.parametrize("members", ["x", "abx"], ids=["in the place of all", "beside them"])
def test_a_member_that_does_not_exist_fences_nobody_and_the_stage_can_be_ended(members: str) -> None:
    """A name mistyped, or held: the right to stage, for a prefix that others serve."""
    one, following = stage(AB, members), stage(AB, "ab", value="1")
    node = member("a", AB)
    assert node.step(view(one)) == node
    assert member("x").step(view(one)).persisted().record.promise == one, "whoever is new does not wait"
    ended = node.step(view(one, ending=(one,))).persisted()
    assert (ended.record.answer_to(one.id), ended.standing(frozenset()).served) == (False, AB)
    assert node.step(view(one, following)).persisted().record.promise == following, "it keeps nobody from another"
    assert node.step(view(one, said=[("x", one.id, True)])).persisted().record.promise == one


def test_a_newcomer_does_not_ack_what_is_over_already() -> None:
    dead, open_one = stage(AB, "abc", value="1"), stage(AB, "abc", value="2")
    known = view(dead, open_one, said=[("b", dead.id, False)])
    node = member("c")
    for _ in range(2):
        node = node.step(known).persisted()
    assert node.record.answer_to(dead.id) is False
    assert node.record.promise == open_one


def test_a_failed_write_leaves_all_as_it_was() -> None:
    node = member("a", ABC)
    assert node.step(view(stage(ABC, "abc", value="1"))).failed() == node


def test_answers_are_bounded_and_the_old_ones_go_with_the_horizon() -> None:
    stages = [stage(ABC, "abc", value=str(number)) for number in range(ANSWERS_MAX + 1)]
    record = member("a", ABC).record
    for one in stages:
        record = decide("a", record, view(one, ending=(one,)))
    assert len(record.answers) == ANSWERS_MAX
    assert decide("a", record, view(stages[-1])) == record

    position = ABC
    record = member("a", ABC).record
    for number in range(2 * HORIZON):
        following = stage(position, "abc", value=str(number))
        record = decide("a", record, view(following))
        said = [(node, following.id, True) for node in "abc"]
        record = decide("a", record, view(following, said=said))
        position = following
    assert record.position == position
    assert len(record.answers) == HORIZON
    assert len(record.past) == HORIZON - 1
    assert record.answer_to(ABC.id) is None
    assert decide("a", record, view(stage(ABC, "abc", value="late"))) == record
