"""The command as a whole: help, exit codes, founding, nodes, certificates, output, and running an agent."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import gossipconf
from gossipconf.cli.operate.agent import JsonFormatter, TextFormatter
from gossipconf.cli.output import age, duration, escaped, json_time, note, print_json, say, value_in_line
from gossipconf.cli.replies import Member, Status
from gossipconf.cli.see import read, status
from gossipconf.cli.see.status import remark, summary
from gossipconf.model.entry import ValueType
from gossipconf.model.limits import TIME_MS_MAX
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.keys import load_signer
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Policy
from gossipconf.trust.signing import Reservation

COMMAND = [sys.executable, "-m", "gossipconf.cli"]


# -- help -----------------------------------------------------------------------------------------


def test_help_and_version(run):
    assert run("--version").out == f"gossipconf {gossipconf.__version__}\n"
    result = run("put", "-h")
    assert result.code == 0
    assert "gossipconf put shop/checkout/timeout_ms 1200" in result.out
    assert "Exit codes" in run("--help").out


def test_completion_is_offered():
    script = subprocess.run(
        COMMAND, env=os.environ | {"_GOSSIPCONF_COMPLETE": "source_bash"}, capture_output=True, check=False
    )
    assert b"gossipconf" in script.stdout


# -- exits ----------------------------------------------------------------------------------------


def test_no_agent_has_its_own_code(run, tmp_path):
    assert run("init", tmp_path / "c").code == 0
    result = run("get", "a", "--cluster", tmp_path / "c")
    assert result.code == 4
    assert result.err.startswith("error: no agent runs in ")
    assert run("pki", "node", "a", "--listen", "127.0.0.1:1", "--cluster", tmp_path / "c").code == 0
    assert (
        f"start one with: gossipconf agent run {tmp_path}/c/nodes/a; or"
        in run("get", "a", "--cluster", tmp_path / "c").err
    )


def test_a_fault_of_our_own_gives_a_traceback(run, monkeypatch):
    def fault(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(read, "check_key", fault)
    with pytest.raises(ZeroDivisionError):
        run("get", "a")


def test_a_closed_pipe_is_no_fault(cluster):
    with subprocess.Popen(
        [*COMMAND, "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cluster, env=environment()
    ) as process:
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait() == 1
    assert error == b""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["put", "full/disk", "7"], 0, "published; the output cannot be written: No space left on device"),
        (["list"], 1, "error: the output cannot be written: No space left on device"),
    ],
)
def test_an_output_that_is_full_is_told_in_a_line(cluster, arguments, code, words):
    """And after the acknowledgement of a publish it changes nothing: a pipeline must not publish again."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gossipconf.cli", *arguments, "--cluster", str(cluster)]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False, timeout=60
        )
    assert (result.returncode, result.stderr.strip()) == (code, words)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_is_no_fault(cluster):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": cluster, "env": environment()}
    with subprocess.Popen([*COMMAND, "watch"], **pipes) as process:
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in {1, 130}
        assert b"Traceback" not in process.stderr.read()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(gossipconf.__file__).parents[1])}


# -- founding -------------------------------------------------------------------------------------


def test_init_makes_a_cluster_with_the_asked_prefixes(run, tmp_path):
    directory = tmp_path / "c"
    result = run("init", directory, "--name", "test", "--prefix", "shop/", "--prefix", "a")
    assert result.code == 0
    assert "keep it offline" in result.out
    assert f"gossipconf pki node a --cluster {directory}" in result.out
    cluster = Cluster.load(directory / "cluster.gossipconf")
    admin = load_signer(directory / "keys" / "admin")
    role = cluster.chain().head.roles[0]
    assert (cluster.genesis.name, role.name, role.keys, role.prefixes) == (
        "test",
        "admins",
        (admin.public,),
        ("_schemas/a", "_schemas/shop", "a", "shop"),
    )
    for secret in ("keys/root", "keys/admin", "ca/ca.key"):
        assert stat.S_IMODE((directory / secret).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--name", ""], "1 to 1024 bytes"),
        (["--name", "x" * 1025], "1 to 1024 bytes"),
        (["--prefix", "a//b"], "empty segment"),
    ],
)
def test_init_refuses_before_it_makes_anything(run, tmp_path, arguments, part):
    result = run("init", tmp_path / "c", *arguments)
    assert result.code == 1
    assert part in result.err
    assert not (tmp_path / "c").exists()


def test_init_overwrites_nothing(run, tmp_path):
    (tmp_path / "mine").touch()
    result = run("init", tmp_path)
    assert result.code == 1
    assert "is not empty" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert "cannot be made" in run("init", tmp_path / "mine").err


# -- nodes and certificates -----------------------------------------------------------------------


@pytest.fixture
def founded(run, tmp_path, monkeypatch):
    assert run("init", tmp_path / "c").code == 0
    monkeypatch.chdir(tmp_path / "c")
    return tmp_path / "c"


def test_a_nodes_directory_has_all_that_its_machine_needs(founded, run):
    arguments = ["--listen", "0.0.0.0:7946", "--advertise", "b.example:7946", "--join", "a.example:7946"]
    assert run("pki", "node", "b", *arguments, "--zone", "eu/1", "--host", "b.example", "--days", "30").code == 0
    node = founded / "nodes" / "b"
    assert sorted(path.name for path in node.iterdir()) == [
        "agent.toml",
        "ca.crt",
        "cluster.gossipconf",
        "node.crt",
        "node.key",
        "seal.key",
    ]
    assert (node / "agent.toml").read_text().splitlines()[1:] == [
        'node = "b"',
        'listen = "0.0.0.0:7946"',
        'advertise = "b.example:7946"',
        'zone = "eu/1"',
        'join = ["a.example:7946"]',
    ]
    shown = json.loads(run("pki", "show", node / "node.crt", "--json").out)
    assert (shown["node"], shown["hosts"], shown["days_left"]) == ("b", ["b.example"], 29)
    again = run("pki", "node", "b")
    assert again.code == 1
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["B"], "lower-case"),
        (["b", "--listen", "nowhere"], "not host:port"),
        (["b", "--listen", "0.0.0.0:1"], "add --advertise"),
        (["b", "--listen", "[::]:1"], "add --advertise"),
        (["b", "--join", "x"], "not host:port"),
        (["b", "--advertise", "x"], "not host:port"),
        (["b", "--host", "a b"], "neither an IP address nor a DNS name"),
        (["b", "--days", "0"], "1 to 36500 days"),
        (["b", "--zone", "z" * 129], "longer than 128 bytes"),
    ],
)
def test_a_node_that_could_not_run_is_not_made(founded, run, arguments, part):
    result = run("pki", "node", *arguments)
    assert result.code == 1
    assert part in result.err
    assert not list(founded.glob("nodes/*/node.key"))
    assert not list(founded.glob(".*"))


def test_a_ticket_is_all_that_a_new_machine_needs(founded, run, tmp_path, monkeypatch):
    made = run("pki", "ticket", "b", "--valid-days", "10", "--out", tmp_path / "b.ticket")
    assert made.code == 0
    assert "SECRET: lets node b join" in made.out
    (tmp_path / "machine").mkdir()
    monkeypatch.chdir(tmp_path / "machine")
    refused = run("pki", "redeem", tmp_path / "b.ticket", "--node-id", "c")
    assert refused.code == 1
    assert "for node 'b' only" in refused.err
    assert run("pki", "redeem", tmp_path / "b.ticket", "--join", "a.example:7946", "--host", "b.example").code == 0
    assert sorted(path.name for path in (tmp_path / "machine" / "b").iterdir()) == [
        "agent.toml",
        "ca.crt",
        "cluster.gossipconf",
        "node.crt",
        "node.key",
        "seal.key",
    ]
    shown = json.loads(run("pki", "show", "b/node.crt", "--json").out)
    assert (shown["node"], shown["hosts"], shown["days_left"]) == ("b", ["b.example"], 9)
    assert stat.S_IMODE(Path("b/seal.key").stat().st_mode) == 0o600
    assert run("pki", "redeem", tmp_path / "b.ticket", "--out", "next", "--seal-key", "b/seal.key").code == 0
    assert Path("next/seal.key").read_bytes() == Path("b/seal.key").read_bytes()
    assert json.loads(run("pki", "show", "next/node.crt", "--json").out)["recipient"] == shown["recipient"]
    again = run("pki", "redeem", tmp_path / "b.ticket")
    assert again.code == 1
    assert "exists already" in again.err


def test_a_ticket_says_for_whom_it_is(founded, run):
    for arguments in ([], ["b", "--any"]):
        result = run("pki", "ticket", *arguments)
        assert result.code == 1
        assert "a NAME, or --any" in result.err
    assert "--node-id NAME" in run("pki", "ticket", "--any").out
    assert "say which with --node-id" in run("pki", "redeem", "any.ticket").err
    assert run("pki", "redeem", "any.ticket", "--node-id", "d").code == 0


def test_show_tells_whom_the_policy_revokes(founded, run):
    cluster, root = Cluster.load(founded / "cluster.gossipconf"), load_signer(founded / "keys" / "root")
    chain = cluster.chain()
    roles = with_membership(chain.head.roles, Membership(issuers=("i",), nodes=("b",), certificates=(bytes(32),)))
    policy = Policy(2, chain.head.roots, chain.head.threshold, roles)
    change = sign_policy(chain, policy, [root], now_ms=1, reservation=Reservation(b"policies", 2))
    Cluster(cluster.genesis, (*cluster.policies, change)).save(founded / "new.gossipconf")
    facts = json.loads(run("pki", "show", "new.gossipconf", "--json").out)
    assert (facts["issuers"], facts["revoked_nodes"]) == (["i"], ["b"])
    assert facts["revoked_certificates"] == ["SHA256:" + "00" * 32]
    assert [role["name"] for role in facts["roles"]] == ["admins"]


def test_a_second_ca_does_not_replace_the_first(founded, run):
    result = run("pki", "ca")
    assert result.code == 1
    assert "not overwritten" in result.err
    (founded / "ca" / "ca.key").unlink()
    (founded / "ca" / "ca.crt").unlink()
    assert run("pki", "ca", "--days", "10").code == 0
    assert json.loads(run("pki", "show", "ca/ca.crt", "--json").out)["days_left"] == 9


def test_show(founded, run, tmp_path):
    assert "kind         public key" not in run("pki", "show", "cluster.gossipconf").out
    facts = json.loads(run("pki", "show", "cluster.gossipconf", "--json").out)
    assert (facts["name"], facts["policy"], facts["roles"][0]["prefixes"]) == ("c", 1, ["(all keys)", "_schemas"])
    assert facts["roles"][0]["keys"][0] in run("pki", "show", "keys/admin.pub").out
    assert "certificate authority" in run("pki", "show", "ca/ca.crt").out
    for path, part in (
        ("keys/root", "never shown"),
        ("ca/ca.key", "never shown"),
        ("gone", "cannot be read"),
        (tmp_path, "cannot be read"),
    ):
        result = run("pki", "show", path)
        assert result.code == 1
        assert part in result.err
    (tmp_path / "junk").write_bytes(b"junk")
    assert "is not a cluster file: it is a text" in run("pki", "show", tmp_path / "junk").err
    (tmp_path / "crt").write_bytes(b"-----BEGIN CERTIFICATE-----\njunk")
    assert "not a PEM certificate" in run("pki", "show", tmp_path / "crt").err


# -- agents ---------------------------------------------------------------------------------------


def test_agent_run_names_what_is_wrong(founded, run, tmp_path):
    assert "has no agent.toml" in run("agent", "run", tmp_path).err
    (founded / "agent.toml").write_text('node = "a"\nlitsen = "x"\n')
    result = run("agent", "run", founded)
    assert result.code == 1
    assert "unknown option 'litsen'; did you mean 'listen'?" in result.err
    (founded / "agent.toml").write_text('node = "a"\n')
    result = run("agent", "run", founded, "--preset", "fast")
    assert "option 'preset' is 'fast'; presets are: lan, wan, local" in result.err


def test_an_agent_runs_until_it_is_told_to_stop_and_watch_sees_changes(founded, run):
    """Two processes: an agent with JSON logs, and a watch that ends after two changes."""
    assert run("pki", "node", "a", "--listen", "127.0.0.1:0").code == 0
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    with subprocess.Popen([*COMMAND, "agent", "run", "nodes/a", "--log-json"], **pipes) as agent:
        first = json.loads(agent.stderr.readline())
        assert first["level"] == "info"
        assert "agent a serves cluster 'c'" in first["message"]
        while "ready for commands" not in json.loads(agent.stderr.readline())["message"]:
            pass
        agent.send_signal(signal.SIGHUP)
        assert "new connections use the certificate" in json.loads(agent.stderr.readline())["message"]
        with subprocess.Popen([*COMMAND, "watch", "w", "--count", "2", "--json"], **pipes) as watch:
            assert watch.stderr.readline() == b"watching w at a; Ctrl-C ends\n"
            assert run("put", "w/a", "1").code == 0
            assert json.loads(watch.stdout.readline())["value"] == "1"
            assert run("put", "other", "1").code == 0
            assert run("delete", "w/a").code == 0
            assert json.loads(watch.stdout.readline())["operation"] == "delete"
            assert watch.wait() == 0
        with subprocess.Popen([*COMMAND, "watch"], **pipes) as watch:
            watch.stderr.readline()
            assert run("put", "w/b", "1", "--comment", "new").code == 0
            assert watch.stdout.readline().endswith(b"  w/b  1  (admins: new)\n")
            agent.send_signal(signal.SIGTERM)
            assert watch.wait() == 4
            assert b"closed the connection" in watch.stderr.read()
        assert agent.wait() == 0
        assert b"agent a has stopped" in agent.stderr.read()


def test_a_command_starts_without_what_only_others_need():
    """Each of these would add to the start of every `get` in a script."""
    program = "import sys, gossipconf.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "gossipconf.cli.publish.apply" in loaded
    assert loaded.isdisjoint({"yaml", "javaproperties", "cryptography.x509", "trio", "sqlite3", "numpy"})


def test_json_logs_carry_tracebacks():
    try:
        raise ValueError("x")
    except ValueError:
        record = logging.LogRecord("gossipconf", logging.ERROR, "f", 1, "no %s", ("luck",), sys.exc_info())
    fields = json.loads(JsonFormatter().format(record))
    assert (fields["level"], fields["message"]) == ("error", "no luck")
    assert "ValueError: x" in fields["traceback"]
    assert fields["time"].endswith("Z")


@pytest.mark.parametrize("evil", ["a\nERROR forged", "\x1b]0;title\x07", "\x9b31m", "\u202eright to left", "\x7f"])
def test_what_peers_write_stays_in_its_line_of_the_log(evil):
    try:
        raise ValueError(evil)
    except ValueError:
        record = logging.LogRecord("gossipconf", logging.INFO, "f", 1, "lost: %s", (evil,), sys.exc_info())
    text = TextFormatter().format(record)
    assert text.split("\n")[0].endswith(f"INFO    lost: {escaped(evil)}")
    assert text.split("\n")[1] == "Traceback (most recent call last):"
    assert evil not in text.split("\n")[0]
    assert text.replace("\n", "").isprintable()
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == f"lost: {evil}"


# -- words ----------------------------------------------------------------------------------------


def member(node: str, state: str, **more: object) -> Member:
    facts = {"zone": "", "address": "", "root": b"", "policy": 1, "versions": 1, "age_ms": 0, "lag_ms": None}
    return Member(node=node, state=state, **{**facts, "degraded": False, **more})


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member("a", "self")], "1 agent: a, which knows of no other"),
        ([member("a", "self"), member("b", "equal")], "2 agents: all hold the same state, as last told"),
        (
            [
                member("a", "self"),
                member("b", "equal"),
                member("c", "equal"),
                member("d", "differs", lag_ms=4_000),
                member("e", "silent", age_ms=31_000),
            ],
            "5 agents: 3 hold the same state as a, 1 differs (d, for 4 s), 1 silent (e, last heard 31 s ago)",
        ),
        (
            [member("a", "self", degraded=True), *(member(f"n{n}", "differs") for n in range(7))],
            "8 agents: a by itself, 7 differ (n0; n1; n2; n3; n4; and 2 more); cannot write to disk: a",
        ),
        (
            [member("a", "self"), member("b", "equal"), member("c", "unknown")],
            "3 agents: 2 hold the same state as a, 1 told nothing since the last change (c)",
        ),
        (
            [member("a", "self"), member("b", "stopped"), member("c", "silent", age_ms=None)],
            "3 agents: a by itself, 1 silent (c, not heard since this one started), 1 stopped (b)",
        ),
    ],
)
def test_the_summary_is_one_sentence(members, expected):
    assert summary("a", Status(members)) == expected


@pytest.mark.parametrize(
    ("complaints", "expected"),
    [
        ({}, ""),
        ({"invalid": 1}, "1 invalid"),
        ({"unanswered": 9, "unequal": 9}, ""),
        ({"unanswered": 10, "unequal": 9}, "10 unanswered"),
        ({"invalid": 2, "unequal": 400}, "2 invalid, 400 unequal"),
    ],
)
def test_the_note_tells_of_what_is_held_against_an_agent(complaints, expected):
    assert remark(member("a", "equal", complaints=complaints)).plain == expected
    assert remark(member("a", "equal", complaints=complaints, degraded=True)).plain == "disk does not take writes"


def test_the_summary_of_a_crowd_does_not_count_it():
    assert summary("a", Status([member("a", "self"), member("b", "equal")], crowded=True)) == (
        "more agents than a keeps a list of; of the 2 that it lists: all hold the same state, as last told"
    )


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0, "0 s"), (350, "350 ms"), (4_999, "4 s"), (180_000, "3 min"), (7_200_000, "2 h"), (400_000_000, "4 days")],
)
def test_durations(milliseconds, expected):
    assert duration(milliseconds) == expected


def test_times():
    assert age(1_000, 5_000) == "4 s"
    assert age(0, 1 << 40) == "1970-01-01"
    assert json_time(1_772_366_405_007) == "2026-03-01T12:00:05.007Z"
    assert json_time(TIME_MS_MAX) == TIME_MS_MAX
    assert age(TIME_MS_MAX, 0)


def test_names_that_agents_give_themselves_command_no_terminal(capsys):
    evil = "x\x1b[2J\ny\x9b\u202e"
    members = [member(evil, "self"), member(evil, "differs", zone=evil, address=evil, degraded=True)]
    forked = SimpleNamespace(disputed=(2,), branches=lambda version: (bytes(32), b"\1" * 32))
    status._print(SimpleNamespace(node=evil, chain=forked), Status(members))
    say(evil)
    note(evil)
    print_json({"a": [evil, "ü\U000e0001\x7f"]})
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert text.replace("\n", "").isprintable()
    assert captured.err == "x\\x1b[2J\ny\\x9b\\u202e\n"
    assert captured.out.count("x\\x1b[2J\\ny\\x9b\\u202e") == 8
    assert json.loads(captured.out[captured.out.index("{") :]) == {"a": [evil, "ü\U000e0001\x7f"]}
    assert '"ü\\udb40\\udc01\\u007f"' in captured.out


def test_values_are_one_line_and_bounded():
    assert escaped("a\u202eb\x9bc\n") == "a\\u202eb\\x9bc\\n"
    assert value_in_line(ValueType.TEXT, b"") == '""'
    assert value_in_line(ValueType.TEXT, b"x" * 500) == "x" * 200 + "… (500 bytes)"
    assert value_in_line(ValueType.BYTES, b"x") == "(bytes, 1 byte)"
