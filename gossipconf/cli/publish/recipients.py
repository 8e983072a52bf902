"""Recipients as `--seal-to` names them: nodes by their certified names, and files.

Knows where a cluster's directory has certificates. What the files say, and whether
the CA has issued them, is ``runtime.recipients``'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ...model.errors import InvalidInput, KeyFileError
from ...model.key import check_node_id
from ...runtime.node_files import CA_CERTIFICATE, NODE_CERTIFICATE
from ...trust.chain import PolicyChain
from ...trust.membership import Membership
from ...trust.sealed import SEAL_RANDOM_BYTES, Opened, Place, seal
from ..target import CA, NODES, Target, home

CERTIFICATES: Final = Path("certificates")
"""Below a cluster directory: certificates of nodes whose directories were made elsewhere, as NAME.crt."""

SealToOption = Annotated[
    list[str] | None,
    typer.Option(
        "--seal-to",
        metavar="NODE|FILE|DIR",
        help="Who may read it: a node by its name, or a file or directory of certificates and public keys; may be "
        "repeated.",
    ),
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="The CA that certifies the nodes to seal to. Default: that of the cluster directory.",
    ),
]


def recipients_named(names: Sequence[str], target: Target, ca: Path | None, chain: PolicyChain) -> tuple[bytes, ...]:
    """The public keys that `names` stand for, each once. Raises KeyFileError, also for what the policy has revoked."""
    # Here, because X.509 takes a quarter of a command's start and most need none.
    from ...runtime.recipients import Authority, read_recipients  # noqa: PLC0415

    authority = Authority.load(ca or _authority_of(target.directory), chain.cluster_id, Membership.of(chain.head))
    found: dict[bytes, None] = {}
    for name in names:
        certificate = _certificate_of(name, home(target.directory))
        if certificate is None:
            if not os.path.lexists(name):
                raise KeyFileError(
                    f"{name!r} is no file, and no node with a certificate as {NODES}/{name}/{NODE_CERTIFICATE} or "
                    f"{CERTIFICATES}/{name}.crt in {home(target.directory)}"
                )
            found |= dict.fromkeys(one.public for one in read_recipients(Path(name), authority))
            continue
        for recipient in read_recipients(certificate, authority):
            if recipient.node != name:
                raise KeyFileError(f"{certificate} certifies {recipient.node or 'a bare key'!r}, not {name!r}")
            found[recipient.public] = None
    return tuple(found)


def sealed_value(content: Opened, place: Place, recipients: Sequence[bytes]) -> bytes:
    """`content` sealed with fresh randomness. Raises as `seal`."""
    return seal(content, place, recipients, os.urandom(SEAL_RANDOM_BYTES))


def _certificate_of(name: str, directory: Path) -> Path | None:
    """The file with the certificate of node `name`, or None if it is no node's name or has none."""
    try:
        check_node_id(name)
    except InvalidInput:
        return None
    places = (directory / NODES / name / NODE_CERTIFICATE, directory / CERTIFICATES / f"{name}.crt")
    return next((path for path in places if path.is_file()), None)


def _authority_of(directory: Path) -> Path:
    """A cluster's directory has the CA in one place, a node's own in another."""
    inner = home(directory) / CA / CA_CERTIFICATE
    return inner if inner.is_file() or not (directory / CA_CERTIFICATE).is_file() else directory / CA_CERTIFICATE
