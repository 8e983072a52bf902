"""The opener of sealed values: with a private key of this command's, or by the agent that is asked.

The agent hands out the key of one envelope and not the value: the envelope, which
is signed, commits to that key, so an agent cannot pass off another value. What is
opened stays in this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..model.entry import ValueType
from ..model.errors import InvalidInput, NotRecipient, SealBroken
from ..model.version import Version
from ..trust.recipient import load_recipient_key
from ..trust.sealed import Envelope, Opened, Place, open_sealed, open_with
from .output import count
from .session import Session

OpenWithOption = Annotated[
    Path | None,
    typer.Option(
        "--open-with",
        metavar="FILE",
        help="Open sealed values with this private key. Default: the agent does, if they are sealed to it.",
    ),
]


class Opener:
    """Opens versions that one session has read."""

    def __init__(self, session: Session, key_file: Path | None) -> None:
        """`key_file`: the private key to open with, or None to ask the agent. Raises KeyFileError."""
        self._session = session
        self._file = key_file
        self._key = None if key_file is None else load_recipient_key(key_file)

    def open(self, version: Version) -> Opened:
        """What is sealed in `version`. Raises NotRecipient that says who else may, SealMoved or SealBroken."""
        entry = version.entry
        data, place = entry.value or b"", Place(self._session.chain.cluster_id, entry.key, entry.variant)
        try:
            if self._key is not None:
                return open_sealed(data, place, self._key)
            return open_with(data, place, self._session.content_key(version))
        except NotRecipient:
            raise NotRecipient(self._refusal(version)) from None

    def _refusal(self, version: Version) -> str:
        sealed = f"{version.entry.key!r} is sealed to {count(len(recipients_of(version)), 'recipient')}, and"
        if self._file is not None:
            return f"{sealed} the key {self._file} is none of them"
        return (
            f"{sealed} agent {self._session.node} is none of them; ask one that is with --agent, "
            "or open it with --open-with FILE"
        )


def recipients_of(version: Version) -> tuple[bytes, ...]:
    """Ids of those to whom the value of `version` is sealed. Raises SealBroken."""
    try:
        return Envelope.decode(version.entry.value or b"").recipients
    except InvalidInput as error:
        raise SealBroken(f"{version.entry.key!r} cannot be opened: {error}") from None


def is_sealed(version: Version) -> bool:
    """Whether `version` puts a sealed value."""
    return version.entry.value is not None and version.entry.type is ValueType.SEALED
