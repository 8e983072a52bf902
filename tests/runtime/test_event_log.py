"""The log's lines, and those that must not come too often; errors that come in groups."""

from __future__ import annotations

import logging

import pytest
import trio

from gossipconf.model.errors import JournalCorrupt, TransportError
from gossipconf.protocol.events import (
    ChangeRejected,
    ConflictClosed,
    ConflictOpened,
    ConnectFailed,
    DuplicateNode,
    ResolveFailed,
)
from gossipconf.runtime.error_group import one_error
from gossipconf.runtime.event_log import (
    CONFLICT_EVERY_S,
    DUPLICATE_EVERY_S,
    REJECTED_EVERY_S,
    SUBJECTS_MAX,
    UNREACHABLE_EVERY_S,
    UNRESOLVED_EVERY_S,
    EventLog,
)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_second_agent_of_one_name_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    for at_s in (100.0, 101.0, 100.0 + DUPLICATE_EVERY_S - 1):
        log.write(DuplicateNode("10.0.0.1:1"), at_s)
    assert lines(caplog) == ["another agent at 10.0.0.1:1 runs under this agent's name"]
    log.write(DuplicateNode(""), 101.0)
    assert lines(caplog) == ["another agent at an unknown address runs under this agent's name"]
    log.write(DuplicateNode("10.0.0.1:1"), 100.0 + DUPLICATE_EVERY_S)
    assert len(lines(caplog)) == 1


def test_a_peer_that_names_many_addresses_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    for number in range(10 * SUBJECTS_MAX):
        log.write(DuplicateNode(f"10.0.0.1:{number}"), 100.0)
    assert len(lines(caplog)) == len(log._duplicates._told) == SUBJECTS_MAX
    log.write(DuplicateNode("10.0.0.2:1"), 100.0 + DUPLICATE_EVERY_S)
    assert len(lines(caplog)) == len(log._duplicates._told) == 1


def test_an_address_that_cannot_be_reached_is_a_warning_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = EventLog()
    for at_s in (100.0, 101.0, 100.0 + UNREACHABLE_EVERY_S):
        log.write(ConnectFailed("10.0.0.1:1", "connection refused"), at_s)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.DEBUG, logging.WARNING]
    assert set(lines(caplog)) == {"cannot reach 10.0.0.1:1: connection refused"}


def test_what_a_peer_sends_again_and_again_is_refused_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """As in a policy fork, where each sync brings what is valid on the other side only."""
    caplog.set_level(logging.DEBUG)
    log = EventLog()
    for reason, at_s in (("no", 100.0), ("no", 100.1), ("never", 100.2), ("no", 100.0 + REJECTED_EVERY_S)):
        log.write(ChangeRejected("b", reason), at_s)
    warning, debug = logging.WARNING, logging.DEBUG
    assert [record.levelno for record in caplog.records] == [warning, debug, warning, warning]
    assert set(lines(caplog)) == {"refused a change from b: no", "refused a change from b: never"}


def test_a_resolver_that_is_down_for_hours_is_a_warning_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = EventLog()
    for at_s in (100.0, 130.0, 100.0 + UNRESOLVED_EVERY_S):
        log.write(ResolveFailed("agents.svc:1", "no answer"), at_s)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.DEBUG, logging.WARNING]
    assert set(lines(caplog)) == {"cannot resolve the seed agents.svc:1: no answer"}


# -- errors in groups -----------------------------------------------------------------------------


async def all_failing(*errors: Exception) -> None:
    """Fail with all the errors at once, in groups within groups."""

    async def failing(error: Exception) -> None:
        raise error

    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        outer.start_soon(failing, errors[0])
        for error in errors[1:]:
            inner.start_soon(failing, error)


async def test_of_several_errors_one_is_raised_and_the_others_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    errors = [JournalCorrupt("first"), TransportError("second"), TransportError("third")]
    with pytest.raises((JournalCorrupt, TransportError)) as raised, one_error():
        await all_failing(*errors)
    told = lines(caplog)
    assert {str(raised.value), *(line.removeprefix("at the same time: ") for line in told)} == {
        "first",
        "second",
        "third",
    }
    assert len(told) == 2


async def test_a_fault_of_our_own_is_not_hidden_by_an_error() -> None:
    with pytest.raises(BaseExceptionGroup) as raised, one_error():
        await all_failing(JournalCorrupt("known"), ValueError("a fault"))
    assert raised.group_contains(ValueError)
    assert raised.group_contains(JournalCorrupt)


def test_an_address_that_cannot_be_reached_is_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """An agent that reaches nobody must say so at the default level, and must not fill the disk with it."""
    log = EventLog()
    caplog.set_level(logging.WARNING, "gossipconf")
    for second in range(0, 601, 3):
        log.write(ConnectFailed("a:1", "connection refused"), float(second))
    assert [record.getMessage() for record in caplog.records] == 3 * ["cannot reach a:1: connection refused"]


def test_a_conflict_is_a_warning_with_the_keys(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = EventLog()
    slots = (("shop/a", ""), ("shop/a", "canary"), *((f"shop/{number}", "") for number in range(20)))
    for at_s in (100.0, 101.0, 100.0 + CONFLICT_EVERY_S):
        log.write(ConflictOpened(slots), at_s)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.DEBUG, logging.WARNING]
    (line,) = set(lines(caplog))
    assert line == (
        "CONFLICT: changed in several places at once: shop/a, shop/a [canary], shop/0, shop/1, shop/2, shop/3, "
        "shop/4, shop/5 and 14 more; see `gossipconf conflicts`"
    )
    log.write(ConflictClosed(slots[:2]), 102.0)
    assert lines(caplog) == ["no longer in conflict: shop/a, shop/a [canary]"]
