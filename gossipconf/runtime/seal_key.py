"""The key that values for a node are sealed to: how its certificate names it, and the private half beside it.

A certificate names the key by one URI `gossipconf-seal://<cluster id in hex>/<public key
in hex>` among its subject alternative names. The cluster stands in the place of the
host, as in the node's own name, so that a CA which is constrained to its cluster's names
may issue both. Knows that name and the files; who issued a certificate, and whether it
holds, is for others to know (`pki`, `certification`).
"""

from __future__ import annotations

import re
from typing import Final

from cryptography import x509

from ..model.errors import FormatError, KeyFileError
from ..trust.recipient import RecipientKey, check_recipient, load_recipient_key
from .node_files import NodeFiles

_SCHEME: Final = "gossipconf-seal://"
_NAME: Final = re.compile(r"gossipconf-seal://([0-9a-f]{64})/([0-9a-f]{64})")


def seal_name(cluster_id: bytes, public: bytes) -> x509.UniformResourceIdentifier:
    """What a certificate says of a recipient key."""
    return x509.UniformResourceIdentifier(f"{_SCHEME}{cluster_id.hex()}/{public.hex()}")


def read_recipient(certificate: x509.Certificate, cluster_id: bytes) -> bytes | None:
    """The X25519 key to which values for the owner of a verified leaf are sealed, or None if it names none.

    Raises FormatError if it names several, one that is no such key, or one for another cluster.
    """
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise FormatError(f"the certificate cannot be read: {error}") from None
    uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
    ours = [uri for uri in uris if uri.startswith(_SCHEME)]
    if not ours:
        return None
    match = _NAME.fullmatch(ours[0])
    if len(ours) > 1 or match is None:
        raise FormatError(f"the certificate must carry one name {_SCHEME}<cluster id>/<public key in hex> or none")
    if bytes.fromhex(match[1]) != cluster_id:
        raise FormatError(f"the certificate names a key to seal to for another cluster, {match[1][:8]}…")
    return check_recipient(bytes.fromhex(match[2]))


def load_seal_key(files: NodeFiles, cluster_id: bytes) -> RecipientKey | None:
    """The key that opens what is sealed to this node, or None if it has none.

    Raises KeyFileError for a bad file, and if the certificate names another key.
    """
    if not files.seal_key.exists():
        return None
    key = load_recipient_key(files.seal_key)
    try:
        certified = read_recipient(x509.load_pem_x509_certificates(files.certificate.read_bytes())[0], cluster_id)
    except OSError as error:
        raise KeyFileError(f"{files.certificate}: cannot be read: {error.strerror}") from None
    except (ValueError, FormatError) as error:
        raise KeyFileError(f"{files.certificate}: {error}") from None
    if certified is not None and key.public != certified:
        raise KeyFileError(
            f"{files.seal_key} is not the key that {files.certificate} names; use the two that were issued together"
        )
    return key
