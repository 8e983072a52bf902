"""Epochs and stages: their one form, and what no stage may say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipconf.model.encoding import encode
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import FormatError, GossipconfError, InvalidInput, LimitExceeded
from gossipconf.protocol.epoch import MEMBERS_MAX, Epoch, Stage, contents_hash, make_stage

CONTENTS = (("p/a", ValueType.TEXT, b"1"), ("p/b", ValueType.JSON, b"{}"))
FIRST = make_stage("p", None, ["a", "b", "c"], [], CONTENTS, policy=1, waits=False)
SECOND = make_stage("p", FIRST.epoch, ["b", "d"], ["c"], CONTENTS[:1], policy=2, waits=True)


def test_a_stage_reads_back() -> None:
    for one in (FIRST, SECOND, SECOND.bare()):
        assert Stage.decode(one.encode()) == one
    assert SECOND.bare().id == SECOND.id
    assert str(SECOND.key) == f"_stages/p/2/{SECOND.id.hex()}"


def test_participants_are_the_members_of_both_epochs_without_those_shut_out() -> None:
    assert FIRST.participants == {"a", "b", "c"}
    assert SECOND.participants == {"a", "b", "d"}
    assert SECOND.epoch.removed == ("c",)


def test_an_epoch_id_stands_for_all_that_it_says() -> None:
    others = [
        replace(SECOND.epoch, members=("b", "e")),
        replace(SECOND.epoch, removed=()),
        replace(SECOND.epoch, waits=False),
        replace(SECOND.epoch, contents=contents_hash(CONTENTS)),
        replace(SECOND.epoch, policy=1),
        replace(SECOND.epoch, before=SECOND.id),
    ]
    assert len({SECOND.id, *(one.id for one in others)}) == len(others) + 1


def stage_of(epoch: Epoch, before: Epoch | None, contents: object = None) -> bytes:
    return encode([epoch.to_wire(), None if before is None else before.to_wire(), contents])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (stage_of(SECOND.epoch, None), "another epoch before it"),
        (stage_of(SECOND.epoch, replace(FIRST.epoch, waits=True)), "another epoch before it"),
        (stage_of(replace(FIRST.epoch, members=()), None), "at least one member"),
        (stage_of(replace(FIRST.epoch, members=("b", "a")), None), "ascending"),
        (stage_of(replace(FIRST.epoch, members=("A",)), None), "node name"),
        (stage_of(replace(FIRST.epoch, number=2), None), "the first epoch of a prefix has none before it"),
        (stage_of(replace(SECOND.epoch, number=3), FIRST.epoch), "numbers that follow each other"),
        (stage_of(replace(SECOND.epoch, prefix="q"), FIRST.epoch), "one prefix"),
        (stage_of(replace(SECOND.epoch, removed=("x",)), FIRST.epoch), "removes only members"),
        (stage_of(replace(SECOND.epoch, removed=("b",)), FIRST.epoch), "none of its own members"),
        (stage_of(replace(SECOND.epoch, members=("d",), removed=("a", "b", "c")), FIRST.epoch), "nobody is left"),
        (stage_of(FIRST.epoch, None, [["p/a", 0, b"2"]]), "not those that its epoch names"),
        (stage_of(FIRST.epoch, None, [["q/a", 0, b"2"]]), "not under the prefix"),
        (stage_of(FIRST.epoch, None, [["p/b", 0, b"2"], ["p/a", 0, b"2"]]), "ascending order of keys"),
        (stage_of(FIRST.epoch, None, [["p/a", 0, b"\xff"]]), "UTF-8"),
        (encode([1, 2]), "3 fields"),
    ],
)
def test_what_no_stage_may_say(data: bytes, error: str) -> None:
    with pytest.raises(InvalidInput, match=error):
        Stage.decode(data)


def test_any_other_bytes_raise_nothing_else() -> None:
    data = SECOND.encode()
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 0x41
        try:
            found = Stage.decode(bytes(altered))
        except GossipconfError:
            continue
        assert found.id != SECOND.id


def test_making_a_stage_says_what_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="a: revoked once"):
        make_stage("p", None, ["a", "b"], ["a"], (), policy=1, waits=False)
    values = [(f"p/{number}", ValueType.BYTES, bytes(200_000)) for number in range(6)]
    with pytest.raises(LimitExceeded, match="all of its prefix"):
        make_stage("p", None, ["a"], [], values, policy=1, waits=False)
    with pytest.raises(LimitExceeded, match=str(MEMBERS_MAX)):
        make_stage("p", None, [f"n{number}" for number in range(MEMBERS_MAX + 1)], [], (), policy=1, waits=False)
    with pytest.raises(FormatError, match="ascending order of keys"):
        make_stage("p", None, ["a"], [], [*CONTENTS, CONTENTS[0]], policy=1, waits=False)
