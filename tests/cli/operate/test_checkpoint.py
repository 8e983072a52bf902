"""`checkpoint` and `beacon` at a real agent, and what `status` says of both."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from gossipconf.cli.lifetime import milliseconds
from gossipconf.cli.operate import beacon as beacon_command
from gossipconf.cli.replies import Status, Unconfirmed, View
from gossipconf.cli.see.status import cautions
from gossipconf.model.errors import InvalidInput
from gossipconf.runtime.pki import create_ca
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.keys import Signer, load_signer
from gossipconf.trust.policy import Role

from ..conftest import AgentThread, command


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cluster with an agent `a` in which `keys/keeper` may sign snapshots and nothing else."""
    directory = tmp_path_factory.mktemp("k") / "shop"
    (directory / "keys").mkdir(parents=True)
    root, admin, keeper = (Signer.generate() for _ in range(3))
    roles = [Role("admins", (admin.public,), ("",)), Role("keepers", (keeper.public,), ("",), ("snapshot",))]
    cluster = found_cluster("shop", [root], roles, threshold=1, now_ms=1, salt=os.urandom(16))
    cluster.save(directory / "cluster.gossipconf")
    admin.save(directory / "keys" / "admin")
    keeper.save(directory / "keys" / "keeper")
    create_ca(directory / "ca", cluster.genesis.cluster_id)
    for name in ("a", "b"):
        assert command("pki", "node", name, "--listen", "127.0.0.1:0", "--cluster", directory) == 0
    agent = AgentThread(directory / "nodes" / "a")
    agent.start()
    assert command("put", "shop/x", "1", "--cluster", directory) == 0
    yield directory
    agent.stop()


@pytest.fixture
def shop(kept, monkeypatch):
    """Its directory, and the working directory in it."""
    monkeypatch.chdir(kept)
    return kept


def status(run, *options: str) -> dict:
    return json.loads(run("status", "--json", *options).out)


# -- checkpoint -----------------------------------------------------------------------------------


def test_a_checkpoint_is_made_verified_shown_and_booted_from(run, shop, tmp_path):
    file = tmp_path / "shop.checkpoint"
    made = run("checkpoint", "create", file, "--key", "keys/keeper", "--valid", "7d")
    assert (made.code, made.err) == (0, "")
    assert f"{file}: 2 changes, 2 entries" in made.out
    assert "until then it may be booted from" in made.out
    verified = run("checkpoint", "verify", file)
    assert (verified.code, verified.out.splitlines()[-1]) == (
        0,
        "verified: policies, signature, contents and fingerprint",
    )
    said = json.loads(run("checkpoint", "inspect", file, "--json").out)
    assert (said["changes"], said["entries"], said["policy"], said["verified"]) == (2, 2, 1, False)
    assert said["root"] == status(run)["members"][0]["root"]
    (shop / "nodes" / "b" / "agent.toml").write_text(f'node = "b"\nlisten = "127.0.0.1:0"\ncheckpoint = "{file}"\n')
    b = AgentThread(shop / "nodes" / "b")
    b.start()
    try:
        assert run("get", "shop/x", "--agent", "nodes/b").out == "1"
        assert status(run, "--agent", "nodes/b")["unconfirmed"]["equal"] == []
        assert "unconfirmed: b booted from a checkpoint of " in run("status", "--agent", "nodes/b").out
        refused = run("beacon", "run", "--count", "1", "--key", "keys/keeper", "--agent", "nodes/b")
        assert (refused.code, refused.err.split(",")[0]) == (1, "error: b is unconfirmed")
        doubtful = run("checkpoint", "create", tmp_path / "c", "--key", "keys/keeper", "--agent", "nodes/b", "--json")
        assert doubtful.code == 0
        assert doubtful.err.startswith("warning: b booted from a checkpoint and is unconfirmed")
        assert json.loads(doubtful.out)["root"] == said["root"]
    finally:
        b.stop()


def test_a_key_that_may_not_sign_snapshots_makes_no_file(run, shop, tmp_path):
    result = run("checkpoint", "create", tmp_path / "c")
    assert result.code == 1
    assert "does not let SHA256:" in result.err
    assert "'snapshot'" in result.err
    assert not (tmp_path / "c").exists()


def test_an_existing_file_is_not_overwritten(run, shop, tmp_path):
    (tmp_path / "c").write_text("mine")
    result = run("checkpoint", "create", tmp_path / "c", "--key", "keys/keeper")
    assert (result.code, "is not overwritten" in result.err) == (1, True)
    assert (tmp_path / "c").read_text() == "mine"


def test_an_altered_file_is_shown_and_not_verified(run, shop, tmp_path):
    file = tmp_path / "c"
    assert run("checkpoint", "create", file, "--key", "keys/keeper").code == 0
    data = file.read_bytes()
    # The last bytes of a change are its proof and the expiry before it; the value comes before them.
    file.write_bytes(data.replace(b"\xc4\x011\x90\xc0", b"\xc4\x012\x90\xc0"))
    assert file.read_bytes() != data
    assert run("checkpoint", "inspect", file).out.endswith("not verified; do that with: gossipconf checkpoint verify\n")
    result = run("checkpoint", "verify", file)
    assert (result.code, result.err) == (
        1,
        f"error: checkpoint {file} is refused: its contents are not those that were signed: cut off or altered; "
        "copy it again\n",
    )


@pytest.mark.parametrize("name", ["verify", "inspect"])
def test_a_file_that_is_not_there(run, shop, name):
    result = run("checkpoint", name, "missing")
    assert (result.code, result.err) == (
        1,
        "error: checkpoint missing cannot be read: No such file or directory\n",
    )


# -- beacon ---------------------------------------------------------------------------------------


def test_beacons_bound_the_age_of_the_view(run, shop, monkeypatch):
    assert status(run)["view"]["freshness"] == "never"
    assert "view of unknown age" in run("status").out
    slept = []
    monkeypatch.setattr(beacon_command, "time", type("Clock", (), {"sleep": staticmethod(slept.append)}))
    time_ms = time.time_ns() // 1_000_000
    result = run("beacon", "run", "--every", "1h", "--count", "2", "--key", "keys/keeper")
    assert (result.code, result.err, len(result.out.splitlines()), slept) == (0, "", 2, [3_600.0])
    view = status(run)["view"]
    assert view["freshness"] == "fresh"
    assert 10_000 <= view["at_most_ms"] <= 10_000 + time.time_ns() // 1_000_000 - time_ms
    assert "view at most " in run("status").out


def test_a_key_that_may_not_sign_beacons(run, shop):
    result = run("beacon", "run", "--count", "1")
    assert (result.code, "does not let" in result.err) == (1, True)


def test_beacons_must_not_expire_before_the_next_one(run, shop):
    result = run("beacon", "run", "--every", "2m", "--valid", "1m")
    assert (result.code, "less than --every 2m" in result.err) == (1, True)


# -- words ----------------------------------------------------------------------------------------


def said(**fields) -> list[str]:
    return cautions("a", Status([], **fields))


def test_what_status_says_of_the_view():
    assert said() == ["view of unknown age: no beacon has shown how old it is"]
    assert said(view=View("fresh", 74_001)) == ["view at most 75 s old"]
    assert said(view=View("stale", 400_000, limit_ms=300_000)) == [
        "view at most 6 min old: STALE, older than the 5 min of the agent's settings"
    ]
    assert said(view=View("expired", 90_000))[0].startswith("view at most 90 s old: EXPIRED, ")


def test_what_status_says_of_a_checkpoint():
    assert said(unconfirmed=Unconfirmed(0, ("b",), 2))[0] == (
        "unconfirmed: a booted from a checkpoint of 1970-01-01 00:00:00 UTC, and 1 of 2 peers have held the same "
        "since (b)"
    )


@pytest.mark.parametrize(
    ("text", "length_ms"), [("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000), ("3650d", 315_360_000_000)]
)
def test_lengths_of_time(text, length_ms):
    assert milliseconds(text, "--valid") == length_ms


@pytest.mark.parametrize("text", ["", "0s", "5", "5w", "1.5h", "3651d", "-1s", " 1s"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(InvalidInput, match="--valid is "):
        milliseconds(text, "--valid")


def test_the_file_can_be_read_by_all(run, shop, tmp_path):
    """Nothing in it is secret that the agents do not tell each other, and it goes into images."""
    file: Path = tmp_path / "c"
    assert run("checkpoint", "create", file, "--key", "keys/keeper").code == 0
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("arguments", [("checkpoint", "create", "FILE"), ("beacon", "run", "--count", "1")])
def test_the_key_may_have_a_passphrase_which_a_file_gives(run, shop, tmp_path, arguments):
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    load_signer(shop / "keys" / "keeper").save(tmp_path / "keeper", passphrase=b"open sesame")
    words = [tmp_path / "c" if one == "FILE" else one for one in arguments]
    signed = run(*words, "--key", tmp_path / "keeper", "--passphrase-file", secret)
    assert (signed.code, signed.err) == (0, "")
