"""Keys, variants and node names: which strings are names at all.

The rule is a fixed table of code points and not ``str.isprintable``, because
that follows the Unicode version of the interpreter, and what is valid must be
the same on every node for ever.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from .errors import InvalidInput, LimitExceeded
from .limits import KEY_BYTES_MAX, NODE_ID_BYTES_MAX, VARIANT_BYTES_MAX

SYSTEM_PREFIX: Final = "_"
"""Keys whose first segment starts with this are the system's own (`_policy/…`, `_proposals/…`)."""

UTF8_BYTES_MAX: Final = 4
"""Bytes of one character in UTF-8."""

_UNPRINTABLE: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\xa0"  # C0 and C1 controls, DEL, no-break space
    "\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"  # soft hyphen, fillers, separators
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f"  # spaces, zero width, bidirectional controls
    "\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff"  # surrogates, which UTF-8 does not have
    "\U000e0000-\U000e0fff"  # tags and variation selectors
    "]"
)
_NODE_ID: Final = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


def check_key(key: str) -> str:
    """``key`` if it is one: 1 to 512 bytes, non-empty printable segments between slashes.

    Raises InvalidInput or LimitExceeded with the reason.
    """
    if not key:
        raise InvalidInput("a key must not be empty")
    size = len(key.encode(errors="surrogatepass"))
    if size > KEY_BYTES_MAX:
        raise LimitExceeded(f"key {key[:40]!r}… has {size} bytes, the limit is {KEY_BYTES_MAX}")
    check_printable(key, "key")
    for segment in key.split("/"):
        if not segment:
            raise InvalidInput(f"key {key!r} has an empty segment (a leading, trailing or double slash)")
        if segment in {".", ".."}:
            raise InvalidInput(f"key {key!r} has a segment {segment!r}, which paths and URLs would swallow")
        if segment != segment.strip(" "):
            raise InvalidInput(f"key {key!r} has a segment that begins or ends with a space")
    return key


def are_keys(keys: Collection[str]) -> bool:
    """Whether `check_key` raises for none of ``keys``: they are looked through as one text."""
    joined = "/".join(("", *keys, ""))
    return (
        not _UNPRINTABLE.search(joined)
        and not any(wrong in joined for wrong in ("//", "/./", "/../", "/ ", " /"))
        and (
            max(map(len, keys), default=0) <= KEY_BYTES_MAX // UTF8_BYTES_MAX
            or all(len(key.encode()) <= KEY_BYTES_MAX for key in keys)
        )
    )


def check_variant(variant: str) -> str:
    """``variant`` if it is a variant's name; the empty string is the default variant."""
    size = len(variant.encode(errors="surrogatepass"))
    if size > VARIANT_BYTES_MAX:
        raise LimitExceeded(f"variant {variant[:40]!r} has {size} bytes, the limit is {VARIANT_BYTES_MAX}")
    check_printable(variant, "variant")
    if "/" in variant or variant != variant.strip(" "):
        raise InvalidInput(f"variant {variant!r} must not contain a slash or begin or end with a space")
    return variant


def check_node_id(node_id: str) -> str:
    """``node_id`` if it can be a node's name: `[a-z0-9._-]`, at most 64 bytes."""
    if len(node_id) > NODE_ID_BYTES_MAX:
        raise LimitExceeded(f"node name {node_id[:40]!r}… has {len(node_id)} bytes, the limit is {NODE_ID_BYTES_MAX}")
    if not _NODE_ID.fullmatch(node_id):
        raise InvalidInput(
            f"node name {node_id!r}: use lower-case letters, digits, dots, dashes and underscores, "
            "beginning and ending with a letter or digit"
        )
    return node_id


def check_prefix(prefix: str) -> str:
    """``prefix`` if it is the empty string (everything but the system's keys) or a key."""
    return prefix if prefix == "" else check_key(prefix)


def is_system_key(key: str) -> bool:
    """Whether ``key`` belongs to the system (its first segment starts with an underscore)."""
    return key.startswith(SYSTEM_PREFIX)


def covers(prefix: str, key: str) -> bool:
    """Whether ``key`` is ``prefix`` or lies under it, by whole segments.

    The empty prefix covers every key but the system's own.
    """
    if prefix == "":
        return not is_system_key(key)
    return key == prefix or key.startswith(prefix + "/")


def check_printable(text: str, what: str) -> None:
    """Raise InvalidInput that names ``what`` if ``text`` has a character that nobody would see."""
    found = _UNPRINTABLE.search(text)
    if found:
        raise InvalidInput(f"{what} {text!r} contains the unprintable character U+{ord(found[0]):04X}")
