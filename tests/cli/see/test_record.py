"""Records of the log: what the command line believes of them, and refuses to."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.cli.exits import NotFound
from gossipconf.cli.see.record import Wanted, record_named, records, signers_named, versions
from gossipconf.model.change import Change
from gossipconf.model.errors import BadSignature, ControlError, InvalidInput
from gossipconf.trust.keys import fingerprint

from ..fake_agent import ADMIN, OTHER, ROOT, change_of


def told(change: Change, *, retired: tuple[int, ...] = (), live: tuple[int, ...] = (0,)) -> dict:
    """A change as an agent tells it, by the indices of its entries."""
    parts = [[change.restrict(live).encode(), None]] if live else []
    parts += [[change.restrict([index]).encode(), 9_000] for index in retired]
    return {"parts": parts, "live": len(live), "retired": len(retired)}


def page(*told_of: dict, following: list | None = None) -> dict:
    return {"ok": True, "changes": list(told_of), "next": following}


SHOP = Wanted(prefix="shop")


def test_pages_are_put_together_and_no_more_is_asked_for_than_wanted(agent, session):
    changes = [change_of("shop/a", seq=number) for number in (3, 2, 1)]
    agent.replies["log"] = [
        page(told(changes[0]), told(changes[1]), following=[2_000, bytes([9]) * 32]),
        page(told(changes[2]), following=[2_000, bytes([1]) * 32]),
    ]
    found = list(records(session, SHOP, limit=3))
    assert [one.change.id for one in found] == [change.id for change in changes]
    asked = [(one["limit"], one["before"]) for one in agent.requests if one["op"] == "log"]
    assert asked == [(3, None), (1, [2_000, bytes([9]) * 32])]


def test_what_lives_and_what_is_replaced(agent, session):
    change = change_of("shop/a", "shop/b", "shop/c")
    agent.replies["log"] = [page(told(change, live=(0, 2), retired=(1,)))]
    (record,) = records(session, SHOP, limit=5)
    assert [(one.version.entry.key, one.retired_ms) for one in record.versions] == [
        ("shop/a", None),
        ("shop/b", 9_000),
        ("shop/c", None),
    ]
    assert (record.count, record.state(session)) == (3, "partly")
    for parts, state in ((told(change), "live"), (told(change, live=(), retired=(0, 1)), "replaced")):
        agent.replies["log"] = [page(parts)]
        assert [one.state(session) for one in records(session, SHOP, limit=5)] == [state]


def test_versions_are_newest_first_and_as_many_as_wanted(agent, session):
    agent.replies["log"] = [page(told(change_of("shop/b", "shop/a"), live=(0, 1)), told(change_of("shop/c")))]
    assert [one.version.entry.key for one in versions(session, SHOP, 2)] == ["shop/a", "shop/b"]


@pytest.mark.parametrize(
    ("reply", "error", "part"),
    [
        (page(told(dataclasses.replace(change_of("shop/a"), signature=bytes(64)))), BadSignature, "is not shown"),
        (page({"parts": [[b"x", None]], "live": 1, "retired": 0}), ControlError, "is no change"),
        (page({"parts": [5], "live": 1, "retired": 0}), ControlError, "no change where one belongs"),
        (page({"parts": [], "live": 1, "retired": 0}), ControlError, "not asked for, or nothing"),
        (page({"parts": told(change_of("shop/a"))["parts"]}), ControlError, "'live'"),
        (page(told(change_of("shop/a")), following=["x"]), ControlError, "goes round"),
        (page(following=[2_000, bytes(32)]), ControlError, "goes round"),
        (
            page(
                {
                    "parts": told(change_of("shop/a"))["parts"] + told(change_of("shop/a", seq=2))["parts"],
                    "live": 2,
                    "retired": 0,
                }
            ),
            ControlError,
            "mixes two changes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_verify_or_was_not_asked_for_is_not_shown(agent, session, reply, error, part):
    agent.replies["log"] = [reply]
    with pytest.raises(error, match=part):
        list(records(session, SHOP, limit=None))


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(prefix="other"),
        Wanted(key="shop"),
        Wanted(prefix="shop", since_ms=2_001),
        Wanted(prefix="shop", until_ms=2_000),
        Wanted(prefix="shop", signers=(OTHER.public,)),
    ],
    ids=repr,
)
def test_an_answer_to_another_question_is_refused(agent, session, wanted):
    agent.replies["log"] = [page(told(change_of("shop/a")))]
    with pytest.raises(ControlError, match="was not asked for"):
        list(records(session, wanted, limit=None))


def test_a_change_is_found_by_the_digits_of_its_id(agent, session):
    one, other = change_of("shop/a"), change_of("shop/b")
    agent.replies["change"] = [{"ok": True, "changes": [told(one)]}]
    assert record_named(session, one.id.hex()[:8].upper()).change.id == one.id
    with pytest.raises(ControlError, match="another change"):
        record_named(session, other.id.hex())
    with pytest.raises(InvalidInput, match="is no change"):
        record_named(session, "shop")
    agent.replies["change"] = [{"ok": True, "changes": []}]
    with pytest.raises(NotFound, match="fake knows no change 01234567"):
        record_named(session, "01234567")


def test_writers_are_named_by_role_fingerprint_or_file(session, tmp_path):
    assert signers_named(session, "admins") == (ADMIN.public,)
    assert signers_named(session, "root") == (ROOT.public,)
    assert signers_named(session, fingerprint(ADMIN.public)[:14]) == (ADMIN.public,)
    OTHER.save(tmp_path / "other")
    assert signers_named(session, str(tmp_path / "other.pub")) == (OTHER.public,)
    for name in ("SHA256:", "SHA256:no", "nobody"):
        with pytest.raises(InvalidInput, match=r"policy show|roles are admins, root"):
            signers_named(session, name)
