"""Statements: what a node says of a change, signed with the key of its certificate.

A node certificate lets a node relay and never write config. All that it can say with
weight are these few words about something that an admin has signed, and what they
bring about is in what the admin has signed:

    UNHEALTHY   the application here is unwell since it reads this
    ACK, NACK   this participant of a stage is ready for it, or will not have it

Of one node there is one statement of a kind about a subject. Which of several is kept does
not matter: they say the same, and only *who has said what* counts. ECDSA signatures can be
altered by anybody and still verify, so a statement is never named by its signed bytes.

Knows the document, its form and the two ports by which it is signed and verified. Knows no
certificate: who certifies a node is the business of whoever makes a `Notary`
(docs/decisions/017).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..model.encoding import as_array, as_bytes, as_int, as_text, decode, encode
from ..model.hashing import HASH_BYTES, SAID_TAG, STATEMENT_TAG, tagged_hash
from ..model.key import check_node_id
from ..model.limits import NODE_ID_BYTES_MAX, TIME_MS_MAX

CERTIFICATES_MAX: Final = 5
"""A node's certificate and what is between it and the CA: one intermediate by our tickets, two in large companies."""
CERTIFICATE_BYTES_MAX: Final = 4_096
"""In DER: 0.8 KB with P-256, 1.5 KB with RSA of 4,096 bits and many names."""
SIGNATURE_BYTES_MAX: Final = 1_024
"""RSA of 8,192 bits; ECDSA with P-256 takes 72."""
STATEMENT_BYTES_MAX: Final = 16_384
"""As it travels, certificates included: usually 1 KB."""
ITEM_BYTES: Final = 8
"""By which peers name statements to each other: two collide among a thousand once in 10^13."""


class Kind(enum.IntEnum):
    """What a statement says."""

    UNHEALTHY = 0
    ACK = 1
    NACK = 2


OPPOSITES: Final = {Kind.ACK: Kind.NACK, Kind.NACK: Kind.ACK}
"""What a node that has said the one never says of the same subject."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed.

    cluster, subject:  32 bytes each; a subject is the id of what is spoken of, as a rule a change's
    node_id:           who speaks; the certificate must name it
    time_ms:           by the speaker's clock; its certificate must have held then
    """

    cluster: bytes
    kind: Kind
    subject: bytes
    node_id: str
    time_ms: int

    @property
    def item(self) -> bytes:
        """The name of "this node has said this of that" among peers: the time is not part of it."""
        return tagged_hash(SAID_TAG, self.subject, bytes([self.kind]), self.node_id.encode())[:ITEM_BYTES]

    def signed_bytes(self) -> bytes:
        """The bytes that are signed."""
        return STATEMENT_TAG + self.encode()

    def encode(self) -> bytes:
        """The canonical bytes."""
        return encode([self.cluster, int(self.kind), self.subject, self.node_id, self.time_ms])

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Check and read. Raises FormatError, InvalidInput or LimitExceeded."""
        fields = as_array(decode(data, "a node's statement", STATEMENT_BYTES_MAX), "a node's statement", 5)
        cluster, kind, subject, node_id, time_ms = fields
        return cls(
            as_bytes(cluster, "the cluster of a statement", HASH_BYTES),
            Kind(as_int(kind, "the kind of a statement", 0, max(Kind))),
            as_bytes(subject, "the subject of a statement", HASH_BYTES),
            check_node_id(as_text(node_id, "the node of a statement", NODE_ID_BYTES_MAX)),
            as_int(time_ms, "the time of a statement", 0, TIME_MS_MAX),
        )


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement, its signature, and the certificates that say whose it is: the node's own first, DER."""

    statement: Statement
    signature: bytes
    certificates: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The canonical bytes that travel and are kept."""
        return encode([self.statement.encode(), self.signature, self.certificates])

    @classmethod
    def decode(cls, data: bytes) -> SignedStatement:
        """Check and read, but neither signature nor certificates. Raises FormatError, InvalidInput or LimitExceeded."""
        fields = as_array(decode(data, "a signed statement", STATEMENT_BYTES_MAX), "a signed statement", 3)
        statement, signature, certificates = fields
        chain = as_array(certificates, "the certificates of a statement", length_max=CERTIFICATES_MAX)
        return cls(
            Statement.decode(as_bytes(statement, "a statement's body")),
            as_bytes(signature, "the signature of a statement", length_max=SIGNATURE_BYTES_MAX),
            tuple(as_bytes(one, "a certificate of a statement", length_max=CERTIFICATE_BYTES_MAX) for one in chain),
        )


@dataclass(frozen=True, slots=True)
class Notary:
    """How statements are signed and verified where certificates are known.

    sign:    the statement with this node's signature. Raises KeyFileError
    verify:  raises a Rejected unless a certificate of the cluster, which held at the statement's own time, names its
             node and its key has signed; returns SHA-256 of each certificate of the chain, the CA's included, by
             which a policy may revoke. A function of the statement and the CAs: no clock, and no policy
    """

    sign: Callable[[Statement], SignedStatement]
    verify: Callable[[SignedStatement], tuple[bytes, ...]]
