"""Proposals: whole changes that still lack signatures, and what they lack.

A proposal takes no effect, whoever holds it. Its file, or its entry under `_proposals/`,
travels between those who may sign; a form of it without entries carries signatures
alone. Nothing in it is believed: every signature is verified, and the change is judged
like any other once it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..model.change import Change
from ..model.encoding import as_array, as_bytes, as_int, decode, encode
from ..model.entry import Entry, Operation
from ..model.errors import FormatError, InvalidInput, NotAuthorised
from ..model.key import covers
from ..model.limits import FORM_BYTES_MAX
from .chain import PolicyChain
from .file_kind import PROPOSAL, unusable
from .files import read_bounded, replace_file, write_new
from .keys import fingerprint
from .policy import POLICY_PREFIX, Policy, Role
from .strict import StageKey, ways_to_stage

PROPOSAL_FILE_VERSION: Final = 1
KIND: Final = "a change"
"""What the file says it is, so that a policy's is named for what it is."""
FILE_BYTES_MAX: Final = FORM_BYTES_MAX + 64
"""One change, and the array around it."""


@dataclass(frozen=True, slots=True)
class Support:
    """Who has signed a change, and who else may.

    signed:   keys whose signatures it has, the writer's first
    missing:  how many more are needed, at least; 0 if it is complete
    may:      keys that can add one of those, ascending
    """

    signed: tuple[bytes, ...]
    missing: int
    may: tuple[bytes, ...]


def support(policy: Policy, change: Change) -> Support:
    """How far ``change``, which names ``policy``, is from complete; its signatures have been verified.

    Raises NotAuthorised if no number of approvals would do.
    """
    signed = tuple(key for key, _ in change.signatures())
    missing, may = 0, set[bytes]()
    for _, entry in change.entries:
        if covers(POLICY_PREFIX, entry.key):
            ways = [(policy.threshold, policy.roots)]
        elif (named := StageKey.parse(entry.key)) is not None:
            is_put = entry.operation is Operation.PUT
            ways = ways_to_stage(policy, change.header.writer.key, named, is_put=is_put)
        else:
            ways = [(role.approvals, role.keys) for role in _roles_for(policy, change.header.writer.key, entry)]
        lacking = min(needed - sum(key in signed for key in keys) for needed, keys in ways)
        if lacking > 0:
            missing = max(missing, lacking)
            may.update(key for _, keys in ways for key in keys if key not in signed)
    return Support(signed, missing, tuple(sorted(may)))


def check_proposal(chain: PolicyChain, change: Change) -> Support:
    """Verify every signature of a whole change that may still lack some. Raises Rejected or InvalidInput."""
    if not change.is_whole:
        raise InvalidInput("a part of a change is no proposal: nobody could see what the rest is")
    chain.judge(change.restrict(()))  # all but who may write what: cluster, policy, signers and their signatures
    found = support(chain[change.header.policy], change)
    if not found.missing:
        chain.judge(change, signatures_checked=True)
    return found


def save_proposal(path: Path, change: Change, *, is_new: bool) -> None:
    """Write a proposal's file, in place of an earlier one or (``is_new``) never. Raises KeyFileError."""
    write = write_new if is_new else replace_file
    write(path, encode([PROPOSAL_FILE_VERSION, KIND, change.encode()]), 0o644)


def load_proposal(path: Path, cluster_id: bytes) -> Change:
    """Read a proposal's file; nothing of it is verified yet. Raises KeyFileError naming it, or Rejected."""
    data = read_bounded(path, FILE_BYTES_MAX)
    try:
        fields = as_array(decode(data, "a proposal", FILE_BYTES_MAX), "a proposal")
        check_file(fields, PROPOSAL_FILE_VERSION, KIND, 3)
        return Change.decode(as_bytes(fields[2], "a change", length_max=FORM_BYTES_MAX), cluster_id)
    except InvalidInput as error:
        raise unusable(path, PROPOSAL, data, error) from None


def check_file(fields: tuple[object, ...], version: int, kind: str, length: int) -> None:
    """Raise FormatError or LimitExceeded unless an array of fields is a file of this version and kind."""
    as_int(fields[0] if fields else None, "the file's version", version, version)
    if fields[1:2] != (kind,) or len(fields) != length:
        raise FormatError(f"it has other fields than {kind} has")


def _roles_for(policy: Policy, writer: bytes, entry: Entry) -> list[Role]:
    """Roles of the writer that may do this, once enough of their holders have signed. Raises NotAuthorised."""
    roles = [role for role in policy.roles if writer in role.keys and role.governs(entry)]
    if not roles:
        raise NotAuthorised(
            f"policy {policy.version} does not let {fingerprint(writer)} {entry.operation.name.lower()} "
            f"{entry.key!r}, whoever approves it"
        )
    return roles
