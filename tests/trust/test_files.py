"""Files appear whole or not at all, and never in place of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossipconf.model.errors import KeyFileError
from gossipconf.trust.files import write_new


def test_a_new_file_has_its_bytes_and_its_mode(tmp_path: Path) -> None:
    write_new(tmp_path / "key", b"secret", 0o600)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("mine")
    with pytest.raises(KeyFileError, match="key exists already"):
        write_new(tmp_path / "key", b"theirs", 0o600)
    assert (tmp_path / "key").read_text() == "mine"
    assert os.listdir(tmp_path) == ["key"]


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere/key cannot be written: No such file"):
        write_new(tmp_path / "nowhere" / "key", b"", 0o600)
