"""Certificates and node directories: `pki ca`, `pki node` and `pki show`; tickets are in ``ticket``.

A node's directory is all that its machine needs: certificate, cluster file and
settings. The CA's key stays behind. Knows files; the X.509 is ``runtime.pki``'s and
``certificate``'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...model.errors import KeyFileError
from ...model.key import check_node_id
from ...trust.cluster import Cluster
from ...trust.keys import fingerprint, load_public
from ...trust.membership import Membership, is_membership
from ...trust.recipient import load_recipient_key, read_public_pem, recipient_id
from ..output import count, escaped, moment, print_json, say
from ..target import CA, CLUSTER_FILE, NODES, ClusterOption, JsonOption, find_directory
from . import ticket
from .node_directory import (
    DEFAULT_LISTEN,
    AdvertiseOption,
    DaysOption,
    HostsOption,
    JoinOption,
    ListenOption,
    SealKeyOption,
    ZoneOption,
    make_directory,
    say_made,
    settings_of,
)

app = typer.Typer(help="Issue and inspect certificates.", no_args_is_help=True)


@app.command("ca")
def make_ca(
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = 3650,
    cluster: ClusterOption = None,
) -> None:
    """Make a certificate authority.

    `init` has made the first one; this is for when that is lost or expires.

    \b
    Example:
      gossipconf pki ca --cluster shop --days 1825
    """
    # Here as below, because X.509 takes a quarter of a command's start and most need none.
    from ...runtime.pki import create_ca  # noqa: PLC0415

    directory = find_directory(cluster)
    create_ca(directory / CA, Cluster.load(directory / CLUSTER_FILE).genesis.cluster_id, days=days)
    say(f"made {directory / CA / 'ca.key'} (SECRET: issues node certificates) and {directory / CA / 'ca.crt'}")


@app.command("node")
def make_node(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The node's name: lower-case letters, digits, dots and dashes.")
    ],
    listen: ListenOption = DEFAULT_LISTEN,
    advertise: AdvertiseOption = None,
    join: JoinOption = None,
    hosts: HostsOption = None,
    zone: ZoneOption = "",
    days: DaysOption = 365,
    seal_key: SealKeyOption = None,
    cluster: ClusterOption = None,
) -> None:
    """Make a node's directory.

    Certificate, cluster file and settings: the directory is all that the node's machine needs; copy it there.

    \b
    Examples:
      gossipconf pki node a --listen 10.0.0.1:7946
      gossipconf pki node b --listen 10.0.0.2:7946 --join 10.0.0.1:7946 --zone eu-west/a
    """
    from ...runtime.pki import issue_node  # noqa: PLC0415 - X.509, see above

    check_node_id(name)
    home = find_directory(cluster)
    trusted = Cluster.load(home / CLUSTER_FILE)
    out = home / NODES / name
    settings = settings_of(name, listen, advertise, join, zone)
    recipient = None if seal_key is None else load_recipient_key(seal_key)
    make_directory(
        out,
        settings,
        trusted,
        lambda: issue_node(home / CA, name, out, hosts=hosts or (), days=days, recipient=recipient),
    )
    say_made(out, count(days, "day"), joins=bool(join))


app.command("ticket")(ticket.make)
app.command("redeem")(ticket.redeem)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, public key or cluster file.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a certificate, public key or cluster file says.

    \b
    Examples:
      gossipconf pki show shop/nodes/a/node.crt
      gossipconf pki show shop/cluster.gossipconf
      gossipconf pki show shop/keys/admin.pub
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if b"PRIVATE KEY" in beginning:
        raise KeyFileError(f"{path} is a private key, which is never shown; show the .pub or .crt beside it")
    if beginning.startswith(b"-----BEGIN CERTIFICATE"):
        from .certificate import certificate_facts  # noqa: PLC0415 - X.509, see above

        facts = certificate_facts(path)
    elif beginning.startswith(b"-----BEGIN PUBLIC KEY"):
        facts = {
            "kind": "key to seal to",
            "recipient": recipient_id(read_public_pem(path.read_bytes(), str(path))).hex(),
        }
    elif beginning.startswith(b"ssh-"):
        facts = {"kind": "public key", "fingerprint": fingerprint(load_public(path))}
    else:
        facts = _cluster_facts(path)
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)


# -- showing --------------------------------------------------------------------------------------


def _cluster_facts(path: Path) -> dict[str, Any]:
    cluster = Cluster.load(path)
    policy = cluster.chain().head
    membership = Membership.of(policy)
    return {
        "kind": "cluster file",
        "name": cluster.genesis.name,
        "cluster": cluster.genesis.cluster_id.hex(),
        "created": moment(cluster.genesis.created_ms),
        "policy": policy.version,
        "threshold": f"{policy.threshold} of {count(len(policy.roots), 'root key')}",
        "roots": [fingerprint(root) for root in policy.roots],
        "roles": [
            {
                "name": role.name,
                "prefixes": [prefix or "(all keys)" for prefix in role.prefixes],
                "operations": list(role.operations),
                "approvals": role.approvals,
                "keys": [fingerprint(key) for key in role.keys],
            }
            for role in policy.roles
            if not is_membership(role.name)
        ],
        "issuers": list(membership.issuers),
        "revoked_nodes": list(membership.nodes),
        "revoked_certificates": [f"SHA256:{certificate.hex()}" for certificate in membership.certificates],
    }


def _print_facts(facts: Mapping[str, Any], indent: str = "") -> None:
    shown = {name: value for name, value in facts.items() if value not in ("", [], None)}
    width = max(len(name) for name in shown)
    for name, value in shown.items():
        label = f"{indent}{name.replace('_', ' '):<{width}}"
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for one in value:
                say(f"{indent}{name.removesuffix('s')}")
                _print_facts(one, indent + "  ")
        else:
            say(f"{label}  {_in_words(value)}")


def _in_words(value: str | int | Sequence[str]) -> str:
    return escaped(", ".join(value) if isinstance(value, list) else str(value))
