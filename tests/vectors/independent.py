"""The format once more, written from docs/format.md alone: no line of gossipconf is used here.

If this reader and the vectors agree, the page says enough. It reads only what is
well formed; refusing is the real reader's work.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def pack(value: Any) -> bytes:
    """Canonical msgpack."""
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_integer(value)
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 | len(data)]) if len(data) < 32 else _sized(len(data), 0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, bytes):
        return _sized(len(value), 0xC4, 0xC5, 0xC6) + value
    head = bytes([0x90 | len(value)]) if len(value) < 16 else _sized(len(value), None, 0xDC, 0xDD)
    return head + b"".join(map(pack, value))


def _pack_integer(value: int) -> bytes:
    assert value >= 0, "no field is negative"
    if value < 128:
        return bytes([value])
    size = next(size for size in (1, 2, 4, 8) if value < 256**size)
    return bytes([{1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}[size]]) + value.to_bytes(size, "big")


def _sized(length: int, one: int | None, two: int, four: int) -> bytes:
    if one is not None and length < 256:
        return bytes([one, length])
    if length < 65536:
        return bytes([two]) + length.to_bytes(2, "big")
    return bytes([four]) + length.to_bytes(4, "big")


def unpack(data: bytes) -> Any:
    """One value; canonical form is proved by packing again."""
    value, end = _unpack(data, 0)
    assert end == len(data)
    assert pack(value) == data
    return value


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    code, at = data[at], at + 1
    if code < 0x80:
        return code, at
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if 0xCC <= code <= 0xCF:
        size = 1 << (code - 0xCC)
        return int.from_bytes(data[at : at + size], "big"), at + size
    if 0xA0 <= code < 0xC0:
        length, kind = code & 31, "text"
    elif 0x90 <= code < 0xA0:
        length, kind = code & 15, "array"
    else:
        size, kind = {
            0xC4: (1, "bytes"), 0xC5: (2, "bytes"), 0xC6: (4, "bytes"), 0xD9: (1, "text"), 0xDA: (2, "text"),
            0xDB: (4, "text"), 0xDC: (2, "array"), 0xDD: (4, "array"),
        }[code]  # fmt: skip
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if kind != "array":
        content = data[at : at + length]
        assert len(content) == length
        return (content.decode() if kind == "text" else content), at + length
    elements = []
    for _ in range(length):
        element, at = _unpack(data, at)
        elements.append(element)
    return elements, at


def tagged(name: str, *parts: bytes) -> bytes:
    """SHA-256 under a domain tag."""
    return sha256(f"gossipconf/{name}/1\0".encode() + b"".join(parts)).digest()


def share(salt: str, node_id: str) -> int:
    """A node's place among all under a salt, from 0 to 9,999."""
    first = tagged("share", sha256(salt.encode()).digest(), node_id.encode())[:8]
    return 10_000 * int.from_bytes(first, "big") // 2**64


Node: TypeAlias = tuple[int, bytes]
"""The size and the hash of a subtree."""


def leaf_of(size: int, data: bytes) -> Node:
    """A leaf."""
    return size, sha256(b"\x00" + size.to_bytes(4, "big") + data).digest()


def leaf_of_entry(fields: list[Any]) -> Node:
    """An entry's leaf: its size on the wire; its fields with the value's hash for the value."""
    value = fields[6]
    hashed = [*fields[:6], None if value is None else sha256(value).digest(), *fields[7:]]
    return leaf_of(len(pack(fields)), pack(hashed))


def root_of(count: int, leaves: dict[int, Node], proof: list[Any]) -> Node:
    """Size and root that some leaves and a proof lead to."""
    stated = iter(proof)

    def subtree(low: int, high: int) -> Node:
        if not any(low <= index < high for index in leaves):
            size, digest = next(stated)
            return size, digest
        if high - low == 1:
            return leaves[low]
        width = 1
        while width * 2 < high - low:
            width *= 2
        nodes = subtree(low, low + width), subtree(low + width, high)
        data = b"".join(size.to_bytes(4, "big") + digest for size, digest in nodes)
        return nodes[0][0] + nodes[1][0], sha256(b"\x01" + data).digest()

    root = subtree(0, count)
    assert next(stated, None) is None
    return root


def read_change(data: bytes, cluster: bytes) -> dict[str, Any]:
    """The fields, the header's bytes, the ids and the message that is signed."""
    names = (
        "tag", "policy", "writer_key", "incarnation", "seq", "time_ms", "activation_ms", "comment", "signature",
        "approvals", "count", "indices", "entries", "proof",
    )  # fmt: skip
    change = dict(zip(names, unpack(data), strict=True))
    assert change["tag"] == cluster[:4]
    indices = list(range(change["count"])) if change["indices"] is None else change["indices"]
    leaves = {index: leaf_of_entry(fields) for index, fields in zip(indices, change["entries"], strict=True)}
    change["size"], change["root"] = root_of(change["count"], leaves, change["proof"])
    header_names = (
        "policy",
        "writer_key",
        "incarnation",
        "seq",
        "time_ms",
        "activation_ms",
        "comment",
        "count",
        "size",
        "root",
    )
    change["header"] = pack([cluster, *(change[name] for name in header_names)])
    change["id"] = tagged("change", change["header"])
    change["signed_message"] = b"gossipconf/signature/1\0" + change["id"]
    change["writer_id"] = tagged("writer", change["writer_key"], change["incarnation"])[:16]
    change["indices"] = indices
    return change


def supersedes(later: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether one version, given as writer, seq, seen and slot, replaces another."""
    clock = dict(earlier["seen"])
    clock[earlier["writer"]] = max(clock.get(earlier["writer"], 0), earlier["seq"])
    return later["slot"] == earlier["slot"] and all(later["seen"].get(name, 0) >= seq for name, seq in clock.items())


def tree_root(items: list[bytes], depth: int = 0) -> bytes:
    """The hash tree over ascending ids."""
    if not items:
        return bytes(16)
    if len(items) <= 16:
        return sha256(b"\x00" + b"".join(items)).digest()[:16]
    children = [[item for item in items if int(item.hex()[depth], 16) == nibble] for nibble in range(16)]
    return sha256(b"\x01" + b"".join(tree_root(part, depth + 1) for part in children)).digest()[:16]


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    made = block = b""
    while len(made) < length:
        block = hmac.digest(extracted, block + info + bytes([len(made) // 32 + 1]), "sha256")
        made += block
    return made[:length]


def open_envelope(data: bytes, private: bytes, cluster: bytes, key: str, variant: str) -> tuple[int, bytes]:
    """Type and value of a sealed value."""
    fields, end = _unpack(data, 0)
    version, tag, place, ephemeral, commitment, recipients, nonce, ciphertext = fields
    assert (version, tag, end) == (1, cluster[:4], len(data))
    assert place == tagged("place", pack([cluster, key, variant]))
    own = X25519PrivateKey.from_private_bytes(private)
    public = own.public_key().public_bytes_raw()
    wrapped = dict(map(tuple, recipients))[tagged("recipient", public)[:16]]
    shared = own.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    wrapping = hkdf(shared, ephemeral + public, b"gossipconf/wrap/1\0" + place, 32)
    content_key = ChaCha20Poly1305(wrapping).decrypt(bytes(12), wrapped, None)
    both = hkdf(content_key, b"", b"gossipconf/seal/1\0" + place, 64)
    assert both[32:] == commitment
    bound = pack([version, tag, place, ephemeral, commitment, recipients])
    (kind, value), _ = _unpack(ChaCha20Poly1305(both[:32]).decrypt(nonce, ciphertext, bound), 0)
    return kind, value
