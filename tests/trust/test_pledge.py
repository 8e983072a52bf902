"""Pledges: a root key signs one successor of a policy, whatever it is shown."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.errors import KeyFileError, Rejected
from gossipconf.trust.pledge import pledge, pledge_epoch, pledge_file
from gossipconf.trust.policy import Policy
from tests import strategies as gen
from tests.trust.test_draft import DRAFT, ROOT_KEYS, signed


def test_a_root_signs_one_successor_only(tmp_path):
    first = signed(DRAFT, "root-1", tmp_path)
    assert signed(first, "root-1", tmp_path) == first
    other = dataclasses.replace(DRAFT, policy=Policy(2, ROOT_KEYS, 3))
    with pytest.raises(Rejected, match="signed another policy 2 already") as caught:
        signed(other, "root-1", tmp_path)
    assert str(pledge_file(tmp_path / "root-1")) in str(caught.value)
    with pytest.raises(Rejected, match="signed another policy 2 already"):  # the same words are not the same change
        DRAFT.signed(gen.chain(), gen.signer("root-1"), tmp_path / "root-1", now_ms=gen.NOW_MS, incarnation=bytes(8))
    assert pledge_file(tmp_path / "root-1").stat().st_mode & 0o777 == 0o600


def test_pledges_are_apart_by_cluster_version_and_key(tmp_path):
    for key, cluster, version, change in (
        ("a", b"1" * 32, 2, b"x" * 32),
        ("a", b"1" * 32, 3, b"y" * 32),
        ("a", b"2" * 32, 2, b"z" * 32),
        ("b", b"1" * 32, 2, b"z" * 32),
        ("a", b"1" * 32, 2, b"x" * 32),
    ):
        pledge(tmp_path / key, cluster, version, change)
    assert len(pledge_file(tmp_path / "a").read_text().splitlines()) == 3


def test_without_its_pledges_a_key_signs_nothing(tmp_path):
    path = pledge_file(tmp_path / "root-1")
    path.write_text("not what belongs here\n")
    with pytest.raises(KeyFileError, match=r"line 1: not a cluster"):
        signed(DRAFT, "root-1", tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyFileError, match="cannot be read"):
        signed(DRAFT, "root-1", tmp_path)
    with pytest.raises(KeyFileError, match="cannot be written"):
        signed(DRAFT, "root-1", tmp_path / "no such directory")


def test_a_root_signs_one_first_epoch_of_a_prefix(tmp_path):
    key, cluster = tmp_path / "root", b"1" * 32
    pledge(key, cluster, 2, b"p" * 32)
    pledge_epoch(key, cluster, "shop/db", b"a" * 32)
    pledge_epoch(key, cluster, "shop/db", b"a" * 32)
    pledge_epoch(key, cluster, "shop/other", b"b" * 32)
    pledge_epoch(key, b"2" * 32, "shop/db", b"b" * 32)
    with pytest.raises(Rejected, match=r"first epoch of 'shop/db' already, stage 6161.*aborted, take line 2"):
        pledge_epoch(key, cluster, "shop/db", b"b" * 32)
    assert len(pledge_file(key).read_text().splitlines()) == 4
