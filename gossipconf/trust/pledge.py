"""Pledges: which successor of each policy a root key has signed, remembered in a file beside the key.

Two valid successors of one policy split a cluster until the roots agree again. So
whoever has signed one signs no other: not by mistake, and not because two drafts are
under way. The file is a plain list, for people too; it is written before the signature
is made, so that a signature that leaves this machine is always in it.
"""

from __future__ import annotations

from pathlib import Path

from ..model.errors import KeyFileError, Rejected
from .files import read_bounded, replace_file

PLEDGES_BYTES_MAX = 1 << 20
"""Some ten thousand policies signed by one key."""


def pledge_file(key_file: Path) -> Path:
    """Where the pledges of a key are."""
    return key_file.with_name(key_file.name + ".signed")


def pledge(key_file: Path, cluster_id: bytes, version: int, change_id: bytes) -> None:
    """Promise to sign no other policy ``version`` than the change ``change_id``.

    Raises Rejected if another has been signed, and KeyFileError if the file cannot be read or written: then nothing
    must be signed.
    """
    path = pledge_file(key_file)
    lines = read_bounded(path, PLEDGES_BYTES_MAX, absent=b"").decode(errors="replace").splitlines()
    ours = (cluster_id.hex(), str(version))
    for number, line in enumerate(lines, 1):
        match line.split():
            case [cluster, signed_version, signed_id] if (cluster, signed_version) == ours:
                if signed_id == change_id.hex():
                    return
                raise Rejected(
                    f"this key has signed another policy {version} already, change {signed_id[:10]}; two of them split "
                    f"the cluster. Sign that one; or if it will never be published, take line {number} out of {path}"
                )
            case [_, _, _]:
                pass
            case _:
                raise KeyFileError(
                    f"{path}, line {number}: not a cluster, a policy version and a change; mend it by hand"
                )
    replace_file(path, "".join(f"{line}\n" for line in [*lines, " ".join((*ours, change_id.hex()))]).encode(), 0o600)
