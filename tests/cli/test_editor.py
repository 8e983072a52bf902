"""The editor that a policy is changed in is its user's own, and no text is lost in it."""

from __future__ import annotations

import io

import pytest

from gossipconf.cli.policies.drafting import edited
from gossipconf.cli.policies.rules import to_text
from gossipconf.model.errors import InvalidInput
from gossipconf.trust.policy import Policy
from tests.strategies import signer

HEAD = Policy(1, tuple(sorted(signer(name).public for name in ("alice", "bob", "dave"))), 2)
TEXT = to_text(HEAD, "bank")


class Terminal(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal())


def test_the_editor_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("VISUAL", "sed -i 's/threshold: 2/threshold: 3/'")
    policy = edited(TEXT, tmp_path / "d", HEAD)
    assert (policy.version, policy.threshold) == (2, 3)
    assert not (tmp_path / "d.yaml").exists()


def test_a_text_that_is_refused_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("VISUAL", "sed -i 's/roots:/rots:/'")
    with pytest.raises(InvalidInput, match=r"d\.yaml:\d+: rots.*--from .*d\.yaml"):
        edited(TEXT, tmp_path / "d", HEAD)
    assert "rots:" in (tmp_path / "d.yaml").read_text()


@pytest.mark.parametrize(
    ("command", "complaint"), [("false", "ended with code 1"), ("/no/editor --wait", "'/no/editor' cannot be started")]
)
def test_an_editor_that_fails_makes_no_draft(monkeypatch, tmp_path, command, complaint):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", command)
    with pytest.raises(InvalidInput, match=complaint):
        edited(TEXT, tmp_path / "d", HEAD)
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_a_text_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(InvalidInput, match="--from FILE"):
        edited(TEXT, tmp_path / "d", HEAD)
