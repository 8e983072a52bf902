"""Canonical msgpack: what goes in comes out, one spelling per value, and hostile bytes cost little."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change
from gossipconf.model.encoding import as_array, as_bytes, as_int, as_text, decode, encode
from gossipconf.model.errors import FormatError, GossipconfError, LimitExceeded
from gossipconf.model.limits import CHANGE_BYTES_MAX
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.policy import Genesis, Policy
from tests import strategies as gen

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, (1 << 63) - 1), st.text(), st.binary()),
    lambda inner: st.lists(inner).map(tuple),
    max_leaves=20,
)


def refuse(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        decode(data, "the thing", CHANGE_BYTES_MAX)
    assert type(caught.value) is FormatError
    assert str(caught.value).startswith("the thing")


@given(values)
def test_what_goes_in_comes_out(value):
    again = decode(encode(value), "it", CHANGE_BYTES_MAX)
    assert again == value
    assert type(again) is type(value)


def longer_spellings(value) -> list[bytes]:
    """``value`` with every header that is longer than need be, at the outermost level."""
    if type(value) is int:
        sizes = ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8))
        return [
            bytes([code]) + value.to_bytes(size, "big", signed=code >= 0xD0)
            for code, size in sizes
            if value < 1 << (8 * size - (code >= 0xD0))
        ]
    if type(value) is str:
        content, length, codes = value.encode(), len(value.encode()), ((0xD9, 1), (0xDA, 2), (0xDB, 4))
    elif type(value) is bytes:
        content, length, codes = value, len(value), ((0xC4, 1), (0xC5, 2), (0xC6, 4))
    elif type(value) is tuple:
        content, length, codes = b"".join(map(encode, value)), len(value), ((0xDC, 2), (0xDD, 4))
    else:
        return []
    return [bytes([code]) + length.to_bytes(size, "big") + content for code, size in codes if length < 256**size]


@given(values)
def test_every_longer_spelling_is_refused(value):
    canonical = encode(value)
    for data in longer_spellings(value):
        if data != canonical:
            refuse(data)
            refuse(b"\x91" + data)


@given(values, st.binary(min_size=1, max_size=4))
def test_trailing_and_missing_bytes_are_refused(value, more):
    data = encode(value)
    refuse(data + more)
    for length in range(min(len(data), 40)):
        refuse(data[:length])


@pytest.mark.parametrize(
    "data",
    [
        "80", "8100c0", "de0000", "df00000000", "c70001", "c700ff", "d40000", "d6ff00000000", "c1", "ca3fc00000",
        "a1ff", "a3eda080", "a2c080", "ddffffffff", "dcffff", "dbffffffff", "c6ffffffff", "dfffffffff", "c9ffffffff01",
        "9180", "91c70001", "91a1ff", "c87fff01",
    ],
)  # fmt: skip
def test_what_is_not_of_the_format_is_refused(data):
    refuse(bytes.fromhex(data))


def test_an_array_of_more_elements_than_the_format_ever_has_is_refused():
    refuse(encode([0] * 32_769))
    assert len(decode(encode([0] * 32_768), "it", CHANGE_BYTES_MAX)) == 32_768


def test_the_size_is_checked_before_anything_is_read():
    with pytest.raises(LimitExceeded, match="6 bytes, the limit is 5"):
        decode(b"\xc1" * 6, "it", 5)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_format_errors(data):
    try:
        value = decode(data, "it", 1_000)
    except FormatError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("data", [b"\x91" * 100_000, b"\x91" * 1_500 + b"\xc0", b"\xdc\x00\x01" * 5_000])
def test_deep_nesting_is_refused(data):
    refuse(data)


@pytest.mark.parametrize("depth", [500, 510, 511, 512, 513, 600, 1_000, 1_023, 1_024, 1_025])
def test_nesting_that_msgpack_can_read_or_cannot_write_is_no_other_error(depth):
    try:
        decode(b"\x91" * depth + b"\xc0", "it", CHANGE_BYTES_MAX)
    except FormatError:
        pass


CLAIM_BYTES_MAX = 32 << 20
"""What refusing 1 MiB of nested claims may take: each nested array reserves what it claims, so the claims together
must be bounded and not each alone."""


@pytest.mark.parametrize(
    "pattern", [b"\xdc\x7f\xff", b"\xdd\x00\x00\x7f\xff", b"\xdc\x7f\xff\x00", b"\xdc\x10\x00", b"\xdd\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("size", [9_000, 40_000, 1 << 20])
def test_nested_claims_take_little_memory(pattern, size):
    data = pattern * (size // len(pattern))
    tracemalloc.start()
    try:
        refuse(data)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < CLAIM_BYTES_MAX


def test_a_value_full_of_array_headers_is_only_a_value():
    value = (b"\xdc\x7f\xff" * 100_000, "x", (b"\xdd" * 70_000,))
    assert decode(encode(value), "it", CHANGE_BYTES_MAX) == value


@given(st.binary(max_size=200) | values.map(encode) | values.map(msgpack.packb))
def test_arbitrary_bytes_into_every_reader_raise_only_our_errors(data):
    for read in (Genesis.decode, Policy.decode, Cluster.decode, lambda it: Change.decode(it, gen.CLUSTER_ID)):
        with pytest.raises(GossipconfError):
            read(data)


@pytest.mark.parametrize("wrong", [None, True, 1.5, "a", b"a", (), {}, 5, [0]])
def test_fields_are_told_apart_by_exact_type(wrong):
    for kind, check in (
        (tuple, lambda: as_array(wrong, "it")),
        (int, lambda: as_int(wrong, "it", 0, 10)),
        (bytes, lambda: as_bytes(wrong, "it")),
        (str, lambda: as_text(wrong, "it", 10)),
    ):
        if type(wrong) is kind:
            assert check() == wrong
        else:
            with pytest.raises(FormatError, match="it must be"):
                check()
