"""Join tickets: `pki ticket` where the CA is, `pki redeem` on the new machine. The X.509 is ``runtime.ticket``'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...model.errors import InvalidInput
from ...trust.cluster import Cluster
from ...trust.recipient import load_recipient_key
from ..output import moment, say
from ..target import CA, CLUSTER_FILE, ClusterOption, find_directory
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


def make(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The one node that may join by it.")] = None,
    any_node: Annotated[bool, typer.Option("--any", help="Any node may, under any name; instead of NAME.")] = False,
    days: Annotated[
        int, typer.Option("--valid-days", metavar="N", help="How long it, and all that it makes, is valid.")
    ] = 30,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it. Default: NAME.ticket here.")
    ] = None,
    cluster: ClusterOption = None,
) -> None:
    """Make a join ticket.

    One file with which a new machine makes its own key and certificate, offline. It is an intermediate
    certificate authority with its key: SECRET until it has ended. A ticket for NAME makes certificates of
    that node only. Certificates that are made by a ticket end with it at the latest; agents that the policy calls
    issuers renew them.

    \b
    Examples:
      gossipconf pki ticket checkout-7 --valid-days 90
      gossipconf pki ticket --any --valid-days 365 --out fleet.ticket
    """
    # Here as below, because X.509 takes a quarter of a command's start and most need none.
    from ...runtime.ticket import create_ticket  # noqa: PLC0415

    if any_node == (name is not None):
        raise InvalidInput("say for which node the ticket is: a NAME, or --any for all names")
    directory = find_directory(cluster)
    path = out or Path(f"{name or 'any'}.ticket")
    trusted = Cluster.load(directory / CLUSTER_FILE)
    made = create_ticket(directory / CA, path, trusted, node=name, days=days)
    say(f"made {path} (SECRET: lets {'any node' if name is None else f'node {name}'} join)")
    say(f"valid until {moment(int(made.ends.timestamp() * 1000))}; fingerprint SHA256:{made.fingerprint.hex()}")
    say(f"on the new machine: gossipconf pki redeem {path}{' --node-id NAME' if name is None else ''}")


def redeem(
    path: Annotated[Path, typer.Argument(metavar="TICKET", help="The file that `pki ticket` has made.")],
    name: Annotated[
        str | None, typer.Option("--node-id", metavar="NAME", help="The node's name. Default: the ticket's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The directory to make. Default: the name, here.")
    ] = None,
    listen: ListenOption = DEFAULT_LISTEN,
    advertise: AdvertiseOption = None,
    join: JoinOption = None,
    hosts: HostsOption = None,
    zone: ZoneOption = "",
    days: DaysOption = 365,
    seal_key: SealKeyOption = None,
) -> None:
    """Make a node's directory by a join ticket.

    Needs no network and no cluster directory: the ticket has the cluster file. The private keys are made here and
    never leave this machine. Delete the ticket afterwards.

    \b
    Examples:
      gossipconf pki redeem checkout-7.ticket --listen 10.0.0.7:7946 --join 10.0.0.1:7946
      gossipconf pki redeem fleet.ticket --node-id batch-3 --out /etc/gossipconf
    """
    from ...runtime.pki import lifetime_of, now  # noqa: PLC0415 - X.509, see above
    from ...runtime.ticket import load_ticket  # noqa: PLC0415

    ticket = load_ticket(path)
    node = ticket.name(name)
    directory = out or Path(node)
    ends = min(now() + lifetime_of(days), ticket.ends)
    settings = settings_of(node, listen, advertise, join, zone)
    recipient = None if seal_key is None else load_recipient_key(seal_key)
    make_directory(
        directory,
        settings,
        ticket.cluster,
        lambda: ticket.issuer.issue_node(node, directory, hosts=hosts or (), days=days, recipient=recipient),
    )
    say_made(directory, f"node {node} until {moment(int(ends.timestamp() * 1000))}", joins=bool(join))
