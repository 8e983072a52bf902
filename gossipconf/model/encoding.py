"""Canonical msgpack: one encoding per value, any other rejected.

Signed bodies use only nil, booleans, integers, UTF-8 strings, byte strings and
arrays. There are no maps, floats or extension types in them, so that nothing
depends on key order or on the spelling of a number: msgpack with the shortest
form of every length and integer is then one-to-one. Decoding proves it by
encoding again and comparing.

Knows bytes and plain Python values; knows nothing of what they mean.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import msgpack

from .errors import FormatError, LimitExceeded

T = TypeVar("T")

ARRAY_LENGTH_MAX = 32_768
"""Twice ENTRIES_MAX (indices and entries of the largest change). msgpack reserves an array by its claimed
length before it reads the elements, so the claim must be bounded."""

DEPTH_MAX = 16
"""Arrays within arrays where they could reserve much; the deepest body, a match in a change, has 6 levels. Claims
add up over the levels, and msgpack itself stops at 1,024 of them only."""

_RESERVED_BYTES_MAX = 4 << 20
"""Below this the claims of all nested arrays together do no harm, and the depth is not looked at: most bodies."""

_FIXED_BYTES = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
_FIXED_BYTES |= {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def encode(value: Any) -> bytes:
    """The canonical encoding of ``value`` (None, bool, int, str, bytes, lists and tuples of these)."""
    encoded: bytes = msgpack.packb(value, use_bin_type=True)
    return encoded


def unpack(data: bytes) -> Any:
    """Decode msgpack under the limits of the format, without asking for canonical form.

    Arrays become tuples. Raises FormatError for anything that is not exactly one
    msgpack value of the permitted types.
    """
    length_max = min(ARRAY_LENGTH_MAX, len(data))
    if (data.count(b"\xdc") + data.count(b"\xdd")) * length_max * 8 > _RESERVED_BYTES_MAX:
        _check_depth(data)
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_array_len=length_max,
            max_map_len=0,
            object_hook=_refuse_map,  # the empty map is within a length of 0
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    except FormatError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise FormatError(f"not msgpack as gossipconf writes it: {_reason(error)}") from None


def decode(data: bytes, what: str, bytes_max: int) -> Any:
    """Decode ``data`` and insist on canonical form.

    ``what`` names the thing for the error message. Raises LimitExceeded above
    ``bytes_max`` and FormatError for any other encoding of the same value.
    """
    if len(data) > bytes_max:
        raise LimitExceeded(f"{what} has {len(data)} bytes, the limit is {bytes_max}")
    try:
        value = unpack(data)
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from None
    if encode(value) != data:
        raise FormatError(f"{what} is not in canonical form (every value has one encoding, the shortest)")
    return value


def _check_depth(data: bytes) -> None:
    """Refuse arrays nested deeper than DEPTH_MAX, reading headers only. All other faults are left to msgpack."""
    missing = [1]  # elements still to come of each open array, the innermost last
    at = 0
    while missing and at < len(data):
        code, elements = data[at], 0
        at += 1
        missing[-1] -= 1
        if 0x90 <= code < 0xA0:
            elements = code & 15
        elif code in (0xDC, 0xDD):
            width = 2 if code == 0xDC else 4
            elements = int.from_bytes(data[at : at + width], "big")
            at += width
        elif 0xA0 <= code < 0xC0:
            at += code & 31
        elif code in _LENGTH_BYTES:
            width = _LENGTH_BYTES[code]
            at += width + int.from_bytes(data[at : at + width], "big")
        elif code in _FIXED_BYTES:
            at += _FIXED_BYTES[code]
        elif 0x80 <= code < 0xE0:
            return  # a map, an extension or nothing at all: msgpack refuses it here
        if elements:
            missing.append(elements)
            if len(missing) > DEPTH_MAX + 1:
                raise FormatError(f"arrays are nested deeper than {DEPTH_MAX} levels")
        while missing and not missing[-1]:
            missing.pop()


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise FormatError(f"extension type {code} is not part of the format")


def _refuse_map(pairs: dict[Any, Any]) -> NoReturn:
    raise FormatError("maps are not part of the format")


def _reason(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0]
    return text or type(error).__name__


# -- checked access to decoded fields -------------------------------------------------------------


def as_array(value: Any, what: str, length: int | None = None, length_max: int | None = None) -> tuple[Any, ...]:
    """``value`` if it is an array of exactly ``length`` or at most ``length_max`` elements."""
    if type(value) is not tuple:
        raise FormatError(f"{what} must be an array, not {_kind(value)}")
    if length is not None and len(value) != length:
        raise FormatError(f"{what} must have {length} fields, not {len(value)}")
    if length_max is not None and len(value) > length_max:
        raise LimitExceeded(f"{what} has {len(value)} elements, the limit is {length_max}")
    return value


def as_int(value: Any, what: str, low: int, high: int) -> int:
    """``value`` if it is an integer within ``low``..``high``, both included."""
    if type(value) is not int:
        raise FormatError(f"{what} must be an integer, not {_kind(value)}")
    if not low <= value <= high:
        raise LimitExceeded(f"{what} is {value}, outside {low}..{high}")
    return value


def as_bytes(value: Any, what: str, length: int | None = None, length_max: int | None = None) -> bytes:
    """``value`` if it is a byte string of exactly ``length`` or at most ``length_max`` bytes."""
    if type(value) is not bytes:
        raise FormatError(f"{what} must be a byte string, not {_kind(value)}")
    if length is not None and len(value) != length:
        raise FormatError(f"{what} must have {length} bytes, not {len(value)}")
    if length_max is not None and len(value) > length_max:
        raise LimitExceeded(f"{what} has {len(value)} bytes, the limit is {length_max}")
    return value


def as_text(value: Any, what: str, bytes_max: int) -> str:
    """``value`` if it is a string of at most ``bytes_max`` bytes in UTF-8."""
    if type(value) is not str:
        raise FormatError(f"{what} must be a string, not {_kind(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:  # never in decoded bytes: a caller's string with half a surrogate pair
        raise FormatError(f"{what} is not valid Unicode") from None
    if size > bytes_max:
        raise LimitExceeded(f"{what} has {size} bytes, the limit is {bytes_max}")
    return value


def _kind(value: Any) -> str:
    names = {tuple: "an array", str: "a string", bytes: "a byte string", int: "an integer", bool: "a boolean"}
    return names.get(type(value), "nil" if value is None else type(value).__name__)
