"""Which endpoints settings may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.model.errors import ConfigError
from gossipconf.runtime.http_endpoint import HttpEndpoint, is_loopback
from gossipconf.runtime.settings import load


def endpoint(directory: Path, **options: str) -> HttpEndpoint | None:
    file = directory / "agent.toml"
    file.write_text('node = "a"\n')
    return load(file, options).http


def test_there_is_none_by_default(tmp_path: Path) -> None:
    assert endpoint(tmp_path) is None


@pytest.mark.parametrize(
    ("bind", "where"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_a_loopback_address_needs_nothing_else(tmp_path: Path, bind: str, where: tuple[str, int]) -> None:
    found = endpoint(tmp_path, http=bind)
    assert found == HttpEndpoint(where)
    assert found.is_local
    assert str(found) == bind


def test_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    found = endpoint(tmp_path, http="./run/http.sock", http_token="t")
    assert found == HttpEndpoint(tmp_path / "run/http.sock", tmp_path / "t")
    assert found.is_local


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "agents.example:80", "localhost.example:80"])
def test_what_others_reach_needs_tls_and_a_token(tmp_path: Path, bind: str) -> None:
    tls = {"http_certificate": "crt", "http_private_key": "key"}
    assert endpoint(tmp_path, http=bind, http_token="t", **tls) is not None
    with pytest.raises(ConfigError, match=f"{tmp_path}.*option 'http' is .*needs TLS; set 'http_certificate'"):
        endpoint(tmp_path, http=bind, http_token="t")
    with pytest.raises(ConfigError, match="needs a token; set 'http_token'"):
        endpoint(tmp_path, http=bind, **tls)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"http_token": "t"}, "option 'http_token' is set, and 'http' is not"),
        ({"http_private_key": "t"}, "option 'http_private_key' is set, and 'http' is not"),
        ({"http": "127.0.0.1:1", "http_certificate": "c"}, "option 'http_private_key' is missing"),
        ({"http": "127.0.0.1:1", "http_private_key": "c"}, "option 'http_certificate' is missing"),
        ({"http": "./s", "http_certificate": "c", "http_private_key": "k"}, "is a Unix socket, which has no TLS"),
        ({"http": "8765"}, "option 'http': address '8765' is not host:port"),
        ({"http": "127.0.0.1:99999"}, "write the path of a Unix socket"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        endpoint(tmp_path, **options)


def test_loopback_is_told_by_address_or_name() -> None:
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "LocalHost")] == [True] * 3
    assert [is_loopback(host) for host in ("", "::", "128.0.0.1", "localhost.", "a")] == [False] * 5
