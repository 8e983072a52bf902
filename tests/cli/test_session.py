"""What the command line refuses to believe: agents that lie, stray, stop or answer nonsense."""

from __future__ import annotations

import dataclasses
import socket

import msgpack
import pytest

from gossipconf.cli.client import REPLY_BYTES_MAX, Client
from gossipconf.cli.exits import KeyChanged
from gossipconf.cli.session import PUBLISH_ATTEMPTS, Session, open_session
from gossipconf.cli.target import Target
from gossipconf.model.change import Change
from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import (
    AgentUnreachable,
    BadSignature,
    ControlError,
    NotAuthorised,
    StaleReservation,
    WrongCluster,
)
from gossipconf.runtime.control_socket import SOCKET_PATH_BYTES_MAX
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.signing import Reservation

from .fake_agent import ADMIN, CLUSTER, OTHER, ROOT, SALT, change_of


def reply_with(change: Change, index: object = 0, **more) -> dict:
    return {"ok": True, "versions": [{"change": change.encode(), "index": index}], **more}


# -- believing ------------------------------------------------------------------------------------


def test_an_honest_answer_is_taken(agent, session):
    agent.replies["get"] = [reply_with(change_of("shop/a", "shop/b").restrict([1]), 1)]
    item = session.get("shop/b")
    assert item.default is not None
    assert item.default.entry.value == b"1"
    assert session.signer_of(item.default)[0] == "admins"


def test_the_winner_is_computed_and_not_believed(agent, session):
    older, newer = change_of("shop/a", value=b"old"), change_of("shop/a", seq=2, value=b"new")
    ordered = sorted((older, newer), key=lambda change: change.version_id(0))
    raws = [{"change": change.encode(), "index": 0} for change in ordered]
    for versions in (raws, raws[::-1]):
        agent.replies["get"] = [{"ok": True, "versions": versions}]
        item = session.get("shop/a")
        assert item.default is not None
        assert item.default.change_id == ordered[1].id
        assert item.is_conflict


@pytest.mark.parametrize("keys", [("shop/a",), ("shop/a", "shop/b")])
def test_an_altered_value_is_not_shown(agent, session, keys):
    honest = change_of(*keys)
    altered = Change.decode(honest.encode().replace(b"\xc4\x011", b"\xc4\x012", 1), CLUSTER.genesis.cluster_id)
    assert altered.entries != honest.entries
    agent.replies["get"] = [reply_with(altered.restrict([0]))]
    with pytest.raises(BadSignature, match="delivers what does not verify"):
        session.get("shop/a")


def test_another_signers_value_is_not_shown(agent, session):
    loose = found_cluster("test", [ROOT], [Role("all", (OTHER.public,), ("",))], threshold=1, now_ms=1_000, salt=SALT)
    assert loose.genesis == CLUSTER.genesis
    agent.replies["get"] = [reply_with(change_of("shop/a", signer=OTHER, chain=loose.chain()))]
    with pytest.raises(NotAuthorised, match="delivers what does not verify"):
        session.get("shop/a")


def test_a_forged_signature_is_found_again_after_a_good_one(agent, session):
    """The memory of checked signatures must not let another signature of the same change pass."""
    honest = change_of("shop/a")
    agent.replies["get"] = [
        reply_with(honest),
        reply_with(Change(honest.header, bytes(64), honest.entries, honest.proof)),
    ]
    session.get("shop/a")
    with pytest.raises(BadSignature):
        session.get("shop/a")


@pytest.mark.parametrize(
    ("reply", "part"),
    [
        (reply_with(change_of("shop/b")), "'shop/b' where 'shop/a' was meant"),
        (reply_with(change_of("shop/a"), 1), "names entry 1"),
        ({"ok": True}, "no proper field 'versions'"),
        ({"ok": True, "versions": ["x"]}, "no proper field 'change'"),
        ({"ok": True, "versions": [{"change": b"x", "index": "0"}]}, "no change, and it is not shown"),
        (reply_with(change_of("shop/a"), "0"), "no proper field 'index'"),
        ({"ok": False}, "does not say why"),
        ({"ok": False, "error": "exit", "message": "odd"}, "odd"),
        (b"\x00\x00\x00\x01\xc1", "does not answer as an agent does"),
        (b"\x00\x00\x00\x01\x01", "does not answer as an agent does"),
        ((REPLY_BYTES_MAX + 1).to_bytes(4, "big"), "the limit is"),
    ],
)
def test_nonsense_is_named(agent, session, reply, part):
    agent.replies["get"] = [reply]
    with pytest.raises(ControlError, match=part):
        session.get("shop/a")


def test_refusals_come_as_the_error_that_the_agent_names(agent, session):
    agent.replies["get"] = [{"ok": False, "error": "NotAuthorised", "message": "no"}]
    with pytest.raises(NotAuthorised, match=r"^no$"):
        session.get("shop/a")


def test_pages_are_put_together(agent, session):
    pages = [
        {
            "ok": True,
            "items": [{"key": key, "versions": reply_with(change_of(key))["versions"]} for key in keys],
            "more": more,
        }
        for keys, more in ((("shop/a", "shop/b"), True), (("shop/c",), False))
    ]
    agent.replies["list"] = pages
    assert [item.key for item in session.items("shop")] == ["shop/a", "shop/b", "shop/c"]
    assert agent.requests[-1]["after"] == "shop/b"


def test_a_list_that_goes_round_ends(agent, session):
    page = {"ok": True, "items": [{"key": "shop/a", "versions": []}], "more": True}
    agent.replies["list"] = [page]
    with pytest.raises(ControlError, match="lists 'shop/a' after 'shop/a'"):
        list(session.items("shop"))


def test_ids_are_put_together_and_must_be_in_order(agent, session):
    agent.replies["ids"] = [
        {"ok": True, "keys": [["shop/a", [b"2", b"1"]]], "more": True},
        {"ok": True, "keys": [["shop/b", []]], "more": False},
    ]
    assert list(session.ids("shop")) == [("shop/a", [b"1", b"2"]), ("shop/b", [])]
    for keys in ([["shop/a", []], ["shop/a", []]], [["other", []]], [["shop/a"]], [5]):
        agent.replies["ids"] = [{"ok": True, "keys": keys, "more": True}]
        with pytest.raises(ControlError, match="out of order"):
            list(session.ids("shop"))


def test_a_watch_that_the_agent_ends_says_why(agent, session):
    refusal = {"ok": False, "error": "ControlError", "message": "the disk is full"}
    body = b"".join(len(one).to_bytes(4, "big") + one for one in map(msgpack.packb, ({"ok": True}, refusal)))
    agent.replies["watch"] = [body]
    session._client.close()
    with Client(agent.path) as client, pytest.raises(ControlError, match="the disk is full"):
        next(client.watch("shop"))


def test_a_policy_that_came_since_is_fetched_and_judged(agent, session):
    chain = CLUSTER.chain()
    roles = (Role("admins", (ADMIN.public,), ("shop",)), Role("others", (OTHER.public,), ("more",)))
    policy = Policy(2, (ROOT.public,), 1, roles)
    second = sign_policy(chain, policy, [ROOT], now_ms=3_000, reservation=Reservation(b"reserved", 1))
    chain.accept(second)
    change = change_of("more/a", signer=OTHER, chain=chain)
    agent.replies["policies"] = [{"ok": True, "changes": [one.encode() for one in (*CLUSTER.policies, second)]}]
    agent.replies["get"] = [reply_with(change)]
    version = session.get("more/a").default
    assert version is not None
    assert session.signer_of(version)[0] == "others"


def test_a_settled_policy_fork_is_followed_whichever_branch_the_cluster_file_has(agent):
    chain = CLUSTER.chain()
    roles = [Role("admins", (ADMIN.public,), ("shop",)), Role("others", (OTHER.public,), ("more",))]
    one, two = (
        sign_policy(
            CLUSTER.chain(),
            Policy(2, (ROOT.public,), 1, tuple(roles[:number])),
            [ROOT],
            now_ms=3_000,
            reservation=Reservation(b"reserved", number),
        )
        for number in (1, 2)
    )
    for branch in (one, two):
        chain.accept(branch)
    policy = Policy(3, (ROOT.public,), 1, tuple(roles), settles=(two.id, one.id))
    three = sign_policy(chain, policy, [ROOT], now_ms=3_000, reservation=Reservation(b"reserved", 3))
    offered = [change.encode() for change in (*CLUSTER.policies, two, one, three)]
    agent.replies["policies"] = [{"ok": True, "changes": offered}]
    for known in ((), (one,), (two,)):
        with Client(agent.path) as client:
            session = Session(client, Cluster(CLUSTER.genesis, (*CLUSTER.policies, *known)))
        assert session.chain.head == policy
        assert session.policies == [*CLUSTER.policies, two, three]


def forks_reply(*changes: Change, more: bool = False) -> dict:
    raws = [{"header": change.restrict(()).encode(), "lives": True} for change in changes]
    return {"ok": True, "forks": [raws], "more": more}


def test_a_fork_is_believed_with_its_proof_only(agent, session):
    one, two = (change_of("shop/a", value=value) for value in (b"1", b"2"))
    agent.replies["forks"] = [forks_reply(one, two)]
    ((known,), more) = session.forks()
    assert ({branch.header.id for branch in known}, more) == ({one.id, two.id}, False)
    for none in ((), (one,), (one, one), (one, change_of("shop/a", seq=2))):
        agent.replies["forks"] = [forks_reply(*none)]
        with pytest.raises(ControlError, match="the agent calls a fork what is none"):
            session.forks()
    agent.replies["forks"] = [forks_reply(one, dataclasses.replace(two, signature=bytes(64)))]
    with pytest.raises(BadSignature, match="the agent delivers what does not verify"):
        session.forks()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_that_there_are_more_forks_than_an_agent_tells_is_said(agent, run, tmp_path, options):
    CLUSTER.save(tmp_path / "cluster.gossipconf")
    agent.replies["forks"] = [forks_reply(*(change_of("shop/a", value=value) for value in (b"1", b"2")), more=True)]
    result = run("forks", "--cluster", tmp_path, "--agent", agent.path, *options)
    assert (result.code, result.err) == (0, "there are more forks than these 1\n")


# -- publishing -----------------------------------------------------------------------------------


def reservation_reply(seq: int = 1, replaced=()) -> dict:
    return {
        "ok": True,
        "incarnation": b"12345678",
        "seq": seq,
        "replaced": [change.encode() for change in replaced],
        "policies": [],
    }


STALE = {"ok": False, "error": "StaleReservation", "message": "overtaken"}


def test_an_overtaken_publish_is_signed_again(agent, session):
    agent.replies["reserve"] = [reservation_reply(1), reservation_reply(2)]
    agent.replies["publish"] = [STALE, {"ok": True}]
    published = session.publish([put("shop/a", b"1", ValueType.TEXT)], ADMIN)
    assert published.change.header.seq == 2
    sent = [Change.decode(one["change"], CLUSTER.genesis.cluster_id) for one in agent.requests if "change" in one]
    assert [change.header.seq for change in sent] == [1, 2]


def test_and_not_for_ever(agent, session):
    agent.replies |= {"reserve": [reservation_reply()], "publish": [STALE]}
    with pytest.raises(StaleReservation, match="overtaken"):
        session.publish([put("shop/a", b"1")], ADMIN)
    asked = [one["compared"] for one in agent.requests if one["op"] == "publish"]
    assert asked == [True] * (PUBLISH_ATTEMPTS - 1) + [False], "rather a conflict than no publish"
    agent.requests.clear()
    with pytest.raises(StaleReservation, match="overtaken"):
        session.publish([put("shop/a", b"1")], ADMIN, if_version=["none"])
    assert all(one["compared"] for one in agent.requests if one["op"] == "publish")


def test_nothing_is_signed_over_what_does_not_verify(agent, session):
    honest = change_of("shop/a")
    agent.replies["reserve"] = [reservation_reply(replaced=[Change(honest.header, bytes(64), honest.entries)])]
    with pytest.raises(BadSignature):
        session.publish([put("shop/a", b"2")], ADMIN)
    assert "publish" not in {one["op"] for one in agent.requests}


def test_what_is_replaced_is_what_was_expected(agent, session):
    before = change_of("shop/a")
    agent.replies |= {"reserve": [reservation_reply(replaced=[before])], "publish": [{"ok": True}]}
    with pytest.raises(KeyChanged, match="'shop/a'; nothing was published"):
        session.publish([put("shop/a", b"2")], ADMIN, expected=frozenset())
    published = session.publish([put("shop/a", b"2")], ADMIN, expected=frozenset([before.version_id(0)]))
    assert published.change.header.time_ms > before.header.time_ms
    assert [version.id for version in published.replaced] == [before.version_id(0)]


def test_what_an_agent_says_is_live_is_compared_with_the_version_that_is_named(agent, session):
    before = change_of("shop/a")
    agent.replies |= {"reserve": [reservation_reply(replaced=[before])], "publish": [{"ok": True}]}
    for names, told in ((["none"], "is at version"), (["0123456789"], "is at version")):
        with pytest.raises(KeyChanged, match=told):
            session.publish([put("shop/a", b"2")], ADMIN, if_version=names)
    session.publish([put("shop/a", b"2")], ADMIN, if_version=["none", before.id.hex()[:6].upper()])
    agent.replies["reserve"] = [reservation_reply(replaced=[])]
    with pytest.raises(KeyChanged, match="'shop/a' has no value"):
        session.publish([put("shop/a", b"2")], ADMIN, if_version=[before.id.hex()])
    session.publish([put("shop/a", b"2")], ADMIN, if_version=["none"])
    assert sum(one["op"] == "publish" for one in agent.requests) == 2


# -- reaching -------------------------------------------------------------------------------------


def test_an_agent_of_another_cluster_is_refused(agent):
    agent.replies["info"] = [{"ok": True, "node": "fake", "zone": "", "cluster": "00" * 32}]
    with Client(agent.path) as client, pytest.raises(WrongCluster, match="another cluster"):
        Session(client, CLUSTER)


def test_an_agent_that_hangs_up(agent, session):
    agent.replies["get"] = [None]
    with pytest.raises(AgentUnreachable, match="closed the connection"):
        session.get("shop/a")


def test_no_agent(tmp_path):
    with pytest.raises(AgentUnreachable, match="there is no such socket"):
        Client(tmp_path / "gone.sock")
    (tmp_path / "file").touch()
    with pytest.raises(AgentUnreachable, match="it has stopped"):
        Client(tmp_path / "file")
    CLUSTER.save(tmp_path / "cluster.gossipconf")
    with (
        pytest.raises(AgentUnreachable, match="start one with: gossipconf agent run NODE; or"),
        open_session(Target.find(tmp_path)),
    ):
        pass


def test_a_silent_agent_is_not_waited_for(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with Client(tmp_path / "s", timeout_s=0.01) as client, pytest.raises(AgentUnreachable, match="in time"):
            client.request("info")


def test_the_first_agent_that_answers_is_asked(agent, tmp_path):
    CLUSTER.save(tmp_path / "cluster.gossipconf")
    for node in ("a", "b"):
        (tmp_path / "nodes" / node / "data").mkdir(parents=True)
    stopped = socket.socket(socket.AF_UNIX)
    stopped.bind(str(tmp_path / "nodes/a/data/control.sock"))
    stopped.close()
    target = Target.find(tmp_path)
    with pytest.raises(AgentUnreachable, match="it has stopped"), target.connect():
        pass
    (tmp_path / "nodes/b/data/control.sock").symlink_to(agent.path)
    with Target.find(tmp_path).connect() as client:
        assert client.request("info")["node"] == "fake"
    agent.stop()
    with pytest.raises(AgentUnreachable, match="none of the 2 agents"), Target.find(tmp_path).connect():
        pass


def test_a_socket_in_a_deep_directory(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * SOCKET_PATH_BYTES_MAX)
    deep.mkdir()
    monkeypatch.chdir(deep)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()
        Client(deep / "s").close()
