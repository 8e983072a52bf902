"""The JSON of Consul's `consul kv export` and of `etcdctl get --prefix -w json`.

Both have bytes and no types: a value that is UTF-8 is text here. Consul's folders, keys
that end in a slash and hold nothing, are no values. What these stores keep besides (flags,
leases, revisions) has no counterpart.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from ....model.entry import ValueType
from ....model.errors import InvalidInput
from ....runtime.syntax import TREE_READERS, decode_text
from ..value import TypedValue
from .text import Found, Read, Written


def write_consul(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key for `consul kv import`."""
    pairs = [{"key": key, "flags": 0, "value": _base64(content)} for key, (_, content) in sorted(values.items())]
    return Written(_json(pairs), as_text=_typed(values))


def write_etcd(values: Mapping[str, TypedValue]) -> Written:
    """`values` by key as `etcdctl get -w json` shows them; etcdctl itself has no import."""
    pairs = [{"key": _base64(key.encode()), "value": _base64(content)} for key, (_, content) in sorted(values.items())]
    return Written(_json({"kvs": pairs, "count": len(pairs)}), as_text=_typed(values))


def consul(content: bytes, name: str) -> Read:
    """`consul kv export`, or what Consul's HTTP API answers under /v1/kv. Raises InvalidInput."""
    root = _root(content, name)
    if not isinstance(root, list):
        raise InvalidInput(f"{name}: not an export of Consul, which is a JSON list; make it with: consul kv export")
    found, folders = [], []
    for number, raw in enumerate(root, 1):
        where = f"{name}: entry {number}"
        pair = {str(field).lower(): value for field, value in raw.items()} if isinstance(raw, dict) else {}
        key, value, flags = pair.get("key"), pair.get("value"), pair.get("flags") or 0
        if not isinstance(key, str):
            raise InvalidInput(f"{where}: has no key; make the file with: consul kv export")
        data = _bytes(value, where)
        if key.endswith("/") and not data:
            folders.append(f"{key} is a folder, without a value")
        else:
            found.append(Found(key, _value(data), where, f"its flags {flags} are not kept" if flags else ""))
    return Read(tuple(found), tuple(folders))


def etcd(content: bytes, name: str) -> Read:
    """`etcdctl get --prefix -w json`. Raises InvalidInput."""
    root = _root(content, name)
    if not isinstance(root, dict) or not isinstance(root.get("kvs", []), list):
        raise InvalidInput(f"{name}: not JSON of etcd; make it with: etcdctl get --prefix PREFIX -w json")
    found = []
    for number, pair in enumerate(root.get("kvs", []), 1):
        where = f"{name}: entry {number}"
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            raise InvalidInput(f"{where}: has no key; make the file with: etcdctl get --prefix PREFIX -w json")
        key = decode_text(_bytes(pair["key"], where), f"{where}: the key")
        lease = "its lease is not kept" if pair.get("lease") else ""
        found.append(Found(key, _value(_bytes(pair.get("value"), where)), where, lease))
    if root.get("more"):
        raise InvalidInput(f"{name}: not all of it (more is true); get it without --limit")
    return Read(tuple(found))


def _root(content: bytes, name: str) -> object:
    return TREE_READERS[".json"](decode_text(content, name), name).root


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(value: object, where: str) -> bytes:
    """The bytes of base64; none, as both write an empty value, are empty. Raises InvalidInput."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise InvalidInput(f"{where}: its value is no string of base64; was the file changed?")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{where}: its value is not base64; was the file changed?") from None


def _value(data: bytes) -> TypedValue:
    try:
        data.decode()
    except UnicodeDecodeError:
        return ValueType.BYTES, data
    return ValueType.TEXT, data


def _typed(values: Mapping[str, TypedValue]) -> tuple[str, ...]:
    """Keys whose type is lost: not text, and not bytes that show that they are none."""
    return tuple(key for key, value in sorted(values.items()) if _value(value[1]) != value)
