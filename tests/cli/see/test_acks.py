"""What `acks` shows of a tally, and with which code it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gossipconf.cli import exits
from gossipconf.cli.replies import Tally
from gossipconf.cli.see import acks

LATE = Tally(
    applied=40,
    total=80,
    complete=True,
    missing=("n01", "n02"),
    silent=("n03",),
    more_silent=True,
    zones=(("eu", 30, 40), ("us/a", 10, 20)),
)


@pytest.fixture
def show(monkeypatch, run):
    """Run `acks` where these tallies come."""

    def call(*tallies: Tally) -> Any:
        session = SimpleNamespace(node="a", acks=lambda change, wait_s: iter(tallies))

        @contextmanager
        def opened(target: object) -> Iterator[Any]:
            yield session

        monkeypatch.setattr(acks, "open_session", opened)
        monkeypatch.setattr(acks.Target, "find", lambda cluster, agent: None)
        return run("acks", "abcd")

    return call


def test_one_agent_has(show):
    result = show(Tally(1, 1, False, (), (), False, ()))
    assert result.out == "1 of 1 agent has applied it, not all have answered, as a hears\n"


def test_stragglers_zones_and_silent_ones_are_shown(show):
    result = show(Tally(0, 1, False, (), (), False, ()), LATE)
    assert result.code == exits.INCOMPLETE
    assert result.out.splitlines() == [
        "40 of 80 agents have applied it, 1 and more silent, as a hears",
        "",
        "ZONE      APPLIED  OF",
        "eu             30  40",
        "us/a           10  20",
        "(others)        0  20",
        "",
        "NODE  STATE",
        "n01   missing",
        "n02   missing",
        "n03   silent",
        "and 38 agents more, missing",
    ]


def test_all_that_have_applied_it_are_a_line(show):
    result = show(Tally(5, 5, True, (), (), False, ()))
    assert (result.code, result.out) == (0, "all of 5 agents have applied it, as a hears\n")


def test_not_all_have_answered(show):
    result = show(Tally(5, 5, False, (), (), False, ()))
    assert (result.code, result.out) == (5, "5 of 5 agents have applied it, not all have answered, as a hears\n")
