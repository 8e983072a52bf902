"""Pledges: which successor of each policy a root key has signed, and which first epoch of a strict prefix, remembered
in a file beside the key.

Two valid successors of one policy split a cluster until the roots agree again, and two first
epochs split the readers of a prefix. So whoever has signed one signs no other: not by mistake,
and not because two drafts are under way. The file is a plain list, for people too; it is written
before the signature is made, so that a signature that leaves this machine is always in it.
"""

from __future__ import annotations

from pathlib import Path

from ..model.errors import KeyFileError, Rejected
from .files import read_bounded, replace_file

PLEDGES_BYTES_MAX = 1 << 20
"""Some ten thousand policies signed by one key."""

EPOCH_PLEDGE = "epoch:"
"""Begins the second word of a line about a first epoch; the prefix follows in hex."""


def pledge_file(key_file: Path) -> Path:
    """Where the pledges of a key are."""
    return key_file.with_name(key_file.name + ".signed")


def pledge(key_file: Path, cluster_id: bytes, version: int, change_id: bytes) -> None:
    """Promise to sign no other policy ``version`` than the change ``change_id``.

    Raises Rejected if another has been signed, and KeyFileError if the file cannot be read or written: then nothing
    must be signed.
    """
    _pledge(
        key_file, (cluster_id.hex(), str(version)), change_id, f"policy {version}", "change", "will never be published"
    )


def pledge_epoch(key_file: Path, cluster_id: bytes, prefix: str, stage_id: bytes) -> None:
    """Promise to sign no other first epoch of a strict ``prefix`` than the stage ``stage_id``. Raises as `pledge`.

    Nothing but the roots excludes two first epochs with different members: both would be served.
    """
    name = EPOCH_PLEDGE + prefix.encode().hex()
    _pledge(
        key_file, (cluster_id.hex(), name), stage_id, f"first epoch of {prefix!r}", "stage", "is known to be aborted"
    )


def _pledge(key_file: Path, ours: tuple[str, str], signed: bytes, what: str, noun: str, unless: str) -> None:
    path = pledge_file(key_file)
    lines = read_bounded(path, PLEDGES_BYTES_MAX, absent=b"").decode(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        match line.split():
            case [cluster, name, signed_id] if (cluster, name) == ours:
                if signed_id == signed.hex():
                    return
                raise Rejected(
                    f"this key has signed another {what} already, {noun} {signed_id[:10]}; two of them split "
                    f"the cluster. Sign that one; or if it {unless}, take line {number} out of {path}"
                )
            case [_, _, _]:
                pass
            case _:
                raise KeyFileError(
                    f"{path}, line {number}: not a cluster, a policy version and a change; mend it by hand"
                )
    replace_file(path, "".join(f"{line}\n" for line in [*lines, " ".join((*ours, signed.hex()))]).encode(), 0o600)
