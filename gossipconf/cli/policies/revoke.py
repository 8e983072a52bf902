"""`revoke`: a draft of a policy that cuts a key off, and voids what it signs from now on.

What stays is what the asked agent has met, less what is named as the thief's. The draft
is signed and published like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ...model.errors import InvalidInput
from ...model.limits import ID_DIGITS_MIN
from ...model.version import Version
from ...trust.draft import check_undisputed
from ...trust.floor import KEPT_MAX, Floors
from ...trust.keys import fingerprint
from ...trust.narrowing import floors_for
from ...trust.policy import Policy
from ..change_id import begins
from ..output import count, print_json, print_step, say, short, slot_in_words, version_in_line
from ..see.record import Wanted, versions
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target, public_key_of
from .drafting import NewDraftArgument, live_versions, new_draft, print_steps, save_draft, say_drafted
from .rules import differences


def revoke(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The key: SHA256:… as `policy show` has it, or its public file.")
    ],
    path: NewDraftArgument = None,
    void: Annotated[
        list[str] | None,
        typer.Option("--void", metavar="CHANGE", help="A change of the thief's, by its id; repeatable."),
    ] = None,
    void_all: Annotated[bool, typer.Option("--void-all", help="Void everything that the key has signed.")] = False,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Draft a policy that cuts a key off, for good and everywhere.

    The key leaves all roles. What it has signed stays as far as this agent has
    met it; everything else by it is void, whenever and wherever it turns up,
    whatever numbers and times it bears. Name with --void what the thief has
    published here already (`gossipconf history`). What that had replaced comes back.

    Void versions are kept: `gossipconf void list` shows them, and
    `gossipconf void resign` publishes those anew that were legitimate.

    \b
    Examples:
      gossipconf revoke SHA256:Rn1q… --void 3f9a2c1b
      gossipconf revoke keys/carol.pub
      gossipconf policy sign policy-4.draft; gossipconf policy publish policy-4.draft
    """
    with open_session(Target.find(cluster, agent)) as session:
        head = session.chain.head
        check_undisputed(session.chain)
        public = _named(key, head)
        path = new_draft(path, head.version + 1)
        signed = [one for one in live_versions(session) if one.header.writer.key == public]
        named = _named_changes(signed, void or (), everything=void_all)
        kept = [one for one in signed if one.change_id not in named]
        if len({one.change_id for one in kept}) > KEPT_MAX:
            raise InvalidInput(
                f"{count(len(kept), 'version')} would stay, and a policy can name {KEPT_MAX:,} changes; publish "
                "some of them anew with another key first, or void them and sign them anew afterwards"
            )
        policy = replace(_without(head, public), floors=floors_for([(public, "")], head.version, kept), settles=())
        policy = save_draft(path, session.chain.cluster_id, session.policy_changes, policy)
        outcome = [_Outcome(one, _comes_back(session, one, policy)) for one in signed if one.change_id in named]
        if as_json:
            print_json(_in_json(policy, path, kept, outcome))
        else:
            _print(head, policy, path, kept, outcome)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A version that will be void, and what its slot will have then; None: nothing that this agent knows of."""

    version: Version
    instead: Version | None


def _named(key: str, head: Policy) -> bytes:
    """The public key that is meant, which some role has. Raises InvalidInput or KeyFileError."""
    known = {one for role in head.roles for one in role.keys}
    if key.startswith("SHA256:"):
        found = [one for one in known if fingerprint(one).startswith(key)]
        if len(found) != 1:
            few = "no key begins" if not found else f"{len(found)} keys begin"
            raise InvalidInput(f"{few} with {key} in policy {head.version}; see: gossipconf policy show")
        public = found[0]
    else:
        public = public_key_of(key).public
    if public in head.roots:
        raise InvalidInput(f"{fingerprint(public)} is a root key; replace it first with: gossipconf policy edit")
    if public not in known:
        raise InvalidInput(f"no role of policy {head.version} has {fingerprint(public)}; see: gossipconf policy show")
    return public


def _named_changes(signed: Sequence[Version], void: Sequence[str], *, everything: bool) -> set[bytes]:
    """Ids of the changes that are to be void. Raises InvalidInput for one that is not there."""
    if everything:
        return {one.change_id for one in signed}
    named = set[bytes]()
    for start in void:
        found = {one.change_id for one in signed if begins(one.change_id, start)}
        if len(found) != 1:
            few = "no live change of this key begins" if not found else f"{len(found)} live changes of this key begin"
            raise InvalidInput(
                f"--void {start}: {few} so (what is replaced already needs no naming: it is void in any case); "
                f"give {ID_DIGITS_MIN} digits or more, see: gossipconf list --json"
            )
        named |= found
    return named


def _without(head: Policy, key: bytes) -> Policy:
    roles = tuple(replace(role, keys=tuple(one for one in role.keys if one != key)) for role in head.roles)
    for role in roles:
        if role.approvals > max(1, len(role.keys)):
            raise InvalidInput(
                f"role {role.name!r} would need {role.approvals} signatures and have {count(len(role.keys), 'key')}; "
                "give it another key first with: gossipconf policy edit"
            )
    return replace(head, version=head.version + 1, roles=roles)


def _comes_back(session: Session, version: Version, policy: Policy) -> Version | None:
    """What wins a slot without ``version``, as far as this agent's history goes."""
    floors = Floors()
    floors.add(policy.floors)
    past = [one.version for one in versions(session, Wanted(key=version.entry.key), None)]
    slot = [one for one in past if one.slot == version.slot and not session.is_void(one) and not floors.is_void(one)]
    left = [one for one in slot if not any(other.supersedes(one) for other in slot)]
    return max(left, key=lambda one: one.precedence, default=None)


def _print(before: Policy, policy: Policy, path: Path, kept: Sequence[Version], outcome: Sequence[_Outcome]) -> None:
    print_steps(differences(before, policy))
    say(f"stays: {count(len(kept), 'version')} by this key that this agent has met")
    for one in outcome:
        slot = slot_in_words(one.version.slot)
        print_step("-", slot, f"{version_in_line(one.version).plain} of change {short(one.version.change_id)} is void")
        if one.instead is None:
            say("    becomes empty: this agent's history has nothing else; publish a value once the policy is in force")
        else:
            say(f"    comes back: {version_in_line(one.instead).plain} of change {short(one.instead.change_id)}")
    say_drafted(path, policy, before)


def _in_json(policy: Policy, path: Path, kept: Sequence[Version], outcome: Sequence[_Outcome]) -> dict[str, Any]:
    return {
        "policy": policy.version,
        "draft": str(path),
        "kept": len(kept),
        "void": [
            {
                "key": one.version.entry.key,
                "variant": one.version.entry.variant,
                "change": one.version.change_id.hex(),
                "comes_back": None if one.instead is None else one.instead.change_id.hex(),
            }
            for one in outcome
        ],
    }
