"""What is secret reaches nothing that is written, shown or sent: planted secrets are looked for in all of it.

Commands and an agent run as processes of their own, as people run them. What they put
out, and every file of the node, is searched for the private keys and the passphrases
in the forms in which they might get there.
"""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gossipconf.cli.target import ADMIN_KEY, ROOT_KEY
from gossipconf.trust.keys import load_public
from gossipconf.trust.ssh_wire import public_blob, string
from tests.cli.operate.test_key import closed_pem, environment, needs_bcrypt, words_file
from tests.cli.ssh import hostile_agent, identities
from tests.cli.terminal import on_terminal

PASSPHRASE = "planted-Passphrase-7f3a"
MISTYPED = "planted-Mistake-91c4"
COMMAND = (sys.executable, "-m", "gossipconf.cli")
FAULT = """
import gossipconf.cli.session as session
from gossipconf.cli.main import main
import sys
def compose(*arguments, **named):
    raise RuntimeError("a fault while the key is in memory")
session.compose = compose
main(sys.argv[1:])
"""
"""A fault of our own, with its traceback."""


def forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it is, in hex, in base64 at any offset, and as Python shows bytes."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret)
        yield encoded[4 if offset else 0 : -4]  # without what the bytes beside it decide
        yield encoded[4 if offset else 0 : -4].translate(bytes.maketrans(b"+/", b"-_"))
    yield repr(secret)[2:-1].encode()


def seed_of(path: Path) -> bytes:
    private = serialization.load_ssh_private_key(path.read_bytes(), None)
    return private.private_bytes_raw()


class Record:
    """All that was put out, and what must not be in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outputs: dict[str, bytes] = {}
        self._secrets: dict[str, bytes] = {"passphrase": PASSPHRASE.encode(), "mistyped passphrase": MISTYPED.encode()}

    def plant(self, name: str, secret: bytes) -> None:
        self._secrets[name] = secret

    def keep(self, name: str, output: bytes) -> None:
        self._outputs[f"{len(self._outputs)} {name}"] = output

    def run(self, *arguments: str | Path, code: int = 0, **more: str) -> bytes:
        """Run a command, which must end with `code`."""
        return self.program(*COMMAND, *arguments, code=code, **more)

    def program(self, *arguments: str | Path, code: int = 0, **more: str) -> bytes:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            capture_output=True,
            cwd=self._directory,
            env=environment(**more),
            start_new_session=True,  # without a terminal
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        self.keep(" ".join(str(argument) for argument in arguments[2:]), done.stdout + done.stderr)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def found(self) -> set[tuple[str, str]]:
        """(place, secret) for each secret that got somewhere."""
        return {
            (place, name)
            for place, output in self._outputs.items()
            for name, secret in self._secrets.items()
            if any(form in output for form in forms(secret))
        }


@pytest.fixture
def record(tmp_path) -> Record:
    return Record(tmp_path)


def refusing(connection: socket.socket, body: bytes) -> None:
    """An ssh-agent that lists alice's key and does not sign with it."""
    listed = identities((public_blob(bytes(range(32))), b"alice"))
    connection.sendall(string(listed if body == b"\x0b" else b"\5"))


def test_no_private_key_and_no_passphrase_gets_out(record, tmp_path):
    record.run("init", "c")
    root, admin = tmp_path / "c" / ROOT_KEY, tmp_path / "c" / ADMIN_KEY
    record.plant("root key", seed_of(root))
    record.plant("admin key", seed_of(admin))
    for number, line in enumerate(admin.read_bytes().splitlines()[1:-1]):
        record.plant(f"line {number} of the admin's file", line)
    pem = closed_pem(tmp_path / "pem", admin)
    words = words_file(tmp_path / "words", PASSPHRASE)
    closed_pem(pem, admin, PASSPHRASE)
    wrong = words_file(tmp_path / "wrong", MISTYPED)
    cut = words_file(tmp_path / "cut", admin.read_bytes()[:-60])
    loose = words_file(tmp_path / "loose", admin.read_bytes(), 0o644)
    loose_words = words_file(tmp_path / "loose-words", PASSPHRASE, 0o644)
    swapped = words_file(tmp_path / "swapped", PASSPHRASE)  # somebody mixed the two files up
    cluster = ("--cluster", "c")

    record.run("pki", "node", "a", "--listen", "127.0.0.1:0", *cluster)
    log = tmp_path / "log"
    with log.open("wb") as stream:
        agent = subprocess.Popen(
            [*COMMAND, "agent", "run", "c/nodes/a", "--verbose", "--log-json"],
            stdout=stream,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(GOSSIPCONF_KEY=str(pem), GOSSIPCONF_PASSPHRASE_FILE=str(words)),
        )
        try:
            lines = []
            while "ready for commands" not in (line := agent.stderr.readline().decode()):
                assert line, lines
                lines.append(line)
            # what succeeds
            record.run("put", "a", "1", *cluster)
            record.run("put", "a", "2", "--key", pem, "--passphrase-file", words, *cluster)
            record.run("put", "a", "3", *cluster, GOSSIPCONF_KEY=str(pem), GOSSIPCONF_PASSPHRASE_FILE=str(words))
            record.run("key", "new", "fresh")
            record.plant("new key", seed_of(tmp_path / "fresh"))
            for source in (admin, f"{admin}.pub", pem, "fresh"):
                record.run("key", "show", source, "--json", "--passphrase-file", words)
            record.run("key", "import", closed_pem(tmp_path / "open", admin, None), "--to", "imported")
            record.run("history", "a", "--json", *cluster)
            record.run("status", "--json", *cluster)
            # what fails
            for key, file in (
                (pem, wrong),
                (pem, swapped.with_name("no")),
                (pem, loose_words),
                (cut, words),
                (loose, words),
            ):
                record.run("put", "a", "4", "--key", key, "--passphrase-file", file, *cluster, code=1)
                record.run("key", "import", key, "--to", "never", "--passphrase-file", file, code=1)
            record.run("put", "a", "4", "--key", swapped, "--passphrase-file", pem, *cluster, code=1)
            record.run("put", "a", "4", "--key", pem, "--passphrase-file", admin, *cluster, code=1)
            record.run("put", "a", "4", "--key", pem, *cluster, code=1)
            record.run("put", "a", "4", "--key", "fresh", *cluster, code=1)
            record.run("pki", "show", admin, code=1)
            fault = (sys.executable, "-c", FAULT, "put", "a", "5", "--key", pem, "--passphrase-file", words, *cluster)
            assert b"Traceback" in record.program(*fault, code=1)
            with hostile_agent(tmp_path / "agent.sock", refusing):
                record.run(
                    "put", "a", "6", "--key", "agent", *cluster, code=1, SSH_AUTH_SOCK=str(tmp_path / "agent.sock")
                )
            # what a person types
            code, seen = on_terminal(
                *("put", "a", "7", "--key", pem, *cluster),
                answers=[MISTYPED, PASSPHRASE],
                directory=tmp_path,
                environment=environment(),
            )
            record.keep("the terminal", seen.encode())
            assert code == 0, seen
        finally:
            agent.send_signal(signal.SIGTERM)
            _, rest = agent.communicate(timeout=60)
    record.keep("the agent's log", "".join(lines).encode() + rest + log.read_bytes())
    node = [path for path in (tmp_path / "c" / "nodes").rglob("*") if path.is_file()]
    assert any(path.name == "journal.db" for path in node)
    for path in [*node, tmp_path / "c" / "cluster.gossipconf"]:
        record.keep(str(path), path.read_bytes())
    assert record.found() == set()
    assert load_public(tmp_path / "imported.pub") == load_public(Path(f"{admin}.pub"))


@needs_bcrypt
def test_nor_does_any_of_a_new_key_with_a_passphrase(record, tmp_path):
    words = words_file(tmp_path / "words", PASSPHRASE)
    record.run("init", "c", "--passphrase-file", words)
    record.run("key", "new", "id", "--passphrase-file", words)
    record.run("key", "import", "id", "--to", "again", "--passphrase-file", words)
    for number, line in enumerate((tmp_path / "id").read_bytes().splitlines()[1:-1]):
        record.plant(f"line {number} of the file", line)
    code, seen = on_terminal(
        *("key", "new", "typed", "--passphrase"),
        answers=[PASSPHRASE, MISTYPED, PASSPHRASE, PASSPHRASE],
        directory=tmp_path,
        environment=environment(),
    )
    assert code == 0, seen
    record.keep("the terminal", seen.encode())
    for path in ("id", "again", "typed", "c/keys/admin", "c/keys/root"):
        record.keep(path, (tmp_path / path).read_bytes())
    found = record.found()
    assert {place.split()[-1] for place, _ in found} == {"id"}  # the file itself has its lines, and no passphrase
    assert {name for _, name in found}.isdisjoint({"passphrase", "mistyped passphrase"})


def test_the_search_finds_what_is_planted(record):
    """In every form, whatever stands around it."""
    secret = bytes(range(100, 132))
    record.plant("key", secret)
    for place, output in {
        "raw": b"x" + secret,
        "hex": secret.hex().encode(),
        "base64 0": base64.b64encode(secret),
        "base64 1": base64.b64encode(b"x" + secret + b"xy"),
        "base64 2": base64.b64encode(b"xy" + secret),
        "repr": f"key={secret!r}".encode(),
        "said": f"{PASSPHRASE}\n".encode(),
        "encoded": base64.b64encode(f"user:{MISTYPED}!".encode()),
        "clean": b"nothing",
    }.items():
        record.keep(place, output)
    assert {place.split(" ", 1)[1] for place, _ in record.found()} == {
        *("raw", "hex", "base64 0", "base64 1", "base64 2", "repr", "said", "encoded")
    }
