"""The demo, from outside: what it reports, that it fails when a claim is false, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from rich.console import Console

from gossipconf.cli.demo import performance, shop
from gossipconf.cli.demo.fleet import Fleet, free_places
from gossipconf.cli.demo.relay import Place, Relay
from gossipconf.cli.demo.report import ClaimFailed, require
from gossipconf.cli.demo.screen import Picture
from gossipconf.cli.demo.shop import load_shop
from gossipconf.cli.demo.sight import Sight
from gossipconf.cli.demo.story import EAST, NODES, WEST
from gossipconf.cli.demo.stranger import is_turned_away
from gossipconf.cli.main import main
from gossipconf.model.errors import ConfigError, InvalidInput

REPOSITORY = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "gossipconf.cli", "demo")


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it has ended
        if str(directory) in line:
            found.append(line)
    return found


@contextmanager
def started(*arguments: str, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo that makes its temporary files in `temporary`."""
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*DEMO, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)  # does nothing to one that has ended


def test_json_reports_every_claim(tmp_path: Path) -> None:
    with started("--json", temporary=tmp_path) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    report = json.loads(output)
    times = {name: value for name, value in report.items() if name.endswith("_ms")}
    assert set(times) >= {"first_spread_ms", "empty_disk_boot_ms", "heal_to_converged_ms", "total_ms"}
    assert all(type(value) is int and value > 0 for value in times.values()), times
    assert times["first_acknowledged_ms"] <= times["first_spread_ms"]
    assert max(times.values()) == times["total_ms"], "every part is inside the whole"
    fingerprint = report.pop("fingerprint")
    assert bytes.fromhex(fingerprint)
    assert {name: value for name, value in report.items() if name not in times} == {
        "agents": 5,
        "keys": len(load_shop().entries),
        "served_in_partition": True,
        "published_in_partition": {"majority": True, "minority": True},
        "restarted_in_partition": True,
        "conflicts": 1,
        "conflict_keys": [shop.SHARED_KEY],
        "conflicts_at_end": 0,
        "fingerprints_equal": True,
    }
    assert list(tmp_path.iterdir()) == [], "its directory is removed"
    assert processes_of(tmp_path) == []


def test_a_false_claim_gives_exit_code_1_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = dict(load_shop().entries)
    kind, _ = wrong[shop.EAST_KEY]
    wrong[shop.EAST_KEY] = (kind, b"-1")
    monkeypatch.setattr(performance, "run", partial(performance.run, expected=wrong))
    directory = tmp_path / "demo"
    with pytest.raises(SystemExit) as ending:
        main(["demo", "--json", "--dir", str(directory)])
    output, errors = capsys.readouterr()
    assert ending.value.code == 1
    assert output == "", "nothing is reported of a demo that failed"
    assert f"error: not true: a returns the right value of every key (1 wrong, such as ['{shop.EAST_KEY}'])" in errors
    for name in "abcde":
        assert f"the end of {directory / 'nodes' / name / 'agent.log'}" in errors
    assert f"logs are in {directory}" in errors
    assert processes_of(directory) == []


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    with started(temporary=tmp_path) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "Five processes" in line)
        assert line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_keep_leaves_the_cluster_up_until_ctrl_c(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    with started("--keep", "--dir", str(directory), temporary=tmp_path) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line.strip())
            if line.startswith("Processes:"):
                break
        assert f"export GOSSIPCONF_CLUSTER={directory}" in told
        environment = os.environ | {"GOSSIPCONF_CLUSTER": str(directory)}
        get = [sys.executable, "-m", "gossipconf.cli", "get", shop.SHARED_KEY, "--agent", str(directory / "nodes/e")]
        got = subprocess.run(get, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
        assert got.stdout.strip() == shop.SHARED_SETTLED[1]
        assert len(processes_of(directory / "nodes")) == 5
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert processes_of(directory) == []
    assert (directory / "nodes" / "a" / "data" / "journal.db").exists(), "a directory that was named stays"


# -- the picture ----------------------------------------------------------------------------------


def test_the_picture_fits_a_small_terminal_and_shows_the_sides(tmp_path: Path) -> None:
    console = Console(width=80, color_system=None)
    fleet, relay = Fleet(tmp_path, shop.SHARED_KEY), Relay([])
    picture = Picture(console, fleet, relay)
    picture.keys = 400
    seen = {node: set(WEST if node in WEST else EAST) - {node} for node in NODES}
    for node, peers in seen.items():
        root = b"W" * 16 if node in WEST else b"E" * 16
        fleet.sights[node] = Sight(0.0, 1, root, 200, node == "e", (), tuple(sorted(peers)))
    fleet.sights["d"] = None
    relay.cut(WEST, EAST)
    with console.capture() as capture:
        console.print(picture.render())
    lines = capture.get().splitlines()
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["a"] == ["━" * 10 + "─" * 10, "200", "57575757", "·", "b", "c", "·", "·"]
    assert rows["d"] == ["not", "running"]
    assert rows["e"] == ["━" * 10 + "─" * 10, "200", "45454545", "·", "·", "·", "d", "·", "1", "conflict"]
    assert "cut off" in capture.get()
    relay.heal()
    with console.capture() as capture:
        console.print(picture.render())
    assert "cut off" not in capture.get()


# -- the relay ------------------------------------------------------------------------------------


async def echo(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # a cut may end it in the middle


async def answer(caller: Place, address: str) -> bytes:
    """What comes back of a call through the relay; nothing if the connection is closed."""
    host, port = address.split(":")
    try:
        async with await trio.open_tcp_stream(host, int(port), local_address=caller.host) as stream:
            await stream.send_all(b"hello")
            return await stream.receive_some()
    except trio.BrokenResourceError:
        return b""


async def test_relay_carries_except_across_a_cut() -> None:
    one, two, three = free_places(["one", "two", "three"])
    listeners = await trio.open_tcp_listeners(two.port, host=two.host)
    relay = Relay([one, two, three])
    addresses = await relay.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        nursery.start_soon(relay.run)
        assert await answer(one, addresses["two"]) == b"hello"
        relay.cut(["one"], ["two", "three"])
        assert await answer(one, addresses["two"]) == b""
        assert await answer(three, addresses["two"]) == b"hello", "the same side"
        relay.heal()
        assert await answer(one, addresses["two"]) == b"hello"
        assert await answer(two, addresses["one"]) == b"", "nobody listens there"
        stray = Place("stray", "127.0.1.77", 1)
        assert await answer(stray, addresses["two"]) == b"", "an address that is no agent's"
        nursery.cancel_scope.cancel()


async def test_a_cut_drops_the_open_connections_that_cross_it() -> None:
    one, two = free_places(["one", "two"])
    listeners = await trio.open_tcp_listeners(two.port, host=two.host)
    relay = Relay([one, two])
    host, port = (await relay.listen())["two"].split(":")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        nursery.start_soon(relay.run)
        async with await trio.open_tcp_stream(host, int(port), local_address=one.host) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            relay.cut(["one"], ["two"])
            assert await stream.receive_some() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert (relay.crossing(), relay.is_cut) == (0, True)
        nursery.cancel_scope.cancel()


# -- what it refuses ------------------------------------------------------------------------------


async def test_who_does_not_ask_for_a_certificate_is_noticed() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, listeners)
        assert not await trio.to_thread.run_sync(is_turned_away, "127.0.0.1", port)
        nursery.cancel_scope.cancel()


def test_require_names_the_claim() -> None:
    require(True, "this holds")
    with pytest.raises(ClaimFailed, match="not true: the moon is a cheese"):
        require(False, "the moon is a cheese")


def test_missing_loopback_addresses_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 cannot be used here"):
        free_places(["a"], network="192.0.2")


def test_missing_or_changed_shop_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop, "PLACES", (tmp_path / "nowhere",))
    with pytest.raises(ConfigError, match="nowhere exists, which the demo needs"):
        load_shop()
    monkeypatch.setattr(shop, "PLACES", (tmp_path,))
    (tmp_path / "gateway.yaml").write_text("limit: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="needs its key"):
        load_shop()


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        performance.run(tmp_path, load_shop().entries)
