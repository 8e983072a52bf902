"""The vectors are what the code makes, what the code reads, and what docs/format.md says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossipconf.model.change import Change
from gossipconf.model.encoding import decode, encode
from gossipconf.model.entry import Entry, ValueType
from gossipconf.model.errors import FormatError, GossipconfError, InvalidInput
from gossipconf.model.key import check_key, check_variant, covers
from gossipconf.model.limits import FORM_BYTES_MAX
from gossipconf.model.merkle import SparseTree, leaf_of
from gossipconf.model.version import live, versions_of, winner
from gossipconf.store.hash_tree import HashTree
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.policy import Genesis, Policy
from gossipconf.trust.recipient import RecipientKey
from gossipconf.trust.sealed import Opened, Place, open_sealed, open_with, seal
from gossipconf.trust.statement import Kind, SignedStatement, Statement
from tests.vectors import independent, make

HERE = Path(__file__).parent


def load(name: str) -> Any:
    return json.loads((HERE / f"{name}.json").read_text(encoding="ascii"))


ENCODING, KEYS, MERKLE = load("encoding"), load("keys"), load("merkle")
CHANGES, TRUST, IDENTIFIERS = load("changes"), load("trust"), load("identifiers")
CLUSTER_ID = bytes.fromhex(CHANGES["cluster"])
hexed = bytes.fromhex


def value_of(plain: Any) -> Any:
    """A value from the JSON of `encoding.json`."""
    if isinstance(plain, list):
        return tuple(map(value_of, plain))
    if isinstance(plain, dict):
        return int(plain["int"]) if "int" in plain else hexed(plain["bytes"])
    return plain


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.json")))
def test_the_file_is_what_make_writes(name):
    assert (HERE / name).read_text(encoding="ascii") == make.documents()[name], "run: python -m tests.vectors.make"


def test_every_maker_has_its_file():
    assert sorted(make.documents()) == sorted(path.name for path in HERE.glob("*.json"))


# -- encoding, keys, merkle -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ENCODING["values"], ids=lambda case: case["hex"][:12])
def test_a_value_has_this_encoding(case):
    value, data = value_of(case["value"]), hexed(case["hex"])
    assert encode(value) == data == independent.pack(value)
    again = decode(data, "it", 1 << 20)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("case", ENCODING["headers"], ids=lambda case: f"{case['kind']} {case['length']}")
def test_a_length_has_this_header(case):
    value = {"string": "x", "byte string": b"x", "array": [1]}[case["kind"]] * case["length"]
    assert encode(value).hex().startswith(case["hex"])
    assert len(encode(value)) == case["length"] + len(case["hex"]) // 2
    assert independent.pack(value) == encode(value)


@pytest.mark.parametrize("case", ENCODING["rejected"], ids=lambda case: case["reason"])
def test_a_spelling_is_rejected(case):
    with pytest.raises(FormatError) as caught:
        decode(hexed(case["hex"]), "it", 1 << 20)
    assert type(caught.value) is FormatError


@pytest.mark.parametrize(("kind", "check"), [("keys", check_key), ("variants", check_variant)])
def test_names_are_told_apart(kind, check):
    for name in KEYS[kind]["valid"]:
        assert check(name) == name
    for name in KEYS[kind]["invalid"]:
        with pytest.raises(InvalidInput):
            check(name)


def test_prefixes_cover_by_whole_segments():
    for case in KEYS["covers"]:
        assert covers(case["prefix"], case["key"]) == case["covers"]


def test_merkle_leaves():
    for case in MERKLE["leaves"]:
        expected = (case["size"], hexed(case["hash"]))
        assert leaf_of(case["size"], hexed(case["data"])) == expected
        assert independent.leaf_of(case["size"], hexed(case["data"])) == expected


def test_merkle_roots_and_proofs():
    leaves = [(one["size"], hexed(one["hash"])) for one in MERKLE["leaves"]]
    roots = {case["count"]: (case["size"], hexed(case["root"])) for case in MERKLE["roots"]}
    for case in MERKLE["proofs"]:
        chosen = {index: leaves[index] for index in case["indices"]}
        proof = [(size, hexed(digest)) for size, digest in case["proof"]]
        tree = SparseTree(case["count"], chosen, proof)
        assert (tree.size, tree.root) == roots[case["count"]]
        assert independent.root_of(case["count"], chosen, proof) == roots[case["count"]]


# -- entries and changes --------------------------------------------------------------------------


def wire_of_entry(fields: dict[str, Any]) -> list[Any]:
    """An entry's array from the JSON alone."""
    return [
        fields["key"],
        fields["variant"],
        fields["match"],
        fields["rank"],
        fields["operation"],
        fields["type"],
        None if fields["value"] is None else hexed(fields["value"]),
        [[hexed(writer), int(seq)] for writer, seq in fields["seen"]],
        fields["expires_ms"],
    ]


@pytest.mark.parametrize("case", load("entries"), ids=lambda case: case["key"])
def test_an_entry_has_this_encoding_and_leaf(case):
    wire = wire_of_entry(case)
    assert independent.pack(wire).hex() == case["wire"]
    assert case["size"] == len(case["wire"]) // 2
    assert independent.leaf_of_entry(wire) == (case["size"], hexed(case["leaf"]))
    entry = Entry.from_wire(decode(hexed(case["wire"]), "an entry", FORM_BYTES_MAX))
    assert entry.leaf() == (case["size"], hexed(case["leaf"]))
    assert make.entry_fields(entry) == {name: case[name] for name in make.entry_fields(entry)}


def forms():
    return [
        pytest.param(case, form, id=f"{case['name']} {form['indices']}")
        for case in CHANGES["changes"]
        for form in case["forms"]
    ]


@pytest.mark.parametrize(("case", "form"), forms())
def test_a_form_of_a_change_reads_alike_here_and_independently(case, form):
    data = hexed(form["hex"])
    change = Change.decode(data, CLUSTER_ID)
    assert change.encode() == data
    assert [index for index, _ in change.entries] == form["indices"]
    assert make.subtrees(change.proof) == form["proof"]
    expected = {**case, "entries": [case["entries"][index] for index in form["indices"]]}
    fields = make.change_fields(change)
    assert fields == {name: expected[name] for name in fields}

    read = independent.read_change(data, CLUSTER_ID)
    assert read["indices"] == form["indices"]
    assert read["entries"] == [wire_of_entry(one) for one in expected["entries"]]
    assert read["size"] == case["size"]
    for name in ("id", "header", "signed_message", "root", "writer_id", "signature"):
        assert read[name].hex() == case[name]
    numbers = (index.to_bytes(4, "big") for index in range(case["count"]))
    assert [independent.tagged("version", read["id"], one).hex() for one in numbers] == case["version_ids"]
    assert independent.tagged("fork", read["id"]).hex() == case["fork_item"]


@pytest.mark.parametrize("case", CHANGES["changes"], ids=lambda case: case["name"])
def test_the_signatures_are_ed25519_under_the_seeds(case):
    message = hexed(case["signed_message"])
    stated = {case["writer_key"]: case["signature"]} | dict(case["approvals"])
    made = {}
    for name in case["signers"]:
        private = Ed25519PrivateKey.from_private_bytes(hexed(CHANGES["seeds"][name]))
        assert private.public_key().public_bytes_raw().hex() == CHANGES["public_keys"][name]
        made[CHANGES["public_keys"][name]] = private.sign(message).hex()
    assert made == stated


@pytest.mark.parametrize("case", CHANGES["changes"], ids=lambda case: case["name"])
def test_the_policy_allows_the_changes(case):
    chain = Cluster.decode(hexed(TRUST["cluster_file"])).chain()
    for form in case["forms"]:
        chain.judge(Change.decode(hexed(form["hex"]), chain.cluster_id))


@pytest.mark.parametrize("case", CHANGES["rejected"], ids=lambda case: case["reason"])
def test_a_change_is_rejected(case):
    chain = Cluster.decode(hexed(TRUST["cluster_file"])).chain()
    with pytest.raises(GossipconfError):
        chain.judge(Change.decode(hexed(case["hex"]), chain.cluster_id))


# -- trust ----------------------------------------------------------------------------------------


def test_the_genesis_and_the_cluster_id():
    case = TRUST["genesis"]
    roots = [hexed(root) for root in case["roots"]]
    data = independent.pack([case["name"], case["created_ms"], hexed(case["salt"]), roots, case["threshold"]])
    assert data.hex() == case["hex"]
    assert independent.tagged("genesis", data).hex() == TRUST["cluster_id"] == CHANGES["cluster"]
    assert Genesis.decode(data).cluster_id.hex() == TRUST["cluster_id"]


def test_the_policy_document():
    case = TRUST["policy"]
    roles = [
        [role["name"], [hexed(key) for key in role["keys"]], role["prefixes"], role["operations"], role["approvals"]]
        for role in case["roles"]
    ]
    roots = [hexed(root) for root in case["roots"]]
    data = independent.pack([case["version"], roots, case["threshold"], roles, case["parameters"], case["floors"]])
    assert data.hex() == case["hex"]
    policy = Policy.decode(data)
    assert [role.to_wire() for role in policy.roles] == [tuple_of(role) for role in roles]
    named = TRUST["policy_with_names"]
    names = [[hexed(key), name] for key, name in named["names"]]
    data = independent.pack([*independent.unpack(data), [], names])
    assert data.hex() == named["hex"]
    assert Policy.decode(data) == dataclasses.replace(policy, names=tuple(map(tuple, names)))


def tuple_of(role: list[Any]) -> list[Any]:
    return [tuple(field) if isinstance(field, list) else field for field in role]


def test_the_cluster_file_and_the_policy_change_in_it():
    version, genesis, policies = independent.unpack(hexed(TRUST["cluster_file"]))
    assert version == 1
    assert genesis.hex() == TRUST["genesis"]["hex"]
    assert [one.hex() for one in policies] == [TRUST["policy_change"]]
    change = independent.read_change(policies[0], hexed(TRUST["cluster_id"]))
    ((key, variant, match, rank, operation, _, value, seen, expires),) = change["entries"]
    assert (key, variant, match, rank, operation, seen, expires) == ("_policy/1", "", [], 0, 0, [], None)
    assert value.hex() == TRUST["policy"]["hex"]
    assert change["policy"] == 0
    signatures = [[change["writer_key"], change["signature"]], *change["approvals"]]
    roots = {hexed(root) for root in TRUST["genesis"]["roots"]}
    assert len({key for key, _ in signatures} & roots) >= TRUST["genesis"]["threshold"]
    for key, signature in signatures:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, change["signed_message"])
    assert Cluster.decode(hexed(TRUST["cluster_file"])).encode().hex() == TRUST["cluster_file"]


# -- identifiers, supersession, hash tree ---------------------------------------------------------


def test_identifiers():
    for name, tag in IDENTIFIERS["tags"].items():
        assert hexed(tag) == f"gossipconf/{name.removesuffix('_TAG').lower().replace('_', '-')}/1\0".encode()
    for case in IDENTIFIERS["writers"]:
        assert independent.tagged("writer", hexed(case["key"]), hexed(case["incarnation"]))[:16].hex() == case["id"]
    for case in IDENTIFIERS["versions"]:
        made = independent.tagged("version", hexed(case["change"]), case["index"].to_bytes(4, "big"))
        assert made.hex() == case["id"]
    for case in IDENTIFIERS["fork_items"]:
        assert independent.tagged("fork", hexed(case["change"])).hex() == case["item"]
    for case in IDENTIFIERS["signer_items"]:
        item = independent.tagged("signer", hexed(case["change"]), hexed(case["key"]))
        assert item.hex() == case["item"]
    for case in IDENTIFIERS["shares"]:
        assert independent.share(case["salt"], case["node"]) == case["share"]


@pytest.mark.parametrize("case", load("supersession"), ids=lambda case: case["name"])
def test_supersession(case):
    cluster = hexed(case["cluster"])
    versions = []
    for data in case["changes"]:
        versions.extend(versions_of(Change.decode(hexed(data), cluster)))
    assert [one.id.hex() for one in versions] == case["versions"]
    pairs = [[i, j] for i, one in enumerate(versions) for j, other in enumerate(versions) if one.supersedes(other)]
    assert pairs == case["supersedes"]
    alive = live(versions)
    assert [index for index, one in enumerate(versions) if one in alive] == case["live"]
    for key, index in case["winners"].items():
        assert winner(one for one in alive if one.entry.key == key) is versions[index]


@pytest.mark.parametrize("case", load("supersession"), ids=lambda case: case["name"])
def test_supersession_independently(case):
    versions = []
    for data in case["changes"]:
        change = independent.read_change(hexed(data), hexed(case["cluster"]))
        for index, entry in zip(change["indices"], change["entries"], strict=True):
            versions.append({
                "writer": change["writer_id"], "seq": change["seq"], "time_ms": change["time_ms"], "slot": entry[:2],
                "seen": dict(entry[7]),
                "id": independent.tagged("version", change["id"], index.to_bytes(4, "big")),
            })  # fmt: skip
    indices = range(len(versions))
    pairs = [[i, j] for i in indices for j in indices if independent.supersedes(versions[i], versions[j])]
    assert pairs == case["supersedes"]
    alive = [j for j in indices if not any(pair[1] == j for pair in pairs)]
    assert alive == case["live"]
    for key, index in case["winners"].items():
        rivals = [i for i in alive if versions[i]["slot"][0] == key]
        assert max(rivals, key=lambda i: (versions[i]["time_ms"], versions[i]["id"])) == index


@pytest.mark.parametrize("case", load("hash_tree"), ids=lambda case: case["name"])
def test_hash_tree(case):
    items = [hexed(item) for item in case["items"]]
    tree = HashTree()
    for item in reversed(items):
        tree.add(item)
    assert tree.root.hex() == case["root"] == independent.tree_root(items).hex()


# -- sealed values --------------------------------------------------------------------------------

SEALED = load("sealed")
PRIVATE = {one["id"]: hexed(one["private"]) for one in SEALED["keys"]}


@pytest.mark.parametrize("case", SEALED["envelopes"], ids=lambda case: case["name"])
def test_a_sealed_value_is_opened(case):
    data, place = hexed(case["hex"]), Place(hexed(SEALED["cluster"]), case["key"], case["variant"])
    content = Opened(ValueType(case["type"]), hexed(case["value"]))
    keys = [RecipientKey.from_seed(PRIVATE[one]) for one in case["recipients"]]
    assert [open_sealed(data, place, key) for key in keys] == [content] * len(keys)
    assert open_with(data, place, hexed(case["content_key"])) == content
    assert seal(content, place, [key.public for key in keys], hexed(case["randomness"])) == data
    assert place.id.hex() == case["place"]


@pytest.mark.parametrize("case", SEALED["envelopes"], ids=lambda case: case["name"])
def test_a_sealed_value_is_opened_independently(case):
    for one in case["recipients"]:
        opened = independent.open_envelope(
            hexed(case["hex"]), PRIVATE[one], hexed(SEALED["cluster"]), case["key"], case["variant"]
        )
        assert opened == (case["type"], hexed(case["value"]))


# -- what nodes say -------------------------------------------------------------------------------

STATEMENTS = load("statements")


@pytest.mark.parametrize("case", STATEMENTS["statements"], ids=lambda case: Kind(case["kind"]).name)
def test_statements(case):
    statement = Statement(
        hexed(case["cluster"]), Kind(case["kind"]), hexed(case["subject"]), case["node"], case["time_ms"]
    )
    assert statement.encode().hex() == case["encoded"]
    assert statement.signed_bytes().hex() == case["signed_message"]
    assert statement.item.hex() == case["name"]
    signed = SignedStatement.decode(hexed(case["signed"]))
    assert signed.statement == statement
    assert signed.encode().hex() == case["signed"]


@pytest.mark.parametrize("case", STATEMENTS["statements"], ids=lambda case: Kind(case["kind"]).name)
def test_statements_independently(case):
    fields = [hexed(case["cluster"]), case["kind"], hexed(case["subject"]), case["node"], case["time_ms"]]
    encoded = independent.pack(fields)
    assert encoded.hex() == case["encoded"]
    body, signature, certificates = independent.unpack(hexed(case["signed"]))
    assert (body, certificates) == (encoded, [b"leaf", b"issuer"])
    message = b"gossipconf/statement/1\0" + encoded
    assert message.hex() == case["signed_message"]
    Ed25519PublicKey.from_public_bytes(hexed(STATEMENTS["public_key"])).verify(signature, message)
    who = hexed(case["subject"]) + bytes([case["kind"]]) + case["node"].encode()
    assert independent.tagged("said", who)[:8].hex() == case["name"]
