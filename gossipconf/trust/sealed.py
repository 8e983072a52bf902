"""Sealed values: envelopes that every agent keeps and only their recipients open.

The value is encrypted once, under a random content key; the content key is wrapped
for each recipient. Every byte of an envelope is bound to every other and to one place
(cluster, key, variant): what is altered or moved does not open. Whoever opens it with
the same envelope gets the same value, also if the sealer was malicious: the envelope
commits to the content key, which ChaCha20-Poly1305 alone does not.

Knows no entries, no files and no certificates, and takes its randomness as an argument.
The sealer is authentic by the signature of the change that carries the envelope.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..model.change import CLUSTER_TAG_BYTES
from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.entry import ValueType
from ..model.errors import FormatError, InvalidInput, LimitExceeded, NotRecipient, SealBroken, SealMoved
from ..model.hashing import HASH_BYTES, PLACE_TAG, SEAL_TAG, WRAP_TAG, tagged_hash
from ..model.limits import VALUE_BYTES_MAX
from .recipient import RECIPIENT_ID_BYTES, RECIPIENT_KEY_BYTES, RecipientKey, check_recipient, recipient_id

ENVELOPE_VERSION: Final = 1
RECIPIENTS_MAX: Final = 1_024
"""Recipients of one value. Each takes 69 bytes of the value's 1 MiB and some 100 µs to seal to: 1,024 are 70 KB and
0.1 s. More instances than that share a key."""

CONTENT_KEY_BYTES: Final = 32
AUTHENTICATOR_BYTES: Final = 16
"""Poly1305's, at the end of each ciphertext."""
NONCE_BYTES: Final = 12
SEAL_RANDOM_BYTES: Final = CONTENT_KEY_BYTES + RECIPIENT_KEY_BYTES + NONCE_BYTES
"""What sealing takes of randomness: the content key, the ephemeral private key and the nonce."""

_WRAPPED_BYTES: Final = CONTENT_KEY_BYTES + AUTHENTICATOR_BYTES
_WRAP_NONCE: Final = bytes(NONCE_BYTES)
"""A wrapping key encrypts one message ever, so its nonce may be any."""
_INNER_TYPES: Final = tuple(one for one in ValueType if one is not ValueType.SEALED)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs."""

    cluster_id: bytes
    key: str
    variant: str = ""

    @property
    def id(self) -> bytes:
        """What an envelope names the place by, 32 bytes."""
        return tagged_hash(PLACE_TAG, encode([self.cluster_id, self.key, self.variant]))


@dataclass(frozen=True, slots=True)
class Opened:
    """What was sealed. Its text form does not show the value."""

    type: ValueType
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed value as everybody sees it.

    cluster_tag:  the first 4 bytes of the cluster id, so that a stray envelope is named for what it is
    place:        id of its place
    ephemeral:    the sealer's X25519 public key for this envelope only
    commitment:   to the content key, 32 bytes
    wrapped:      (recipient id, the content key wrapped for it), ascending
    nonce:        of the ciphertext, 12 bytes
    ciphertext:   type and value, encrypted
    """

    cluster_tag: bytes
    place: bytes
    ephemeral: bytes
    commitment: bytes
    wrapped: tuple[tuple[bytes, bytes], ...]
    nonce: bytes
    ciphertext: bytes

    @property
    def recipients(self) -> tuple[bytes, ...]:
        """Ids of those who can open it, ascending."""
        return tuple(recipient for recipient, _ in self.wrapped)

    def encode(self) -> bytes:
        """The bytes that are the value of an entry of type sealed."""
        return encode([*self._head(), self.nonce, self.ciphertext])

    def associated_data(self) -> bytes:
        """All that the ciphertext is bound to besides its key and nonce."""
        return encode(self._head())

    def _head(self) -> list[Any]:
        return [ENVELOPE_VERSION, self.cluster_tag, self.place, self.ephemeral, self.commitment, self.wrapped]

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Check and read. Raises FormatError or LimitExceeded."""
        fields = as_array(decode(data, "a sealed value", VALUE_BYTES_MAX), "a sealed value", 8)
        as_int(fields[0], "a sealed value's version", ENVELOPE_VERSION, ENVELOPE_VERSION)
        pairs = as_array(fields[5], "the recipients of a sealed value", length_max=RECIPIENTS_MAX)
        wrapped = tuple(_wrapped_from_wire(pair) for pair in pairs)
        if not wrapped:
            raise FormatError("a sealed value has no recipients")
        if any(a[0] >= b[0] for a, b in pairwise(wrapped)):
            raise FormatError("the recipients of a sealed value must be in strictly ascending order")
        return cls(
            cluster_tag=as_bytes(fields[1], "a sealed value's cluster tag", CLUSTER_TAG_BYTES),
            place=as_bytes(fields[2], "a sealed value's place", HASH_BYTES),
            ephemeral=as_bytes(fields[3], "a sealed value's ephemeral key", RECIPIENT_KEY_BYTES),
            commitment=as_bytes(fields[4], "a sealed value's commitment", HASH_BYTES),
            wrapped=wrapped,
            nonce=as_bytes(fields[6], "a sealed value's nonce", NONCE_BYTES),
            ciphertext=as_bytes(fields[7], "a sealed value's ciphertext"),
        )


def seal(content: Opened, place: Place, recipients: Iterable[bytes], randomness: bytes) -> bytes:
    """The envelope that only ``recipients``, X25519 public keys, can open, and only in ``place``.

    ``randomness`` is SEAL_RANDOM_BYTES fresh secret random bytes, never used again. Raises InvalidInput,
    also for a key as `check_recipient` refuses it, and LimitExceeded.
    """
    if len(randomness) != SEAL_RANDOM_BYTES:
        raise InvalidInput(f"sealing takes {SEAL_RANDOM_BYTES} random bytes, not {len(randomness)}")
    publics = {recipient_id(check_recipient(public)): public for public in recipients}
    if not publics:
        raise InvalidInput(f"{place.key!r} would be sealed to nobody; name at least one recipient")
    if len(publics) > RECIPIENTS_MAX:
        raise LimitExceeded(
            f"{place.key!r} would be sealed to {_count(len(publics))}, the limit is {RECIPIENTS_MAX}; "
            "give instances that read the same secrets one key"
        )
    _check_content(content)
    content_key, seed = randomness[:CONTENT_KEY_BYTES], randomness[CONTENT_KEY_BYTES:-NONCE_BYTES]
    ephemeral = RecipientKey.from_seed(seed)
    payload_key, commitment = _keys_of(content_key, place.id)
    wrapped = []
    for recipient, public in sorted(publics.items()):
        wrapping = _wrapping_key(ephemeral.agree(public), ephemeral.public, public, place.id)
        wrapped.append((recipient, ChaCha20Poly1305(wrapping).encrypt(_WRAP_NONCE, content_key, None)))
    head = Envelope(
        cluster_tag=place.cluster_id[:CLUSTER_TAG_BYTES],
        place=place.id,
        ephemeral=ephemeral.public,
        commitment=commitment,
        wrapped=tuple(wrapped),
        nonce=randomness[-NONCE_BYTES:],
        ciphertext=b"",
    )
    plain = encode([int(content.type), content.value])
    ciphertext = ChaCha20Poly1305(payload_key).encrypt(head.nonce, plain, head.associated_data())
    data = replace(head, ciphertext=ciphertext).encode()
    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded(
            f"the value of {place.key!r} has {len(data)} bytes when it is sealed to {_count(len(publics))}, "
            f"the limit is {VALUE_BYTES_MAX}"
        )
    return data


def open_sealed(data: bytes, place: Place, key: RecipientKey) -> Opened:
    """What is in the envelope ``data`` that lies in ``place``. Raises NotRecipient, SealMoved or SealBroken."""
    return open_with(data, place, unwrap(data, place, key))


def unwrap(data: bytes, place: Place, key: RecipientKey) -> bytes:
    """The content key, with which `open_with` opens this one envelope. Raises as `open_sealed`."""
    envelope = _read(data, place)
    wrapped = dict(envelope.wrapped).get(key.id)
    if wrapped is None:
        raise NotRecipient(
            f"{place.key!r} is sealed to {_count(len(envelope.wrapped))}, and {key.id.hex()} is none of them"
        )
    try:
        wrapping = _wrapping_key(key.agree(envelope.ephemeral), envelope.ephemeral, key.public, envelope.place)
        content_key = ChaCha20Poly1305(wrapping).decrypt(_WRAP_NONCE, wrapped, None)
    except (InvalidTag, FormatError):
        raise _broken(place) from None
    if not hmac.compare_digest(_keys_of(content_key, envelope.place)[1], envelope.commitment):
        raise _broken(place)
    return content_key


def open_with(data: bytes, place: Place, content_key: bytes) -> Opened:
    """What is in the envelope, if ``content_key`` is what it commits to. Raises SealMoved or SealBroken."""
    envelope = _read(data, place)
    payload_key, commitment = _keys_of(content_key, envelope.place)
    if not hmac.compare_digest(commitment, envelope.commitment):
        raise _broken(place)
    try:
        plain = ChaCha20Poly1305(payload_key).decrypt(envelope.nonce, envelope.ciphertext, envelope.associated_data())
    except InvalidTag:
        raise _broken(place) from None
    try:
        kind, value = as_array(decode(plain, "what is sealed", VALUE_BYTES_MAX), "what is sealed", 2)
        opened = Opened(
            ValueType(as_int(kind, "the type of what is sealed", 0, max(_INNER_TYPES))),
            as_bytes(value, "the value of what is sealed"),
        )
        _check_content(opened)
    except InvalidInput as error:  # none of these errors shows a value
        raise SealBroken(f"{place.key!r}: whoever sealed it wrote what is no value: {error}") from None
    return opened


def _read(data: bytes, place: Place) -> Envelope:
    try:
        envelope = Envelope.decode(data)
    except InvalidInput as error:
        raise SealBroken(f"{place.key!r} cannot be opened: {error}") from None
    if envelope.cluster_tag != place.cluster_id[:CLUSTER_TAG_BYTES]:
        raise SealMoved(
            f"{place.key!r} was sealed for cluster {envelope.cluster_tag.hex()}…, "
            f"this is {place.cluster_id[:CLUSTER_TAG_BYTES].hex()}…; seal it anew for this one"
        )
    if envelope.place != place.id:
        variant = f", variant {place.variant!r}" if place.variant else ""
        raise SealMoved(
            f"{place.key!r}{variant}: this was sealed for another key or variant; seal it anew for this one"
        )
    return envelope


def _count(recipients: int) -> str:
    return f"{recipients} recipient{'' if recipients == 1 else 's'}"


def _broken(place: Place) -> SealBroken:
    return SealBroken(f"{place.key!r} cannot be opened: it has been altered since it was sealed")


def _check_content(content: Opened) -> None:
    if content.type not in _INNER_TYPES:
        raise InvalidInput("a sealed value is not sealed again")
    if content.type is not ValueType.BYTES:
        try:
            content.value.decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"a {content.type.name.lower()} value must be UTF-8; use the type bytes") from None


def _keys_of(content_key: bytes, place: bytes) -> tuple[bytes, bytes]:
    """The key of the ciphertext and the commitment, both of the content key and the place."""
    derived = HKDF(SHA256(), 2 * HASH_BYTES, None, SEAL_TAG + place).derive(content_key)
    return derived[:HASH_BYTES], derived[HASH_BYTES:]


def _wrapping_key(shared: bytes, ephemeral: bytes, public: bytes, place: bytes) -> bytes:
    return HKDF(SHA256(), CONTENT_KEY_BYTES, ephemeral + public, WRAP_TAG + place).derive(shared)


def _wrapped_from_wire(pair: Any) -> tuple[bytes, bytes]:
    recipient, wrapped = as_array(pair, "a recipient of a sealed value", 2)
    return (
        as_bytes(recipient, "a recipient's id", RECIPIENT_ID_BYTES),
        as_bytes(wrapped, "a wrapped content key", _WRAPPED_BYTES),
    )
