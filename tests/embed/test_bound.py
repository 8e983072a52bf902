"""Bound models: whole, of one moment, last good on a bad value, and silent on a fence."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec
import pydantic
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gossipconf.embed.bound import Bound, Problem
from gossipconf.embed.snapshot import Cell, Source
from gossipconf.embed.value import Content
from gossipconf.model.entry import ValueType, delete, put
from gossipconf.model.errors import Fenced, InvalidModel, NotAMember
from gossipconf.protocol.participant import Standing
from tests.runtime.test_strict_reads import FIRST, SECOND, Stages

from .core import Core, followed, text


@dataclass(frozen=True)
class Pair:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Secret(pydantic.BaseModel):
    low: int

    @pydantic.field_validator("low", mode="before")
    @classmethod
    def _refuse(cls, value: str) -> str:
        if not value.isdigit():
            raise ValueError(f"{value} is no number")
        return value


def pair(low: object, high: object):
    return text("p/low", str(low)), text("p/high", str(high))


def test_keys_that_change_together_are_seen_together():
    core = Core(*pair(1, 2))
    follower = followed(core)
    bound = Bound(follower, Pair, "p")
    before = bound.value
    core.show(*pair(3, 4))
    follower.catch_up()
    assert (before, bound.value, bound.problem) == (Pair(1, 2), Pair(3, 4), None)


def test_a_bad_value_leaves_the_last_good_model_and_says_why(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    core = Core(*pair(1, 2))
    follower = followed(core)
    bound = Bound(follower, Pair, "p")
    core.show(text("p/low", "many"))
    follower.catch_up()
    reason = "int is wanted, and the value is text that is no whole number"
    assert (bound.value, bound.problem) == (Pair(1, 2), Problem("p/low", reason))
    core.show(text("p/low", "lots"))
    follower.catch_up()
    assert caplog.messages == [f"'p/low': {reason}; Pair keeps its last good value"], "once"
    core.show(text("p/low", "9"))
    follower.catch_up()
    assert bound.problem == Problem("p", "Pair refuses its values: ValueError: low is above high")
    core.show(text("p/low", "1"))
    follower.catch_up()
    assert (bound.value, bound.problem) == (Pair(1, 2), None)
    assert caplog.messages[-1] == "Pair under 'p' is valid again"
    core.show(delete("p/low"))
    follower.catch_up()
    assert bound.value == Pair(1, 2)
    assert bound.problem is not None
    assert bound.problem.key == "p/low"


def test_without_a_valid_model_there_must_be_a_default():
    follower = followed(Core(*pair("x", 2)))
    with pytest.raises(InvalidModel, match=r"'p/low': int is wanted.*no Pair can be made"):
        Bound(follower, Pair, "p")
    bound = Bound(follower, Pair, "p", Pair(0, 0))
    assert bound.value == Pair(0, 0)
    assert bound.problem is not None


class Moody(msgspec.Struct):
    low: int

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None


def test_a_class_that_breaks_does_no_harm():
    core = Core(text("p/low", "1"))
    follower = followed(core)
    bound = Bound(follower, Moody, "p")
    core.show(text("p/low", "2"))
    follower.catch_up()
    assert bound.value.low == 1
    assert bound.problem == Problem("p", "Moody has failed with a RuntimeError")


async def test_iterating_gives_each_new_model_the_latest_only():
    core = Core(*pair(1, 2))
    follower = followed(core)
    bound = Bound(follower, Pair, "p")
    seen = []

    async def read() -> None:
        async for model in bound:
            seen.append(model)

    for high in (3, 4, 5):
        core.show(text("p/high", str(high)))
        follower.catch_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        core.show(text("p/high", "5"), text("other", "x"))  # the same again
        follower.catch_up()
        await wait_all_tasks_blocked()
        assert seen == [Pair(1, 5)]
        core.show(text("p/low", "bad"))
        follower.catch_up()
        core.show(text("p/low", "2"))
        follower.end()
    assert seen == [Pair(1, 5), Pair(2, 5)], "and it ends with the agent"


@dataclass(frozen=True)
class Database:
    host: str
    port: int


def test_while_a_prefix_is_fenced_neither_old_nor_new_is_shown():
    core = Core(text("shop/other", "x"))
    core.show(*(put(str(one.key), one.encode(), ValueType.BYTES) for one in (FIRST, SECOND)))
    core.reads.epochs_changed(Stages(Standing(FIRST)))
    follower = followed(core)
    bound = Bound(follower, Database, "shop/db")
    assert bound.value == Database("one", 1)
    core.reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    with pytest.raises(Fenced):
        bound.value  # noqa: B018 - that it raises is what is tested
    with pytest.raises(Fenced):
        Bound(follower, Database, "shop/db", Database("none", 0))
    core.reads.epochs_changed(Stages(Standing(SECOND)))
    assert bound.value == Database("two", 1)
    core.reads.epochs_changed(Stages(Standing(FIRST, SECOND)))
    core.reads.epochs_changed(Stages(Standing(SECOND)))
    assert bound.value == Database("two", 1), "what was read before is read again"
    core.reads.epochs_changed(Stages(Standing(None)))
    with pytest.raises(NotAMember):
        bound.value  # noqa: B018


def test_what_is_wrong_with_a_secret_is_not_told(caplog: pytest.LogCaptureFixture):
    core = Core(text("p/low", "1"))
    follower = followed(core)
    bound = Bound(follower, Secret, "p")
    [version] = core.show(put("p/low", b"envelope", ValueType.SEALED))

    def hidden(version):
        return Content(ValueType.TEXT, b"hunter2")

    follower._open = hidden
    follower.catch_up()
    assert bound.value == Secret(low="1")
    assert bound.problem == Problem("p/low", "what is wrong is not told, because the model has a sealed value")
    assert "hunter2" not in caplog.text
    cell = Cell("k", Source.GOSSIP, version, hidden)
    with pytest.raises(Exception, match="the sealed value is not of that type"):
        cell.read(int)
