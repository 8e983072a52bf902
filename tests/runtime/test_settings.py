"""Settings files: every option, and a clear word for everything that is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.model.errors import ConfigError
from gossipconf.model.limits import NODE_ID_BYTES_MAX
from gossipconf.protocol.tuning import LAN, WAN
from gossipconf.runtime.http_endpoint import HttpEndpoint
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.settings import HISTORY_DAYS, OPTIONS, SEEDS_MAX, ZONE_BYTES_MAX, AgentSettings, load

EVERY_OPTION = """
node = "checkout-7.eu-west"
listen = "10.0.0.5:7000"
advertise = "[2001:db8::1]:7000"
zone = "eu-west/a"
join = ["10.0.0.1:7946", "seed.example:7946", "[::1]:1", "srv:_gossipconf._tcp.example.org"]
cluster = "shop.gossipconf"
certificate = "pki/node.crt"
private_key = "/etc/gossipconf/node.key"
ca = "../ca.crt"
data = "var"
source_host = "10.0.0.5"
history_days = 7
checkpoint = "/images/shop.checkpoint"
clock_skew_s = 2
stale_after_s = 0
preset = "wan"
labels = { service = "checkout", release = "2026-03" }
ticket = "fleet.ticket"
issued_days = 30
http = "0.0.0.0:8765"
http_token = "http.token"
http_certificate = "/etc/ssl/agent.crt"
http_private_key = "http.key"
overrides = "local.toml"
"""


def settings_of(text: str, directory: Path, **overrides: object) -> AgentSettings:
    file = directory / "agent.toml"
    file.write_text(text)
    return load(file, overrides)


def test_every_option(tmp_path: Path) -> None:
    assert all(f"\n{option} = " in EVERY_OPTION for option in OPTIONS)
    assert settings_of(EVERY_OPTION, tmp_path) == AgentSettings(
        node="checkout-7.eu-west",
        listen=("10.0.0.5", 7000),
        cluster=tmp_path / "shop.gossipconf",
        files=NodeFiles(Path("/etc/gossipconf/node.key"), tmp_path / "pki/node.crt", tmp_path / "../ca.crt"),
        data=tmp_path / "var",
        advertise="[2001:db8::1]:7000",
        zone="eu-west/a",
        join=("10.0.0.1:7946", "seed.example:7946", "[::1]:1", "srv:_gossipconf._tcp.example.org"),
        source_host="10.0.0.5",
        history_days=7,
        checkpoint=Path("/images/shop.checkpoint"),
        clock_skew_s=2,
        stale_after_s=0,
        tuning=WAN,
        labels=(("release", "2026-03"), ("service", "checkout")),
        ticket=tmp_path / "fleet.ticket",
        issued_days=30,
        http=HttpEndpoint(
            ("0.0.0.0", 8765), tmp_path / "http.token", Path("/etc/ssl/agent.crt"), tmp_path / "http.key"
        ),
        overrides=tmp_path / "local.toml",
    )


def test_a_name_is_enough(tmp_path: Path) -> None:
    settings = settings_of('node = "a"', tmp_path)
    assert settings == AgentSettings(
        node="a",
        listen=("127.0.0.1", 7946),
        cluster=tmp_path / "cluster.gossipconf",
        files=NodeFiles.inside(tmp_path),
        data=tmp_path / "data",
    )
    assert settings.history_days == HISTORY_DAYS
    assert settings.tuning == LAN
    assert settings.control_socket == tmp_path / "data" / "control.sock"


def test_paths_are_relative_to_the_file_and_not_to_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "agent.toml").write_text('node = "a"\ndata = "d"')
    monkeypatch.chdir(tmp_path)
    for name in ("etc", "etc/agent.toml"):  # a directory stands for the file in it
        assert load(Path(name)).data.resolve() == tmp_path / "etc" / "d"


def test_overrides_win(tmp_path: Path) -> None:
    settings = settings_of('node = "a"\nzone = "x"\njoin = ["a:1"]', tmp_path, zone="y", join=["b:2"], history_days=0)
    assert (settings.node, settings.zone, settings.join, settings.history_days) == ("a", "y", ("b:2",), 0)
    with pytest.raises(ConfigError, match="did you mean 'zone'"):
        settings_of('node = "a"', tmp_path, zones="y")


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:7946", ("::1", 7946)), ("host:1", ("host", 1))],
)
def test_listen(tmp_path: Path, listen: str, expected: tuple[str, int]) -> None:
    assert settings_of(f'node = "a"\nlisten = "{listen}"', tmp_path).listen == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["'node' is missing"]),
        ('nod = "a"', ["unknown option 'nod'", "did you mean 'node'?", "history_days"]),
        ('node = "a"\nlisten_address = "x:1"', ["unknown option 'listen_address'"]),
        ('node = "a"\nqqqq = 1', ["unknown option 'qqqq'", "Options are: node, listen"]),
        ("node = 5", ["'node' must be a string", "5"]),
        ('node = ""', ["node name"]),
        ('node = "Upper"', ["'Upper'"]),
        (f'node = "{"n" * (NODE_ID_BYTES_MAX + 1)}"', [str(NODE_ID_BYTES_MAX)]),
        ('node = "a"\nzone = 1', ["'zone' must be a string"]),
        (f'node = "a"\nzone = "{"z" * (ZONE_BYTES_MAX + 1)}"', ["'zone'", str(ZONE_BYTES_MAX)]),
        ('node = "a"\ndata = true', ["'data' must be a string"]),
        ('node = "a"\njoin = "b:1"', ["'join' must be a list", "10.0.0.1:7946"]),
        ('node = "a"\njoin = [1]', ["'join' must be a list"]),
        ('node = "a"\njoin = ["b"]', ["option 'join': 'b'", "host:port", "[IPv6 address]:port", "srv:NAME"]),
        ('node = "a"\njoin = ["srv:_x._tcp.y:1"]', ["option 'join': 'srv:_x._tcp.y:1'", "srv:NAME", "SRV records"]),
        (f'node = "a"\njoin = {["b:1"] * (SEEDS_MAX + 1)}', ["'join'", str(SEEDS_MAX)]),
        ('node = "a"\nlisten = "7946"', ["'7946'"]),
        ('node = "a"\nlisten = "h:70000"', ["'h:70000'"]),
        ('node = "a"\nlisten = "::1:0"', ["::1"]),
        ('node = "a"\nadvertise = "host"', ["'host'"]),
        ('node = "a"\npreset = "fast"', ["'preset' is 'fast'", "lan, wan, local"]),
        ('node = "a"\npreset = 1', ["'preset' must be a string"]),
        ('node = "a"\nhistory_days = "30"', ["'history_days'", "whole number"]),
        ('node = "a"\nhistory_days = 1.5', ["'history_days'"]),
        ('node = "a"\nhistory_days = true', ["'history_days'"]),
        ('node = "a"\nhistory_days = -1', ["'history_days'", "36500"]),
        ('node = "a"\nclock_skew_s = 86401', ["'clock_skew_s'", "whole number of seconds, 0 to 86400"]),
        ('node = "a"\nstale_after_s = "5m"', ["'stale_after_s'", "whole number of seconds"]),
        ('node = "a"\ncheckpoint = 1', ["'checkpoint'", "must be a string"]),
        ('node = "a"\nhistory_days = 36501', ["'history_days'"]),
        ('node = "a"\n[data]\nx = 1', ["'data' must be a string"]),
        ('node = "a', ["is not valid TOML"]),
        ('node = "a"\nnode = "b"', ["is not valid TOML"]),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        settings_of(text, tmp_path)
    for word in [*words, str(tmp_path / "agent.toml")]:
        assert word in str(raised.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0:0::0]"])
def test_an_address_that_nobody_can_dial_is_not_told_to_peers(tmp_path: Path, host: str) -> None:
    text = f'node = "a"\nlisten = "{host}:7946"\n'
    with pytest.raises(ConfigError, match=r"agent\.toml: option 'listen' is .*no peer can dial.*'advertise'"):
        settings_of(text, tmp_path)
    with pytest.raises(ConfigError, match="option 'advertise' is"):
        settings_of(f'{text}advertise = "{host}:7946"\n', tmp_path)
    with pytest.raises(ConfigError, match="option 'listen' is"):
        settings_of('node = "a"', tmp_path, listen=f"{host}:0")
    assert settings_of(f'{text}advertise = "10.0.0.1:7946"\n', tmp_path).listen[1] == 7946


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml cannot be read: No such file"):
        load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r"agent\.toml cannot be read: No such file"):
        load(tmp_path)
    (tmp_path / "agent.toml").write_bytes(b'node = "\xff"')
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load(tmp_path)
