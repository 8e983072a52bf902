"""Policies: `show`, `log`, `diff`, and the way of a new one: `edit` or `settle`, `sign` by root after root, `publish`.

A draft is a file that goes from root to root; `sign` needs no network and no agent.
What is shown before a signature is what is signed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...model.change import INCARNATION_BYTES, Change
from ...model.errors import AgentUnreachable, InvalidInput, NotAuthorised, Rejected
from ...model.limits import VALUE_BYTES_MAX
from ...trust.chain import PolicyChain
from ...trust.cluster import Cluster
from ...trust.draft import Draft, check_undisputed
from ...trust.files import read_bounded
from ...trust.keys import fingerprint
from ...trust.narrowing import Loss, bare, floors_for, losses
from ...trust.pledge import pledge_file
from ...trust.policy import Policy, carried
from ...trust.proposal import Support
from ..change_id import begins
from ..exits import NotFound
from ..instant import now_ms
from ..output import acknowledged, count, escaped, json_time, moment, note, print_json, say, short
from ..passphrase import PassphraseFileOption, open_key
from ..session import open_session
from ..ssh_agent import choice_of
from ..target import ROOT_KEY, AgentOption, ClusterOption, JsonOption, Target, find_directory, home
from . import nodes
from .drafting import NewDraftArgument, edited, live_versions, new_draft, print_steps, save_draft, say_drafted
from .rules import Step, differences, from_bytes, key_in_json, to_json, to_text

app = typer.Typer(help="Who may write what: show, compare and change the policy.", no_args_is_help=True)
app.add_typer(nodes.node_app, name="node")
app.add_typer(nodes.issuer_app, name="issuer")

RootKeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help=f"Root key to sign with. Default: {ROOT_KEY} of the cluster directory."),
]
DraftArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The draft's file.")]


@dataclass(frozen=True, slots=True)
class _Known:
    """The policies that are known, and all changes that carry policies, those that are not in force too."""

    cluster: Cluster
    chain: PolicyChain
    all_changes: Sequence[Change]

    def policy(self, version: int | None) -> Policy:
        """Raises NotFound."""
        head = self.chain.head.version
        if version is not None and not 0 <= version <= head:
            raise NotFound(f"there is no policy {version}; the newest is {head}")
        return self.chain[head if version is None else version]


@app.command()
def show(
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="Which policy. Default: the one in force.")
    ] = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Print a policy: root keys, roles, parameters.

    By what an agent knows, verified from the cluster file on; by the cluster file
    alone if no agent answers. The text is what `policy edit --from` reads.

    \b
    Examples:
      gossipconf policy show
      gossipconf policy show 1 --json
    """
    known = _known(cluster, agent)
    policy = known.policy(version)
    if as_json:
        print_json(to_json(policy))
    else:
        say(to_text(policy, known.cluster.genesis.name).rstrip("\n"))


@app.command()
def log(as_json: JsonOption = False, cluster: ClusterOption = None, agent: AgentOption = None) -> None:
    """Tell what each policy changed, who signed it and when.

    The newest comes first. Where roots have signed several successors of one policy,
    those that are not in force at the asked agent come after the one that is.

    \b
    Examples:
      gossipconf policy log
      gossipconf policy log --json
    """
    known = _known(cluster, agent)
    past = [(change, change.id in known.chain.accepted) for change in known.all_changes]
    past.sort(key=lambda one: (-one[0].header.policy, not one[1]))
    if as_json:
        print_json([_json_version(known, change, in_force) for change, in_force in past])
        return
    for change, in_force in past:
        policy, before = _step(known, change)
        number = Text.assemble((f"policy {policy.version}", "bold"), f"  {moment(change.header.time_ms)}")
        say(
            Text.assemble(number, f"  change {short(change.id)}", "" if in_force else ("  not in force here", "yellow"))
        )
        for key, _ in change.signatures():
            say(f"  signed by {fingerprint(key)}")
        print_steps(differences(before, policy), indent="  ")
    for version in known.chain.disputed:
        note(f"POLICY FORK: there are several policies {version}; end it with: gossipconf policy settle CHANGE")


@app.command()
def diff(
    before: Annotated[int, typer.Argument(metavar="A", help="A version; 0 is the genesis.")],
    after: Annotated[int, typer.Argument(metavar="B", help="Another version.")],
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Tell what policy B says otherwise than policy A.

    + is given, - is taken away, ~ is another value.

    \b
    Example:
      gossipconf policy diff 1 2
    """
    known = _known(cluster, agent)
    steps = differences(known.policy(before), known.policy(after))
    if as_json:
        print_json([_json_step(step) for step in steps])
    elif steps:
        print_steps(steps)
    else:
        say("no difference")


@app.command()
def edit(
    path: NewDraftArgument = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="TEXT|-", help="A file with the new text, or - for stdin.")
    ] = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Draft the next policy, in an editor or from a text.

    Opens what is in force as text in $VISUAL or $EDITOR. What is not valid is
    refused with its line, and the text is kept. The draft takes no effect before
    enough roots of the policy in force have signed it.

    \b
    Examples:
      gossipconf policy edit
      gossipconf policy show > next.yaml; gossipconf policy edit policy-2.draft --from next.yaml
    """
    known = _known(cluster, agent)
    head = known.chain.head
    check_undisputed(known.chain)
    path = new_draft(path, head.version + 1)
    if source is None:
        policy = edited(to_text(head, known.cluster.genesis.name), path, head)
    else:
        is_stdin = source == "-"
        data = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1) if is_stdin else read_bounded(Path(source), VALUE_BYTES_MAX)
        policy = from_bytes(data, "stdin" if is_stdin else source, head)
    steps = differences(head, policy)
    if not steps:
        say(f"nothing differs from policy {head.version}; no draft is made")
        return
    lost = losses(head, policy)
    if lost:
        policy = _with_floors(policy, lost, cluster, agent)
        steps = differences(head, policy)
    _draft(known, policy, path, steps)


@app.command()
def settle(
    keep: Annotated[
        str,
        typer.Argument(metavar="CHANGE", help="The change whose policy is to be in force, by its id."),
    ],
    path: NewDraftArgument = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Draft the policy that ends a policy fork.

    Where roots have signed two successors of one policy, agents go on with the one
    that they met first, and say so. This names both and puts one in force, with the
    rights that it gives. It needs enough roots of each, and goes the way of any
    draft. What the other one allowed is kept as void versions.

    \b
    Example:
      gossipconf policy settle 3f9a2c1b
    """
    known = _known(cluster, agent)
    if not known.chain.disputed:
        raise NotFound("there is no policy fork; `gossipconf policy log` shows all policies")
    version = known.chain.disputed[0]
    branches = [change for change in known.all_changes if change.header.policy == version - 1]
    found = [change for change in branches if begins(change.id, keep)]
    if len(found) != 1:
        raise InvalidInput(f"name one of the policies {version}: {', '.join(short(change.id) for change in branches)}")
    path = new_draft(path, version + 1)
    kept = carried(found[0])
    assert kept is not None
    others = sorted(change.id for change in branches if change is not found[0])
    policy = replace(kept, version=version + 1, floors=(), settles=(found[0].id, *others))
    _draft(known, policy, path, differences(known.policy(version), policy))


@app.command()
def sign(
    path: DraftArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")] = False,
    key_file: RootKeyOption = None,
    passphrase_file: PassphraseFileOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Sign a draft with a root key, after showing what it changes.

    Needs the cluster file, however old, and nothing else: no agent, no network.
    The file then goes to the next root. What a key has signed is remembered in a
    file beside it (KEY.signed); a second, different successor of one policy is
    refused.

    \b
    Examples:
      gossipconf policy sign policy-2.draft
      gossipconf policy sign policy-2.draft --key /media/stick/root-b --yes
    """
    if key_file is not None and not key_file.exists() and choice_of(str(key_file)) is not None:
        raise InvalidInput(
            f"--key is {key_file}, and a root key cannot sign in the ssh-agent: what it signs is remembered beside its "
            "file; name the file"
        )
    directory = find_directory(cluster)
    key_file = key_file or home(directory) / ROOT_KEY
    draft, chain, found = _load(path, Target(directory, ()).cluster())
    steps = differences(chain.head, draft.policy)
    say(f"policy {draft.policy.version}, after policy {chain.head.version}:")
    print_steps(steps)
    unsaid = () if draft.policy.settles else bare(chain.head, draft.policy)
    if unsaid:
        raise InvalidInput(
            "this takes rights away and has no floor for it, so that who lost them could go on under the old policy: "
            f"{', '.join(f'{fingerprint(key)} {prefix!r}' for key, prefix in unsaid)}; "
            "make the draft with an agent that answers: gossipconf policy edit, or gossipconf revoke"
        )
    signer = open_key(key_file, passphrase_file).key
    if signer.public in found.signed:
        say(f"{fingerprint(signer.public)} has signed this already")
        _say_next(path, found, chain.head)
        return
    if signer.public not in chain.head.roots:
        raise NotAuthorised(
            f"{key_file} ({fingerprint(signer.public)}) is no root of policy {chain.head.version}; sign with one of: "
            f"{', '.join(map(fingerprint, found.may))}"
        )
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput("not signed: there is no terminal to ask on; add --yes to sign")
        typer.confirm("Sign this?", abort=True)
    signed = draft.signed(chain, signer, key_file, now_ms=now_ms(), incarnation=os.urandom(INCARNATION_BYTES))
    signed.save(path, is_new=False)
    say(f"signed by {fingerprint(signer.public)}; remembered in {pledge_file(key_file)}")
    _say_next(path, signed.support(chain), chain.head)


@app.command()
def publish(path: DraftArgument, cluster: ClusterOption = None, agent: AgentOption = None) -> None:
    """Publish a draft that enough roots have signed.

    Every agent follows, also one that is started later with an older cluster
    file. Anybody may do this: the signatures count, not who brings them.

    \b
    Example:
      gossipconf policy publish policy-2.draft
    """
    with open_session(Target.find(cluster, agent)) as session:
        draft, chain, found = _load(path, session.cluster)
        version = draft.policy.version
        if draft.change is None or found.missing:
            raise NotAuthorised(
                f"{path} has the signatures of {len(found.signed)} of {len(chain.head.roots)} roots, "
                f"{chain.head.threshold} are needed; it may still be signed by: "
                f"{', '.join(map(fingerprint, found.may))}"
            )
        if session.chain.head.version < version - 1:
            raise Rejected(
                f"the agent {session.node} knows policy {session.chain.head.version} and not yet {version - 1}; "
                "let it catch up, or name another with --agent"
            )
        is_open = session.chain.head.version < version
        if draft.policy.settles:
            is_open |= session.chain.is_disputed(version - 1)
        else:
            check_undisputed(session.chain)
        is_new = is_open or session.policies[version - 1].id != draft.change.id
        if is_new and not is_open:
            raise Rejected(
                f"another policy {version} is in force already; two would split the cluster, so this one is not "
                "published: make a new draft with: gossipconf policy edit"
            )
        session.send(draft.change)  # one that is in force too: it may have more signatures by now
        with acknowledged():
            where = f"at {session.node}, change {short(draft.change.id)}"
            say(f"published policy {version} {where}" if is_new else f"policy {version} was in force already {where}")


# -- inside ---------------------------------------------------------------------------------------


def _known(cluster: Path | None, agent: Path | None) -> _Known:
    """What an agent knows; of the cluster file what it has, if no agent was named and none answers."""
    target = Target.find(cluster, agent)
    try:
        with open_session(target) as session:
            return _Known(session.cluster, session.chain, session.policy_changes)
    except AgentUnreachable:
        if agent is not None:
            raise
        found = target.cluster()
        note(f"no agent answers: this is by the cluster file in {target.directory}, and there may be newer policies")
        return _Known(found, found.chain(), found.policies)


def _load(path: Path, cluster: Cluster) -> tuple[Draft, PolicyChain, Support]:
    """A draft, verified as far as it goes."""
    draft = Draft.load(path, cluster)
    chain = draft.chain(cluster)
    try:
        return draft, chain, draft.support(chain)
    except Rejected as error:
        raise type(error)(f"{path} is not what it should be: {error}") from None


def _say_next(path: Path, found: Support, head: Policy) -> None:
    if not found.missing:
        say(f"it has all signatures that it needs; next: gossipconf policy publish {path}")
    else:
        say(f"{count(found.missing, 'signature')} missing; give {path} to the holder of one of:")
        for key in found.may:
            say(f"  {fingerprint(key)} {escaped(head.name(key) or '')}".rstrip())


def _draft(known: _Known, policy: Policy, path: Path, steps: Sequence[Step]) -> None:
    """Save a draft, and say what it is and what comes next."""
    # One that settles a fork may come after others went on from a branch of it: those are not what it follows.
    before = [change for change in known.all_changes if change.header.policy < policy.version - 1]
    save_draft(path, known.cluster.genesis.cluster_id, before, policy)
    print_steps(steps)
    say_drafted(path, policy, known.chain.head)


def _with_floors(policy: Policy, lost: Sequence[Loss], cluster: Path | None, agent: Path | None) -> Policy:
    """The same with floors for what it takes away, which keep what lives at an agent."""
    try:
        with open_session(Target.find(cluster, agent)) as session:
            floors = floors_for(lost, policy.version - 1, live_versions(session))
    except AgentUnreachable as error:
        raise AgentUnreachable(
            f"this takes rights away, and an agent must say what was written with them, for only that stays: {error}"
        ) from None
    return replace(policy, floors=floors)


def _json_step(step: Step) -> dict[str, Any]:
    return {"sign": step.sign, "what": step.words, "narrows": step.narrows}


def _step(known: _Known, change: Change) -> tuple[Policy, Policy]:
    """The policy that ``change`` carries, and the one before it that is in force."""
    policy = carried(change)
    assert policy is not None
    return policy, known.chain[change.header.policy]


def _json_version(known: _Known, change: Change, in_force: bool) -> dict[str, Any]:
    policy, before = _step(known, change)
    return {
        "version": policy.version,
        "in_force": in_force,
        "time": json_time(change.header.time_ms),
        "change": change.id.hex(),
        "signers": [key_in_json(key, known.chain.head) for key, _ in change.signatures()],
        "changes": [_json_step(step) for step in differences(before, policy)],
    }
