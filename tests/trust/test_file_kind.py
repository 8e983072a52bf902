"""Files that were named by mistake are told for what they are, and not in the words of their encoding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gossipconf.model.entry import Entry
from gossipconf.model.errors import KeyFileError
from gossipconf.store.checkpoint import MAGIC
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.draft import Draft
from gossipconf.trust.file_kind import CHECKPOINT, CLUSTER, DRAFT, PROPOSAL, kind_of
from gossipconf.trust.keys import public_line
from gossipconf.trust.policy import Policy
from gossipconf.trust.proposal import load_proposal, save_proposal
from gossipconf.trust.recipient import RecipientKey
from tests import strategies as gen


def write(directory: Path, kind: str) -> Path:
    """A file of this kind."""
    path = directory / "file"
    cluster = gen.cluster()
    if kind == CLUSTER:
        cluster.save(path)
    elif kind == DRAFT:
        policy = Policy(2, gen.keys(*gen.ROOTS), 2)
        Draft(cluster.genesis.cluster_id, cluster.policies, policy).save(path, is_new=True)
    elif kind == PROPOSAL:
        save_proposal(path, gen.signed([Entry("pay/x", b"1")], "dave"), is_new=True)
    else:
        path.write_bytes(OTHERS[kind])
    return path


OTHERS = {
    CHECKPOINT: MAGIC + bytes(9),
    "an empty file": b"",
    "a private key": RecipientKey.from_seed(bytes(range(32))).private_pem(),
    "a certificate in PEM": b"-----BEGIN CERTIFICATE-----\n",
    "a public key": public_line(gen.signer("dave").public).encode(),
    "a journal or another database": b"SQLite format 3\0",
    "a text": "größe: 1\n".encode(),
}
KINDS = [CLUSTER, DRAFT, PROPOSAL, *OTHERS]
LOADERS = {
    CLUSTER: Cluster.load,
    DRAFT: lambda path: Draft.load(path, gen.cluster()),
    PROPOSAL: lambda path: load_proposal(path, gen.cluster().genesis.cluster_id),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expected", LOADERS)
def test_a_wrong_file_is_told_for_what_it_is(expected, kind, tmp_path):
    path = write(tmp_path, kind)
    assert kind_of(path.read_bytes()) == kind
    if expected == kind:
        LOADERS[expected](path)
        return
    with pytest.raises(KeyFileError, match=f"^{re.escape(str(path))} is not {expected}: it is {kind}") as caught:
        LOADERS[expected](path)
    assert "msgpack" not in str(caught.value)


@pytest.mark.parametrize("expected", LOADERS)
def test_what_could_be_anything_and_what_is_cut_off(expected, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(KeyFileError, match="no file that gossipconf writes"):
        LOADERS[expected](path)
    whole = write(tmp_path, expected)
    whole.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(KeyFileError, match=f"is not {expected}: it is cut off or damaged"):
        LOADERS[expected](whole)


def test_another_kind_names_the_command_that_takes_it(tmp_path):
    with pytest.raises(KeyFileError, match="use: gossipconf policy sign"):
        load_proposal(write(tmp_path, DRAFT), gen.cluster().genesis.cluster_id)
