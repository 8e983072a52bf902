"""Envelopes: each recipient opens them where they belong, and nobody anything else, anywhere else or altered."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipconf.model.encoding import decode, encode
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import (
    FormatError,
    InvalidInput,
    LimitExceeded,
    NotRecipient,
    SealBroken,
    SealError,
    SealMoved,
)
from gossipconf.model.limits import VALUE_BYTES_MAX
from gossipconf.trust import sealed
from gossipconf.trust.recipient import RecipientKey
from gossipconf.trust.sealed import (
    RECIPIENTS_MAX,
    SEAL_RANDOM_BYTES,
    Envelope,
    Opened,
    Place,
    open_sealed,
    open_with,
    seal,
    unwrap,
)

CLUSTER = bytes(range(32))
PLACE = Place(CLUSTER, "shop/db/password")
SECRET = Opened(ValueType.TEXT, b"correct horse")
KEYS = tuple(RecipientKey.from_seed(bytes([number]) * 32) for number in range(1, 6))
STRANGER = RecipientKey.from_seed(bytes([99]) * 32)
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    (1 << 255) - 20,
)
"""All points of low order, of the curve and its twist, by their coordinates."""

contents = st.one_of(
    st.builds(
        lambda kind, text: Opened(kind, text.encode()),
        st.sampled_from([ValueType.TEXT, ValueType.JSON, ValueType.YAML, ValueType.TOML]),
        st.text(),
    ),
    st.builds(lambda value: Opened(ValueType.BYTES, value), st.binary(max_size=500)),
)
randoms = st.binary(min_size=SEAL_RANDOM_BYTES, max_size=SEAL_RANDOM_BYTES)
groups = st.lists(st.sampled_from(KEYS), min_size=1, unique=True)
places = st.builds(
    Place, st.sampled_from([CLUSTER, bytes(32)]), st.sampled_from(["a", "a/b"]), st.sampled_from(["", "x"])
)


def random_of(name: str) -> bytes:
    """Randomness that is the same in every run."""
    return b"".join(sha256(f"{name}{number}".encode()).digest() for number in range(3))[:SEAL_RANDOM_BYTES]


def sealed_to(*keys: RecipientKey, content: Opened = SECRET, place: Place = PLACE) -> bytes:
    return seal(content, place, [key.public for key in keys], random_of("seal"))


DATA = sealed_to(*KEYS[:2])


@given(contents, places, groups, randoms)
def test_each_recipient_opens_it_and_nobody_else(content, place, keys, randomness):
    data = seal(content, place, [key.public for key in keys], randomness)
    for key in KEYS:
        if key in keys:
            assert open_sealed(data, place, key) == content
        else:
            with pytest.raises(NotRecipient, match=f"sealed to {len(keys)} recipients?, and {key.id.hex()} is none"):
                open_sealed(data, place, key)
    assert Envelope.decode(data).recipients == tuple(sorted(key.id for key in keys))
    assert Envelope.decode(data).encode() == data


@given(contents, groups, randoms, places, places)
def test_it_opens_in_no_other_place(content, keys, randomness, place, other):
    data = seal(content, place, [key.public for key in keys], randomness)
    if other != place:
        with pytest.raises(SealMoved, match="was sealed for"):
            open_sealed(data, other, keys[0])


def test_a_wrong_place_is_named():
    with pytest.raises(SealMoved, match="'shop/other': this was sealed for another key or variant"):
        open_sealed(DATA, Place(CLUSTER, "shop/other"), KEYS[0])
    with pytest.raises(SealMoved, match="'shop/db/password', variant 'canary': this was sealed for another"):
        open_sealed(DATA, Place(CLUSTER, "shop/db/password", "canary"), KEYS[0])
    with pytest.raises(SealMoved, match="was sealed for cluster 00010203…, this is 00000000…"):
        open_sealed(DATA, Place(bytes(32), "shop/db/password"), KEYS[0])


def test_a_place_that_is_renamed_by_a_thief_does_not_open():
    """The mark of the place is also in every key: who writes another one there has an envelope that is broken."""
    other = Place(CLUSTER, "shop/other")
    fields = list(decode(DATA, "it", len(DATA)))
    fields[2] = other.id
    with pytest.raises(SealBroken, match="altered since it was sealed"):
        open_sealed(encode(fields), other, KEYS[0])


def test_no_bit_can_be_flipped():
    content_key = unwrap(DATA, PLACE, KEYS[0])
    for position, bit in itertools.product(range(len(DATA)), range(8)):
        altered = bytearray(DATA)
        altered[position] ^= 1 << bit
        for key in KEYS[:2]:
            with pytest.raises(SealError):
                open_sealed(bytes(altered), PLACE, key)
        with pytest.raises(SealError):
            open_with(bytes(altered), PLACE, content_key)


@given(st.data())
def test_no_byte_can_be_left_out_or_put_in(data):
    position = data.draw(st.integers(0, len(DATA) - 1))
    for altered in (DATA[:position], DATA[:position] + DATA[position + 1 :], DATA[:position] + b"\0" + DATA[position:]):
        with pytest.raises(SealError):
            open_sealed(altered, PLACE, KEYS[0])


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_what_is_no_envelope_is_refused_in_words(data):
    with pytest.raises(SealBroken, match="'shop/db/password' cannot be opened: "):
        open_sealed(data, PLACE, KEYS[0])


@given(groups, randoms, randoms)
def test_parts_of_two_envelopes_do_not_mix(keys, one, other):
    publics = [key.public for key in keys]
    first, second = (list(decode(seal(SECRET, PLACE, publics, each), "it", 9_999)) for each in (one, other))
    if one == other:
        return
    for field in range(3, 8):
        mixed = [*first[:field], second[field], *first[field + 1 :]]
        if mixed not in (first, second):
            with pytest.raises(SealBroken):
                open_sealed(encode(mixed), PLACE, keys[0])


def test_a_recipient_cannot_be_added_or_removed_without_a_content_key():
    fields = list(decode(DATA, "it", len(DATA)))
    fields[5] = fields[5][:1]
    left = next(key for key in KEYS if key.id == fields[5][0][0])
    with pytest.raises(SealBroken):
        open_sealed(encode(fields), PLACE, left)


def test_two_recipients_cannot_be_shown_different_values():
    """A sealer that wraps another content key for one of them: that one opens nothing."""
    other = Envelope.decode(seal(SECRET, PLACE, [key.public for key in KEYS[:2]], random_of("other")))
    fields = list(decode(DATA, "it", len(DATA)))
    ephemeral = RecipientKey.from_seed(random_of("seal")[32:64])
    wrapping = sealed._wrapping_key(ephemeral.agree(KEYS[1].public), ephemeral.public, KEYS[1].public, PLACE.id)
    foreign = ChaCha20Poly1305(wrapping).encrypt(bytes(12), unwrap(other.encode(), PLACE, KEYS[1]), None)
    fields[5] = [(one, foreign if one == KEYS[1].id else wrapped) for one, wrapped in fields[5]]
    with pytest.raises(SealBroken):
        open_sealed(encode(fields), PLACE, KEYS[1])


def test_a_content_key_opens_its_own_envelope_only():
    other = seal(SECRET, PLACE, [KEYS[0].public], random_of("other"))
    assert open_with(DATA, PLACE, unwrap(DATA, PLACE, KEYS[1])) == SECRET
    with pytest.raises(SealBroken):
        open_with(other, PLACE, unwrap(DATA, PLACE, KEYS[0]))
    with pytest.raises(SealBroken):
        open_with(DATA, PLACE, b"")


def test_nothing_of_the_value_is_in_the_envelope_or_in_words():
    assert SECRET.value not in DATA
    assert "horse" not in repr(SECRET)
    assert repr(KEYS[0]) == f"RecipientKey({KEYS[0].id.hex()})"


def test_the_same_value_is_never_the_same_envelope():
    assert seal(SECRET, PLACE, [KEYS[0].public], random_of("a")) != seal(
        SECRET, PLACE, [KEYS[0].public], random_of("b")
    )


def test_sealing_twice_to_one_recipient_is_sealing_once():
    assert sealed_to(KEYS[0], KEYS[0]) == sealed_to(KEYS[0])


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coordinate", LOW_ORDER)
def test_nothing_is_sealed_to_a_point_of_low_order(coordinate):
    with pytest.raises(FormatError, match="low order"):
        seal(SECRET, PLACE, [KEYS[0].public, coordinate.to_bytes(32, "little")], random_of("low"))


@pytest.mark.parametrize("coordinate", LOW_ORDER)
def test_an_ephemeral_key_of_low_order_opens_nothing(coordinate):
    fields = list(decode(DATA, "it", len(DATA)))
    fields[3] = coordinate.to_bytes(32, "little")
    with pytest.raises(SealBroken):
        open_sealed(encode(fields), PLACE, KEYS[0])


@pytest.mark.parametrize(
    ("content", "recipients", "randomness", "part"),
    [
        (SECRET, [], bytes(SEAL_RANDOM_BYTES), "sealed to nobody"),
        (SECRET, [KEYS[0].public[:31]], bytes(SEAL_RANDOM_BYTES), "has 32 bytes, not 31"),
        (SECRET, [b"\xff" * 32], bytes(SEAL_RANDOM_BYTES), "one shortest form"),
        (SECRET, [KEYS[0].public], b"", "takes 76 random bytes, not 0"),
        (Opened(ValueType.SEALED, b""), [KEYS[0].public], bytes(SEAL_RANDOM_BYTES), "not sealed again"),
        (Opened(ValueType.JSON, b"\xff"), [KEYS[0].public], bytes(SEAL_RANDOM_BYTES), "json value must be UTF-8"),
    ],
)
def test_what_cannot_be_sealed(content, recipients, randomness, part):
    with pytest.raises(InvalidInput, match=part):
        seal(content, PLACE, recipients, randomness)


def test_too_large_and_too_many():
    value = Opened(ValueType.BYTES, bytes(VALUE_BYTES_MAX))
    with pytest.raises(LimitExceeded, match=f"when it is sealed to 1 recipient, the limit is {VALUE_BYTES_MAX}"):
        sealed_to(KEYS[0], content=value)
    many = [
        RecipientKey.from_seed(sha256(number.to_bytes(2, "big")).digest()).public
        for number in range(RECIPIENTS_MAX + 1)
    ]
    with pytest.raises(LimitExceeded, match="1025 recipients, the limit is 1024"):
        seal(SECRET, PLACE, many, random_of("many"))
    assert len(Envelope.decode(seal(SECRET, PLACE, many[1:], random_of("many"))).recipients) == RECIPIENTS_MAX


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        (0, 2, "version is 2"),
        (1, b"", "cluster tag must have 4 bytes"),
        (5, [], "no recipients"),
        (5, [[bytes(16), bytes(48)]] * 2, "strictly ascending"),
        (5, [[bytes(16), bytes(48)]] * (RECIPIENTS_MAX + 1), "the limit is 1024"),
        (5, [[bytes(15), bytes(48)]], "a recipient's id must have 16 bytes"),
        (6, bytes(11), "nonce must have 12 bytes"),
        (7, "text", "ciphertext must be a byte string"),
    ],
)
def test_what_is_malformed_is_said(field, value, part):
    fields = list(decode(DATA, "it", len(DATA)))
    fields[field] = value
    with pytest.raises(InvalidInput, match=part):
        Envelope.decode(encode(fields))
    with pytest.raises(SealBroken, match=part):
        open_sealed(encode(fields), PLACE, KEYS[0])


@pytest.mark.parametrize("inner", [[5, b"a"], [0], [0, "text"], [0, b"\xff"], 1])
def test_a_sealer_that_writes_nonsense_inside_is_told_from_a_thief(inner, monkeypatch):
    plain = encode(inner)
    monkeypatch.setattr(
        sealed, "encode", lambda value: plain if type(value[0]) is int and len(value) == 2 else encode(value)
    )
    data = sealed_to(KEYS[0])
    monkeypatch.undo()
    with pytest.raises(SealBroken, match="whoever sealed it wrote what is no value"):
        open_sealed(data, PLACE, KEYS[0])
