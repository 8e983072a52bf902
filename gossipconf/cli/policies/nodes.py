"""`policy node` and `policy issuer`: drafts of policies about nodes: who is shut out, and who renews certificates.

A draft is signed and published like any other. Knows what a policy says of nodes
(`trust.membership`); asks no node anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...model.errors import InvalidInput
from ...model.key import check_node_id
from ...trust.membership import Membership
from ..output import print_json, say
from ..session import open_session
from ..table import print_table
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .drafting import NewDraftArgument, draft_membership, say_drafted
from .rules import CERTIFICATE_SIGN, certificate_line, digest_of

node_app = typer.Typer(help="Nodes that are shut out: list, revoke, restore.", no_args_is_help=True)
issuer_app = typer.Typer(help="Agents that renew the certificates of others: add, remove.", no_args_is_help=True)

NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE", help="A node's name, or the fingerprint (SHA256:…) of a certificate as `pki show` prints it."
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


@node_app.command("list")
def list_nodes(as_json: JsonOption = False, cluster: ClusterOption = None, agent: AgentOption = None) -> None:
    """List revoked nodes and certificates, and the issuers.

    By the policy in force at the asked agent.

    \b
    Examples:
      gossipconf policy node list
      gossipconf policy node list --json
    """
    with open_session(Target.find(cluster, agent)) as session:
        said = Membership.of(session.chain.head)
    certificates = [certificate_line(one) for one in said.certificates]
    if as_json:
        print_json(
            {
                "policy": said.version,
                "revoked": {"nodes": list(said.nodes), "certificates": certificates},
                "issuers": list(said.issuers),
            }
        )
        return
    rows = [("revoked", one) for one in (*said.nodes, *certificates)] + [("issuer", one) for one in said.issuers]
    if rows:
        print_table({"STATE": "left", "NODE": "fold"}, rows)
    else:
        say(f"policy {said.version} says nothing of nodes")


@node_app.command()
def revoke(
    node: NodeArgument, path: NewDraftArgument = None, cluster: ClusterOption = None, agent: AgentOption = None
) -> None:
    """Draft a policy that shuts out a node or a certificate.

    With a certificate goes all that it has issued; a ticket or a CA is revoked by the
    fingerprint of its own. Links to the node end as the policy arrives, and every agent
    refuses it from then on. A name stays revoked for whoever bears it: to keep it for
    the next machine, revoke the certificate.

    \b
    Examples:
      gossipconf policy node revoke checkout-3
      gossipconf policy node revoke SHA256:5f0c… checkout.draft
    """
    _draft(lambda said: _with_revoked(said, node), f"{node} is revoked already", path, cluster, agent)


@node_app.command()
def restore(
    node: NodeArgument, path: NewDraftArgument = None, cluster: ClusterOption = None, agent: AgentOption = None
) -> None:
    """Draft a policy that lets a revoked node, or a certificate, in again.

    It stays barred from strict prefixes: those need another name.

    \b
    Example:
      gossipconf policy node restore checkout-3
    """
    _draft(lambda said: _without_revoked(said, node), f"{node} is not revoked", path, cluster, agent)


@issuer_app.command("add")
def add_issuer(
    node: NameArgument, path: NewDraftArgument = None, cluster: ClusterOption = None, agent: AgentOption = None
) -> None:
    """Draft a policy by which a node renews the certificates of others.

    Its `agent.toml` must name a ticket for any node, too: gossipconf pki ticket --any.

    \b
    Example:
      gossipconf policy issuer add node-1
    """

    def with_issuer(said: Membership) -> Membership:
        if check_node_id(node) in said.nodes:
            raise InvalidInput(
                f"{node} is revoked, and such a node issues nothing; see: gossipconf policy node restore"
            )
        return replace(said, issuers=tuple(sorted({*said.issuers, node})))

    _draft(with_issuer, f"{node} is an issuer already", path, cluster, agent)


@issuer_app.command("remove")
def remove_issuer(
    node: NameArgument, path: NewDraftArgument = None, cluster: ClusterOption = None, agent: AgentOption = None
) -> None:
    """Draft a policy by which a node renews no certificates any more.

    What it has issued stays valid; to end that, revoke the fingerprint of its ticket.

    \b
    Example:
      gossipconf policy issuer remove node-1
    """

    def without_issuer(said: Membership) -> Membership:
        return replace(said, issuers=tuple(one for one in said.issuers if one != node))

    _draft(without_issuer, f"{node} is no issuer", path, cluster, agent)


# -- inside ---------------------------------------------------------------------------------------


def _draft(
    change: Callable[[Membership], Membership],
    otherwise: str,
    path: Path | None,
    cluster: Path | None,
    agent: Path | None,
) -> None:
    """Save the draft of a policy that says of nodes what ``change`` makes of what is in force; or say ``otherwise``."""
    with open_session(Target.find(cluster, agent)) as session:
        said = Membership.of(session.chain.head)
        wanted = change(said)
        if wanted == said:
            say(f"{otherwise}; no draft is made")
            return
        path, policy = draft_membership(session, wanted, path)
        say_drafted(path, policy, session.chain.head)


def _with_revoked(said: Membership, node: str) -> Membership:
    certificate = _certificate(node)
    if certificate is not None:
        return replace(said, certificates=tuple(sorted({*said.certificates, certificate})))
    return replace(
        said,
        nodes=tuple(sorted({*said.nodes, check_node_id(node)})),
        issuers=tuple(one for one in said.issuers if one != node),
    )


def _without_revoked(said: Membership, node: str) -> Membership:
    certificate = _certificate(node)
    return replace(
        said,
        nodes=tuple(one for one in said.nodes if one != node),
        certificates=tuple(one for one in said.certificates if one != certificate),
    )


def _certificate(node: str) -> bytes | None:
    """The certificate that is meant, None for a name. Raises InvalidInput for a fingerprint that is none."""
    if not node.startswith(CERTIFICATE_SIGN):
        return None
    digest = digest_of(node)
    if digest is None:
        raise InvalidInput(
            f"{node} is no certificate's fingerprint: {CERTIFICATE_SIGN} and 64 digits, see: gossipconf pki show"
        )
    return digest
