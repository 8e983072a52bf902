"""Checkpoints in files: `checkpoint create`, `verify`, `inspect`.

An agent delivers what is replicated; every signature in it is verified here before the snapshot is signed, for
whoever boots from the file verifies that signature and no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...model.errors import CheckpointError, InvalidInput, Rejected
from ...runtime.settings import CLOCK_SKEW_S
from ...trust.files import write_new
from ...trust.keys import fingerprint
from ...trust.snapshot import Statement
from ..instant import now_ms
from ..lifetime import milliseconds
from ..output import age, count, escaped, json_time, moment, note, print_json, say
from ..passphrase import PassphraseFileOption
from ..session import open_session
from ..target import AgentOption, ClusterOption, JsonOption, KeyOption, Target

if TYPE_CHECKING:
    from ...store.checkpoint import Sealed

app = typer.Typer(help="Make and check files that an empty disk boots from.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint file.")]


@app.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    valid: Annotated[
        str, typer.Option("--valid", metavar="TIME", help="How long it may be booted from: 12h, 30d.")
    ] = "30d",
    key: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Write what an agent holds to a file that empty disks boot from.

    Every signature is verified first; then one is made, by a key that a role
    allows the operation `snapshot` on all keys. Agents that boot from the file
    verify that one and the policies, so they believe this machine until they have
    compared with two peers. An agent that is unconfirmed itself is a poor one to
    ask: a warning says so.

    \b
    Examples:
      gossipconf checkpoint create shop.checkpoint --key keys/snapshot
      gossipconf checkpoint create /srv/images/shop.checkpoint --valid 7d
    """
    from ...store.checkpoint import seal  # noqa: PLC0415 - the live set, which the commands of every day start without

    lasts_ms = milliseconds(valid, "--valid")
    target = Target.find(cluster, agent)
    signer = target.signer(key, passphrase_file)
    with open_session(target) as session:
        if session.is_unconfirmed:
            note(
                f"warning: {escaped(session.node)} booted from a checkpoint and is unconfirmed, so the file may lack "
                "what others have: make it at an agent whose `gossipconf status` says nothing of that"
            )
        now = now_ms()
        sealed = seal(session.contents(), session.chain, signer, time_ms=now, expires_ms=now + lasts_ms)
    write_new(file, sealed.encode(), 0o644)
    document = _document(file, sealed)
    if as_json:
        print_json(document)
    else:
        _print(document, sealed.snapshot.statement)


@app.command()
def verify(file: FileArgument, as_json: JsonOption = False, cluster: ClusterOption = None) -> None:
    """Verify a file as an agent with an empty disk would.

    \b
    Example:
      gossipconf checkpoint verify shop.checkpoint && cp shop.checkpoint /mnt/stick
    """
    from ...runtime import checkpoint_file  # noqa: PLC0415 - as above

    chain = Target.find(cluster).cluster().chain()
    checkpoint_file.open_file(file, chain, now_ms(), CLOCK_SKEW_S * 1000)
    sealed = checkpoint_file.read(file)
    document = _document(file, sealed)
    if as_json:
        print_json({**document, "verified": True})
    else:
        _print(document, sealed.snapshot.statement)
        say("verified: policies, signature, contents and fingerprint")


@app.command()
def inspect(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what a file says of itself. Nothing of it is verified.

    \b
    Example:
      gossipconf checkpoint inspect shop.checkpoint --json | jq .expires
    """
    from ...runtime import checkpoint_file  # noqa: PLC0415 - as above

    sealed = checkpoint_file.read(file)
    document = _document(file, sealed)
    if as_json:
        print_json({**document, "verified": False})
    else:
        _print(document, sealed.snapshot.statement)
        say("not verified; do that with: gossipconf checkpoint verify")


def _document(file: Path, sealed: Sealed) -> dict[str, Any]:
    from ...model import bulk  # noqa: PLC0415 - as above

    statement = sealed.snapshot.statement
    changes = entries = 0
    try:
        for change, _ in bulk.read(sealed.contents, statement.cluster):
            changes += 1
            entries += len(change.entries)
    except (InvalidInput, Rejected) as error:
        raise CheckpointError(f"checkpoint {file} holds what is no change: {error}") from None
    return {
        "file": str(file),
        "cluster": statement.cluster.hex(),
        "time": json_time(statement.time_ms),
        "expires": json_time(statement.expires_ms),
        "policy": statement.policy,
        "root": statement.root.hex(),
        "signer": fingerprint(sealed.snapshot.key),
        "changes": changes,
        "entries": entries,
        "bytes": len(sealed.contents),
        "writers": len(statement.frontier),
    }


def _print(document: dict[str, Any], statement: Statement) -> None:
    now = now_ms()
    left = "has expired" if statement.expires_ms <= now else "until then it may be booted from"
    say(f"{document['file']}: {count(document['changes'], 'change')}, {count(document['entries'], 'entry', 'entries')}")
    say(f"  cluster  {document['cluster'][:16]}…, policy {document['policy']}")
    say(f"  root     {document['root']}")
    say(f"  time     {moment(statement.time_ms)} ({age(statement.time_ms, now)} ago)")
    say(f"  expires  {moment(statement.expires_ms)} ({left})")
    say(f"  signer   {document['signer']}")
