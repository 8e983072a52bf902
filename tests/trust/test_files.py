"""Files appear whole or not at all, and in place of another only where that is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gossipconf.model.errors import KeyFileError
from gossipconf.trust.files import replace_file, write_new


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


def test_a_replaced_file_keeps_its_mode_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_what_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyFileError, match="gone cannot be written: No such file"):
        replace_file(tmp_path / "gone", b"new")
    (tmp_path / "key").write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="key cannot be written: No space left"):
        replace_file(tmp_path / "key", b"new")
    assert (tmp_path / "key").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["key"]
