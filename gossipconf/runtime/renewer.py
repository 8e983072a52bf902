"""An agent's part in renewal: it asks for its own certificate, writes what it gets, and issues for peers.

Carries out what `protocol.renewal` and `own_identity` decide, with the X.509 of `issuing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..model.errors import GossipconfError
from ..protocol import events as ev
from .issuing import Issuing, make_request, take_certificate
from .link import Link

if TYPE_CHECKING:
    from .agent import Agent


class Renewer:
    """``issuing``: by what the agent issues, where the policy calls it an issuer; None: by nothing."""

    def __init__(self, agent: Agent, issuing: Issuing | None) -> None:
        self._agent = agent
        self._issuing = issuing

    @property
    def can_issue(self) -> bool:
        """Whether it has a ticket to issue by."""
        return self._issuing is not None

    def issue(self, link: Link, node_id: str, request: bytes) -> bytes:
        """A new certificate for the peer of ``link``. Raises GossipconfError."""
        assert self._issuing is not None
        assert link.peer.node_id == node_id, "a peer gets its own name and no other"
        return self._issuing.issue(link.peer, request)

    def renew(self, is_due: bool) -> bool:
        """If it is due have the agent's own certificate renewed: by itself if it is an issuer, else by one.

        False if there is no issuer, or the files make it impossible.
        """
        agent, own = self._agent, self._agent.credentials.identity
        if not is_due:
            return bool(agent.node.renewal.membership.issuers)
        try:
            request = make_request(agent.settings.files)
            if self._issuing is not None and own.node_id in agent.node.renewal.membership.issuers:
                self.take(own.node_id, self._issuing.issue(own, request))
                return True
        except GossipconfError as error:
            agent.tell(ev.RenewalFailed(own.node_id, str(error)))
            return False
        return agent.ask_renewal(request)

    def take(self, issuer: str, certificate: bytes) -> None:
        """Begin to take over what ``issuer`` has given."""
        self._agent.start_soon(self._take, issuer, certificate)

    async def _take(self, issuer: str, certificate: bytes) -> None:
        agent = self._agent
        try:
            await trio.to_thread.run_sync(take_certificate, agent.settings.files, certificate, agent.credentials)
        except GossipconfError as error:
            agent.tell(ev.RenewalFailed(issuer, str(error)))
        else:
            await agent.reload()
