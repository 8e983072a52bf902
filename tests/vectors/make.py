"""Makes the test vectors beside it: `python -m tests.vectors.make` writes them anew.

They hold what docs/format.md says, as JSON, for whoever implements the format in
another language. Byte strings are hexadecimal. In `encoding.json` a byte string is
{"bytes": hex} and an integer beyond 2^53 {"int": decimal}, so that JSON can tell them
from text and round nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

from gossipconf.model import hashing
from gossipconf.model.change import Change, Writer, signed_bytes
from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, Operation, ValueType
from gossipconf.model.errors import GossipconfError
from gossipconf.model.key import check_key, check_variant, covers
from gossipconf.model.limits import CHANGE_BYTES_MAX, NODE_ID_BYTES_MAX, SEQ_MAX, TIME_MS_MAX
from gossipconf.model.merkle import SparseTree, Subtree, leaf_of
from gossipconf.model.version import live, versions_of, winner
from gossipconf.store.hash_tree import HashTree
from gossipconf.store.live_set import fork_item, signer_item
from gossipconf.store.resolution import share_of
from gossipconf.trust.policy import Role
from gossipconf.trust.recipient import RecipientKey
from gossipconf.trust.sealed import SEAL_RANDOM_BYTES, Opened, Place, seal, unwrap
from gossipconf.trust.signing import approve
from gossipconf.trust.statement import Kind, SignedStatement, Statement
from tests import strategies as gen

HERE = Path(__file__).parent
CLUSTER_ID = gen.cluster().genesis.cluster_id
ANN, BEN, CAT = gen.WRITERS


def text(document: Any) -> str:
    """A vector file's content."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


# -- encoding -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value as the JSON of `encoding.json` writes it."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if type(value) is int and abs(value) > 1 << 53:
        return {"int": str(value)}
    return value


def encoding() -> Any:
    integers = [0, 1, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]
    lengths = [0, 1, 31, 32, 255, 256]
    headers: list[tuple[str, int, Any]] = []
    for length in (*lengths, 65535, 65536):
        headers += [("string", length, "a" * length), ("byte string", length, bytes(length))]
    headers += [("array", length, [None] * length) for length in (0, 1, 15, 16, 16_384)]
    values: list[Any] = [None, False, True, *integers]
    values += ["é日\U0001f600", *("a" * size for size in lengths), *(bytes(size) for size in lengths)]
    values += [[], [None], list(range(15)), list(range(16)), [[], [[b"x"], "x"]]]
    rejected = {
        "cc00": "0 in two bytes",
        "cc7f": "127 in two bytes",
        "cd00ff": "255 in three bytes",
        "ce0000ffff": "65535 in five bytes",
        "cf00000000ffffffff": "2^32-1 in nine bytes",
        "d001": "a positive number in a signed form",
        "d301": "an integer that ends early",
        "d90161": "a string of one byte with a two-byte header",
        "da000161": "a string of one byte with a three-byte header",
        "db0000000161": "a string of one byte with a five-byte header",
        "c5000161": "a byte string of one byte with a three-byte header",
        "c60000000161": "a byte string of one byte with a five-byte header",
        "dc000101": "an array of one element with a three-byte header",
        "dd0000000101": "an array of one element with a five-byte header",
        "80": "an empty map",
        "810102": "a map",
        "de0000": "an empty map with a three-byte header",
        "c70001": "an extension",
        "d40100": "an extension",
        "d6ff00000000": "a timestamp",
        "c1": "the byte that msgpack never uses",
        "0000": "two values",
        "": "nothing",
        "91": "an array that ends early",
        "a2c328": "a string that is not UTF-8",
        "a3eda080": "a string with half a surrogate pair",
        "a2c080": "a string with an overlong character",
        "ddffffffff": "an array that claims 2^32-1 elements",
        "c6ffffffff": "a byte string that claims 2^32-1 bytes",
    }
    return {
        "values": [{"value": plain(value), "hex": encode(value).hex()} for value in values],
        "headers": [
            {"kind": kind, "length": length, "hex": encode(value)[: len(encode(value)) - length].hex()}
            for kind, length, value in headers
        ],
        "rejected": [{"hex": data, "reason": reason} for data, reason in rejected.items()],
    }


# -- keys -----------------------------------------------------------------------------------------


def _taken(check: Any, name: str) -> bool:
    try:
        check(name)
    except GossipconfError:
        return False
    return True


def keys() -> Any:
    candidates = [
        "a", "a/b/c", "_policy/1", "_", "a b", "a.b", "...", "a/..b", "日本/語", "é", "e\u0301", "\U0001f600",
        "k" * 512, "é" * 256, "\u00a1", "\u2070", "\ufffd", "\U000dffff", "\U000e1000", "A", "a\\b", "a:b?c#d%20",
        "", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", " a", "a ", "a/ b", "a /b", "k" * 513, "é" * 257,
        "a\nb", "a\tb", "\x00", "\x1f", "\x7f", "\x80", "\xa0", "\xad", "\u034f", "\u061c", "\u115f", "\u1160",
        "\u1680", "\u17b4", "\u17b5", "\u180b", "\u180f", "\u2000", "\u200f", "\u2028", "\u202f", "\u205f",
        "\u206f", "\u3000", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\uffa0", "\ufff0", "\ufffb", "\ufffe",
        "\uffff", "\U000e0000", "\U000e0fff",
    ]  # fmt: skip
    variants = ["", "canary", "a b", "v" * 64, "日本", "_x", "..", "v" * 65, "a/b", " a", "a ", "a\n"]
    pairs = [
        ("", "a"), ("", "a/b"), ("", "_policy/1"), ("", "_"), ("a", "a"), ("a", "a/b"), ("a", "ab"), ("a", "b/a"),
        ("a/b", "a"), ("a/b", "a/b/c"), ("_policy", "_policy/1"), ("_policy", "_policyx"),
    ]  # fmt: skip
    return {
        "keys": {
            "valid": [one for one in candidates if _taken(check_key, one)],
            "invalid": [one for one in candidates if not _taken(check_key, one)],
        },
        "variants": {
            "valid": [one for one in variants if _taken(check_variant, one)],
            "invalid": [one for one in variants if not _taken(check_variant, one)],
        },
        "covers": [{"prefix": prefix, "key": key, "covers": covers(prefix, key)} for prefix, key in pairs],
    }


# -- merkle ---------------------------------------------------------------------------------------

LEAVES = (
    (0, ""), (1, "00"), (255, "10"), (256, "2021"), (65_536, "3031"), (1, "40414243"), (4_194_304, "5051525354555657"),
    (17, "606162636465666768696a6b6c6d6e6f"),
)  # fmt: skip
"""Sizes, and the data of the Certificate Transparency test log."""


def subtrees(nodes: Sequence[Subtree]) -> list[list[Any]]:
    """Sizes and hashes as JSON has them."""
    return [[size, digest.hex()] for size, digest in nodes]


def merkle() -> Any:
    leaves = [leaf_of(size, bytes.fromhex(data)) for size, data in LEAVES]
    trees = [SparseTree(count, dict(enumerate(leaves[:count])), ()) for count in range(1, len(leaves) + 1)]
    subsets = [(5, subset) for size in range(6) for subset in combinations(range(5), size)]
    subsets += [(8, (0,)), (8, (7,)), (8, (2, 5)), (7, (6,)), (7, (0, 6)), (6, (4,)), (1, ()), (1, (0,))]
    return {
        "leaves": [{"size": size, "data": data, "hash": digest.hex()}
                   for (size, digest), (_, data) in zip(leaves, LEAVES, strict=True)],
        "roots": [{"count": tree.count, "size": tree.size, "root": tree.root.hex()} for tree in trees],
        "proofs": [
            {"count": count, "indices": indices, "proof": subtrees(trees[count - 1].proof(indices))}
            for count, indices in subsets
        ],
    }  # fmt: skip


# -- entries and changes --------------------------------------------------------------------------


def entry_fields(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "variant": entry.variant,
        "match": [
            [int(term.kind), term.label, term.operand if isinstance(term.operand, int) else list(term.operand)]
            for term in entry.match
        ],
        "rank": entry.rank,
        "operation": int(entry.operation),
        "type": int(entry.type),
        "value": None if entry.value is None else entry.value.hex(),
        "seen": [[writer.hex(), str(seq)] for writer, seq in entry.seen],
        "expires_ms": entry.expires_ms,
    }


ENTRIES: Sequence[Entry] = (
    Entry("a", b""),
    Entry("shop/checkout/timeout", b"250"),
    Entry("shop/old", None, operation=Operation.DELETE, seen=((ANN.id, 3),)),
    Entry("日本/語", "値".encode(), ValueType.YAML),
    Entry("blob", bytes(range(256)), ValueType.BYTES, seen=tuple(sorted(((ANN.id, 1), (BEN.id, SEQ_MAX))))),
    Entry("secret", b"\xff", ValueType.SEALED, expires_ms=TIME_MS_MAX),
    Entry(
        "shop/rate",
        b'{"rate": 5}',
        ValueType.JSON,
        variant="canary",
        match=(
            MatchTerm(MatchKind.EQUAL, "env", ("prod",)),
            MatchTerm(MatchKind.GLOB, "zone", ("eu-*",)),
            MatchTerm(MatchKind.ONE_OF, "tier", ("front", "mid")),
            MatchTerm(MatchKind.PERCENT, "salt", 250),
        ),
        rank=10,
        expires_ms=gen.NOW_MS,
    ),
    Entry(
        "shop/rate",
        b'{"rate": 6}',
        ValueType.JSON,
        variant="slow",
        match=(
            MatchTerm(MatchKind.PERCENT, "salt", 500),
            MatchTerm(MatchKind.HALT, "", 3),
            MatchTerm(MatchKind.PACE, "", 1_800_000),
        ),
    ),
)


def entries() -> Any:
    return [
        {
            **entry_fields(entry),
            "wire": encode(entry.to_wire()).hex(),
            "size": entry.leaf()[0],
            "leaf": entry.leaf()[1].hex(),
        }
        for entry in ENTRIES
    ]


def change_fields(change: Change) -> dict[str, Any]:
    header = change.header
    return {
        "policy": header.policy,
        "writer_key": header.writer.key.hex(),
        "incarnation": header.writer.incarnation.hex(),
        "writer_id": change.writer_id.hex(),
        "seq": str(header.seq),
        "time_ms": header.time_ms,
        "activation_ms": header.activation_ms,
        "comment": header.comment,
        "signature": change.signature.hex(),
        "approvals": [[key.hex(), signature.hex()] for key, signature in change.approvals],
        "count": header.count,
        "size": header.size,
        "root": header.root.hex(),
        "entries": [entry_fields(entry) for _, entry in change.entries],
        "header": header.encode().hex(),
        "id": change.id.hex(),
        "signed_message": signed_bytes(change.id).hex(),
        "version_ids": [change.version_id(index).hex() for index in range(header.count)],
        "fork_item": fork_item(change.id).hex(),
    }


def _forms(change: Change, parts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    made = []
    for indices in parts:
        part = change.restrict(indices)
        made.append({"indices": list(indices), "proof": subtrees(part.proof), "hex": part.encode().hex()})
    return made


def sample_changes() -> list[tuple[str, list[str], Change, list[list[int]]]]:
    """Name, names of the signers, change, parts."""
    minimal = gen.signed([Entry("a", b"1")], "alice")
    five = gen.signed(
        [Entry(f"shop/{name}", name.encode()) for name in ("a", "b", "c", "d", "e")],
        "carol",
        seq=SEQ_MAX,
        comment="fünf",
        activation_ms=gen.NOW_MS + 1,
        incarnation=b"boot0001",
    )
    every = gen.signed(ENTRIES, "alice", seq=7)
    payment = gen.signed([Entry("pay/limit", b"100")], "dave")
    approved = approve(approve(payment, gen.signer("frank")), gen.signer("erin"))
    return [
        ("minimal", ["alice"], minimal, [[0], []]),
        ("five entries", ["carol"], five, [[0, 1, 2, 3, 4], [], [0], [4], [1, 3], [0, 1, 2, 3]]),
        ("every kind of entry", ["alice"], every, [list(range(len(ENTRIES))), [2, 6]]),
        ("approved", ["dave", "erin", "frank"], approved, [[0], []]),
    ]


def _rejected(change: Change) -> list[dict[str, str]]:
    data = change.encode()
    part = gen.signed([Entry(name, b"") for name in "abc"], "alice").restrict([1])
    lighter = tuple((size - 1, digest) for size, digest in part.proof)
    swollen = (CHANGE_BYTES_MAX, part.proof[0][1])
    made = {
        "another cluster's tag": data[:3] + bytes(4) + data[7:],
        "a byte is missing": data[:-1],
        "a byte too many": data + b"\0",
        "the value is altered": data.replace(b"\xc4\x011", b"\xc4\x012"),
        "the signature is altered": data.replace(change.signature, bytes(64)),
        "the body has seen its own number": gen.signed(
            [Entry("a", b"", seen=((change.writer_id, 1),))], "alice"
        ).encode(),
        "a proof hash too few": dataclasses.replace(part, proof=part.proof[:1]).encode(),
        "proof hashes in another order": dataclasses.replace(part, proof=part.proof[::-1]).encode(),
        "sizes of the proof are altered": dataclasses.replace(part, proof=lighter).encode(),
        "more bytes of entries than a change may have": dataclasses.replace(
            part, proof=(swollen, *part.proof[1:])
        ).encode(),
        "signed by a key that the policy does not know": gen.signed([Entry("a", b"")], "mallory").encode(),
        "outside the writer's prefixes": gen.signed([Entry("other", b"")], "carol").encode(),
        "one approval of two": gen.signed([Entry("pay/a", b"")], "dave").encode(),
    }
    return [{"reason": reason, "hex": altered.hex()} for reason, altered in made.items()]


def changes() -> Any:
    samples = sample_changes()
    names = sorted({name for _, signers, _, _ in samples for name in signers})
    return {
        "cluster": CLUSTER_ID.hex(),
        "seeds": {name: sha256(name.encode()).hexdigest() for name in names},
        "public_keys": {name: gen.signer(name).public.hex() for name in names},
        "changes": [
            {"name": name, "signers": signers, **change_fields(change), "forms": _forms(change, parts)}
            for name, signers, change, parts in samples
        ],
        "rejected": _rejected(samples[0][2]),
    }


# -- trust ----------------------------------------------------------------------------------------


def _role_fields(role: Role) -> dict[str, Any]:
    return {
        "name": role.name,
        "keys": [key.hex() for key in role.keys],
        "prefixes": list(role.prefixes),
        "operations": list(role.operations),
        "approvals": role.approvals,
    }


NAMES = tuple(sorted(zip(gen.keys("alice", "bob"), ("Ada", "b\u00e9@h"), strict=True)))


def trust() -> Any:
    cluster = gen.cluster()
    genesis, policy, change = cluster.genesis, cluster.chain().head, cluster.policies[0]
    return {
        "genesis": {
            "name": genesis.name,
            "created_ms": genesis.created_ms,
            "salt": genesis.salt.hex(),
            "roots": [root.hex() for root in genesis.roots],
            "threshold": genesis.threshold,
            "hex": genesis.encode().hex(),
        },
        "cluster_id": genesis.cluster_id.hex(),
        "policy": {
            "version": policy.version,
            "roots": [root.hex() for root in policy.roots],
            "threshold": policy.threshold,
            "roles": [_role_fields(role) for role in policy.roles],
            "parameters": list(policy.parameters),
            "floors": [],
            "hex": policy.encode().hex(),
        },
        "policy_with_names": {
            "names": [[key.hex(), name] for key, name in NAMES],
            "hex": dataclasses.replace(policy, names=NAMES).encode().hex(),
        },
        "policy_change": change.encode().hex(),
        "cluster_file": cluster.encode().hex(),
    }


# -- identifiers, supersession, hash tree ---------------------------------------------------------


def identifiers() -> Any:
    tags = {name: getattr(hashing, name) for name in sorted(dir(hashing)) if name.endswith("_TAG")}
    writers = [*gen.WRITERS, Writer(gen.signer("alice").public, b"boot0001")]
    change_ids = [bytes(32), sha256(b"a change").digest()]
    return {
        "tags": {name: tag.hex() for name, tag in tags.items()},
        "writers": [
            {"key": writer.key.hex(), "incarnation": writer.incarnation.hex(), "id": writer.id.hex()}
            for writer in writers
        ],
        "versions": [
            {"change": one.hex(), "index": index, "id": hashing.tagged_hash(
                hashing.VERSION_TAG, one, index.to_bytes(4, "big")).hex()}
            for one in change_ids for index in (0, 1, 256, 16_383)
        ],
        "fork_items": [{"change": one.hex(), "item": fork_item(one).hex()} for one in change_ids],
        "signer_items": [
            {"change": one.hex(), "key": key.hex(), "item": signer_item(one, key).hex()}
            for one in change_ids
            for key in gen.keys("dave", "erin")
        ],
        "shares": [
            {"salt": salt, "node": node, "share": share_of(salt, node)}
            for salt in ("", "canary", "\N{LATIN SMALL LETTER E WITH ACUTE}")
            for node in ("a", "checkout-7.eu-west")
        ],
    }  # fmt: skip


def _body(writer: Writer, seq: int, seen: dict[Writer, int], time_ms: int = 0, key: str = "a") -> Change:
    clock = tuple(sorted((who.id, number) for who, number in seen.items()))
    return gen.body([Entry(key, b"", seen=clock)], writer, seq, time_ms=time_ms, cluster_id=CLUSTER_ID)


def supersession() -> Any:
    cases = {
        "a later change that has seen the first": [_body(ANN, 1, {}), _body(BEN, 1, {ANN: 1})],
        "two that have not seen each other": [_body(ANN, 1, {}, 2), _body(BEN, 1, {}, 1)],
        "a larger number of the same writer that has not seen the smaller": [_body(ANN, 1, {}), _body(ANN, 2, {})],
        "two that claim each other": [_body(ANN, 1, {BEN: 1}), _body(BEN, 1, {ANN: 1})],
        "two that claim the end of each other's range": [
            _body(ANN, SEQ_MAX, {ANN: SEQ_MAX - 1, BEN: SEQ_MAX}),
            _body(BEN, SEQ_MAX, {BEN: SEQ_MAX - 1, ANN: SEQ_MAX}),
        ],
        "a fork": [_body(ANN, 1, {}, 1), _body(ANN, 1, {}, 2)],
        "a fork and one that has seen it": [_body(ANN, 1, {}, 1), _body(ANN, 1, {}, 2), _body(BEN, 1, {ANN: 1}, 0)],
        "one that has seen the writer and not what it had seen": [_body(ANN, 1, {CAT: 5}), _body(BEN, 1, {ANN: 1})],
        "a chain of three": [_body(ANN, 1, {}), _body(BEN, 1, {ANN: 1}), _body(CAT, 1, {ANN: 1, BEN: 1})],
        "a vector that has more than there is": [_body(ANN, 1, {}), _body(BEN, 1, {ANN: 9, CAT: 9})],
        "the same time": [_body(ANN, 1, {}, 5), _body(BEN, 1, {}, 5), _body(CAT, 1, {}, 5)],
        "another key": [_body(ANN, 1, {}, key="a"), _body(BEN, 1, {ANN: 1}, key="b")],
    }
    return [_case(name, made) for name, made in cases.items()]


def _case(name: str, made: Sequence[Change]) -> dict[str, Any]:
    versions = [version for change in made for version in versions_of(change)]
    alive = live(versions)
    return {
        "name": name,
        "cluster": CLUSTER_ID.hex(),
        "changes": [change.encode().hex() for change in made],
        "versions": [version.id.hex() for version in versions],
        "supersedes": [
            [i, j] for i, one in enumerate(versions) for j, other in enumerate(versions) if one.supersedes(other)
        ],
        "live": [index for index, version in enumerate(versions) if version in alive],
        "winners": {
            key: versions.index(winner(one for one in alive if one.entry.key == key))
            for key in sorted({one.entry.key for one in versions})
        },
    }


def hash_tree() -> Any:
    def numbered(count: int) -> list[bytes]:
        return [sha256(number.to_bytes(4, "big")).digest() for number in range(count)]

    sets = {
        "empty": [],
        "one": numbered(1),
        "a full leaf": numbered(16),
        "one more than a leaf": numbered(17),
        "two levels": numbered(300),
        "ids that differ in the last byte only": [bytes(31) + bytes([number]) for number in range(18)],
        "seventeen under one nibble": [bytes([number]) + bytes(31) for number in range(16)] + [b"\x0f" + b"\xff" * 31],
    }
    made = []
    for name, items in sets.items():
        tree = HashTree()
        for item in items:
            tree.add(item)
        made.append({"name": name, "items": sorted(item.hex() for item in items), "root": tree.root.hex()})
    return made


# -- sealed values --------------------------------------------------------------------------------


def sealed() -> Any:
    keys = [RecipientKey.from_seed(sha256(name).digest()) for name in (b"checkout-1", b"checkout-2", b"an admin")]
    cases = [
        ("a text to one", "shop/db/password", "", Opened(ValueType.TEXT, b"correct horse"), keys[:1]),
        ("bytes to three, in a variant", "shop/db/key", "canary", Opened(ValueType.BYTES, bytes(range(40))), keys),
        ("nothing", "a", "", Opened(ValueType.TEXT, b""), keys[1:2]),
    ]
    made = []
    for name, key, variant, content, recipients in cases:
        place = Place(CLUSTER_ID, key, variant)
        randomness = b"".join(sha256(f"{name} {part}".encode()).digest() for part in range(3))[:SEAL_RANDOM_BYTES]
        data = seal(content, place, [one.public for one in recipients], randomness)
        made.append({
            "name": name, "key": key, "variant": variant, "type": int(content.type), "value": content.value.hex(),
            "randomness": randomness.hex(), "recipients": [one.id.hex() for one in recipients],
            "place": place.id.hex(), "content_key": unwrap(data, place, recipients[0]).hex(), "hex": data.hex(),
        })  # fmt: skip
    return {
        "cluster": CLUSTER_ID.hex(),
        "keys": [
            {"private": sha256(name).hexdigest(), "public": one.public.hex(), "id": one.id.hex()}
            for name, one in zip((b"checkout-1", b"checkout-2", b"an admin"), keys, strict=True)
        ],
        "envelopes": made,
    }


def statements() -> Any:
    """Signed with Ed25519; the certificates are none, since X.509 is no matter of this format."""
    signer = gen.signer("node")
    made = [
        Statement(CLUSTER_ID, kind, sha256(subject).digest(), node_id, time_ms)
        for kind, subject, node_id, time_ms in (
            (Kind.UNHEALTHY, b"a change", "web-1.eu", gen.NOW_MS),
            (Kind.ACK, b"a change", "web-1.eu", 0),
            (Kind.NACK, b"a stage", "a" * NODE_ID_BYTES_MAX, TIME_MS_MAX),
        )
    ]
    return {
        "public_key": signer.public.hex(),
        "statements": [
            {
                "cluster": one.cluster.hex(),
                "kind": int(one.kind),
                "subject": one.subject.hex(),
                "node": one.node_id,
                "time_ms": one.time_ms,
                "encoded": one.encode().hex(),
                "signed_message": one.signed_bytes().hex(),
                "name": one.item.hex(),
                "signed": SignedStatement(one, signer.sign(one.signed_bytes()), (b"leaf", b"issuer")).encode().hex(),
            }
            for one in made
        ],
    }


def documents() -> dict[str, str]:
    """The content of every vector file, by name."""
    makers = (encoding, keys, merkle, entries, changes, trust, identifiers, supersession, hash_tree, sealed, statements)
    return {f"{make.__name__}.json": text(make()) for make in makers}


if __name__ == "__main__":
    for name, content in documents().items():
        (HERE / name).write_text(content, encoding="ascii")
