"""What nodes sign: its form, its name among peers, and every reason to refuse one."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.encoding import encode
from gossipconf.model.errors import FormatError, GossipconfError, LimitExceeded
from gossipconf.model.hashing import STATEMENT_TAG
from gossipconf.trust.statement import (
    CERTIFICATE_BYTES_MAX,
    CERTIFICATES_MAX,
    ITEM_BYTES,
    SIGNATURE_BYTES_MAX,
    Kind,
    SignedStatement,
    Statement,
)

STATEMENT = Statement(bytes(32), Kind.UNHEALTHY, bytes(range(32)), "web-1.eu", 1_700_000_000_000)
SIGNED = SignedStatement(STATEMENT, b"signature", (b"leaf", b"intermediate"))


def test_what_is_encoded_is_read_back():
    assert Statement.decode(STATEMENT.encode()) == STATEMENT
    assert SignedStatement.decode(SIGNED.encode()) == SIGNED


def test_what_is_signed_begins_with_a_tag_of_its_own():
    assert STATEMENT.signed_bytes() == STATEMENT_TAG + STATEMENT.encode()


def test_the_name_is_of_who_says_what_of_what_whatever_the_time():
    later = dataclasses.replace(STATEMENT, time_ms=5, cluster=bytes(range(32)))
    assert later.item == STATEMENT.item
    assert len(STATEMENT.item) == ITEM_BYTES
    others = [{"kind": Kind.ACK}, {"subject": bytes(32)}, {"node_id": "web-2.eu"}]
    assert len({STATEMENT.item, *(dataclasses.replace(STATEMENT, **one).item for one in others)}) == 4


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        (0, bytes(31), FormatError),
        (1, 3, LimitExceeded),
        (1, True, FormatError),
        (2, bytes(33), FormatError),
        (3, "Web", GossipconfError),
        (3, "a" * 65, LimitExceeded),
        (4, -1, LimitExceeded),
        (4, 1 << 53, LimitExceeded),
    ],
)
def test_each_field_is_checked(field, value, error):
    fields = [STATEMENT.cluster, 0, STATEMENT.subject, STATEMENT.node_id, STATEMENT.time_ms]
    fields[field] = value
    with pytest.raises(error):
        Statement.decode(encode(fields))


@pytest.mark.parametrize(
    ("altered", "error"),
    [
        ({"signature": bytes(SIGNATURE_BYTES_MAX + 1)}, LimitExceeded),
        ({"certificates": (b"",) * (CERTIFICATES_MAX + 1)}, LimitExceeded),
        ({"certificates": (bytes(CERTIFICATE_BYTES_MAX + 1),)}, LimitExceeded),
        ({"certificates": (bytes(CERTIFICATE_BYTES_MAX),) * 4}, LimitExceeded),
    ],
)
def test_the_signed_form_is_bounded(altered, error):
    with pytest.raises(error):
        SignedStatement.decode(dataclasses.replace(SIGNED, **altered).encode())


def test_only_one_encoding_is_read():
    data = SIGNED.encode()
    with pytest.raises(FormatError):
        SignedStatement.decode(data + b"\0")
    with pytest.raises(FormatError):
        SignedStatement.decode(b"\xdc\0\x03" + data[1:])
