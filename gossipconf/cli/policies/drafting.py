"""Drafting: where the draft of a policy goes, what must stay under it, and what is said of it.

Shared by the commands that make drafts. Knows nothing of what is in the policy, and signs
nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...model.change import Change
from ...model.errors import InvalidInput
from ...model.limits import VALUE_BYTES_MAX
from ...model.version import Version
from ...trust.draft import Draft, check_undisputed
from ...trust.membership import Membership, with_membership
from ...trust.policy import PROPOSAL_PREFIX, Policy
from ..editor import returned
from ..output import print_step, say
from ..session import Session
from .rules import Step, differences, from_bytes

NewDraftArgument = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="Where the draft goes. Default: policy-N.draft, here.")
]


def new_draft(path: Path | None, version: int) -> Path:
    """Where the draft of policy `version` goes. Raises InvalidInput if something is there: signatures may be in it."""
    path = path or Path(f"policy-{version}.draft")
    if path.exists():
        raise InvalidInput(f"{path} exists already; name another file for the draft, or move it away")
    return path


def save_draft(path: Path, cluster_id: bytes, policies: Sequence[Change], policy: Policy) -> Policy:
    """Write a draft without signatures; returns the policy as whoever reads it has it. Raises InvalidInput."""
    checked = Policy.decode(policy.encode())
    Draft(cluster_id, tuple(policies), checked).save(path, is_new=True)
    return checked


def edited(text: str, draft: Path, head: Policy) -> Policy:
    """What comes back from the editor: the successor of `head`.

    A text that is refused is kept beside where the draft would be. Raises InvalidInput.
    """
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to edit on; give the new text with --from FILE")
    data = returned(text.encode(), "policy.yaml", "no draft is made", VALUE_BYTES_MAX)
    kept = draft.with_name(draft.name + ".yaml")
    try:
        return from_bytes(data, str(kept), head)
    except InvalidInput as error:
        with contextlib.suppress(OSError):
            kept.write_bytes(data)
        raise type(error)(
            f"{error}. The text is kept: correct it and run: gossipconf policy edit --from {kept}"
        ) from None


def draft_membership(session: Session, wanted: Membership, path: Path | None) -> tuple[Path, Policy]:
    """Draft what the policy is to say of nodes, beside all else that it says, and show what differs.

    Raises Rejected for an open policy fork, and InvalidInput as `new_draft` does.
    """
    head = session.chain.head
    check_undisputed(session.chain)
    path = new_draft(path, head.version + 1)
    roles = with_membership(head.roles, wanted)
    draft = replace(head, version=head.version + 1, roles=roles, floors=(), settles=())
    policy = save_draft(path, session.chain.cluster_id, session.policy_changes, draft)
    print_steps(differences(head, policy))
    return path, policy


def say_drafted(path: Path, policy: Policy, head: Policy) -> None:
    """What a draft is, and what comes next."""
    say(f"{path}: draft of policy {policy.version}, to be signed by {_needed(head)}")
    say(f"next, by each of them: gossipconf policy sign {path}")


def print_steps(steps: Sequence[Step], indent: str = "") -> None:
    """What differs between two policies, a line for each."""
    for step in steps:
        print_step(step.sign, step.words, indent=indent)


def live_versions(session: Session) -> Iterator[Version]:
    """Everything that lives at the agent, system entries that roles may write included, but for policies.

    What a floor is to keep: it covers all of that.
    """
    prefixes = {"", PROPOSAL_PREFIX, *(prefix for role in session.chain.head.roles for prefix in role.prefixes)}
    seen: dict[bytes, None] = {}
    for prefix in sorted(prefixes):
        for item in session.items(prefix):
            for version in item.versions:
                if version.id not in seen:
                    seen[version.id] = None
                    yield version


def _needed(head: Policy) -> str:
    if head.threshold == len(head.roots):
        return "the root" if head.threshold == 1 else f"all {head.threshold} roots"
    return f"{head.threshold} of the {len(head.roots)} roots"
