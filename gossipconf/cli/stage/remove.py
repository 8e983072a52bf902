"""`stage remove`: the draft of a policy that revokes a participant which will never be back."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from ...model.errors import InvalidInput
from ...model.key import check_node_id
from ...trust.membership import Membership
from ..output import say
from ..policies.drafting import NewDraftArgument, draft_membership, say_drafted
from ..session import open_session
from ..target import AgentOption, ClusterOption, Target


def remove(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The participant that will never be back.")],
    path: NewDraftArgument = None,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Draft a policy that revokes a participant that will never be back.

    Stop it for good first, or cut it off from all who read there: if it still runs
    and cannot be reached, it goes on serving what it has. Once the roots have signed
    and published the policy, those who are left give the stage up, all or none, and
    the next one goes without the node. Its name is barred for ever; a machine in its
    place needs another one.

    \b
    Examples:
      gossipconf stage remove web-3
      gossipconf policy sign policy-4.draft; gossipconf policy publish policy-4.draft
    """
    check_node_id(node)
    with open_session(Target.find(cluster, agent)) as session:
        head = session.chain.head
        membership = Membership.of(head)
        if node in membership.nodes:
            raise InvalidInput(f"policy {head.version} has revoked {node!r} already")
        path, policy = draft_membership(session, replace(membership, nodes=(*membership.nodes, node)), path)
        say(f"stop {node} before this is published: a revoked node that still runs serves what it had")
        say_drafted(path, policy, head)
