"""Renewal: certificates renewed over live links, by the agents that the policy calls issuers.

A node whose certificate is ending sends one issuer at a time `WantCertificate`, with a request
that proves that it has the key; the issuer answers with a certificate for the name that the
link's own certificate has, and for no other. So a renewal gives nobody a name that it has not,
and a node that peers no longer let in renews nothing.

Whom it asks: an issuer that it is linked to; else it opens a link for that, to an issuer whose
address it knows, or to a seed where it knows none. One that has been asked is left alone for
RETRY_S. The owner calls `ask` again and again until it has what it wants: nothing here needs a
timer but the one that ends the wait for an answer.

Making requests, issuing and checking what comes is the shell's: this file knows bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from ..model.errors import GossipconfError
from ..trust.membership import Membership
from ..trust.policy import Policy
from .environment import Environment, LinkId
from .events import CertificateIssued, CertificateOffered, RenewalFailed
from .link import Link
from .messages import CertificateGiven, WantCertificate
from .overlay import Overlay
from .token_bucket import TokenBucket

MESSAGES: Final = (WantCertificate, CertificateGiven)
"""What this machine takes."""
ANSWER_S: Final = 10.0
"""How long an issuer may take: a busy machine, far away."""
RETRY_S: Final = 600.0
"""How long an issuer that was asked is left alone: what it refuses now it refuses in a minute."""
NODE_PER_S: Final = 1 / RETRY_S
"""Renewals of one node: as often as an honest one asks."""
NODE_BURST: Final = 4.0
"""And at once: it has been restarted, or what it got was broken."""
NODES_MAX: Final = 4_096
"""Nodes of which that is remembered: more than an issuer has links in ten minutes, and 600 KB at most."""
ALL_PER_S: Final = 5.0
"""Renewals of all nodes: a signature and what is around it take half a millisecond."""
ALL_BURST: Final = 50.0
"""And at once: a cluster whose certificates were made together."""

Issue: TypeAlias = Callable[[LinkId, str, bytes], bytes]
"""issue(link, node id, request): the certificate and the intermediates after it. Raises GossipconfError."""


class Renewal:
    """Asks for this node's own certificate, and answers others where this node is an issuer.

    issue:  what issues, if this node can; given by the shell
    """

    def __init__(
        self,
        environment: Environment,
        overlay: Overlay,
        policy: Callable[[], Policy],
        address_of: Callable[[str], str | None],
    ) -> None:
        self.issue: Issue | None = None
        self._environment = environment
        self._overlay = overlay
        self._policy = policy
        self._address_of = address_of
        self._known = Membership()
        self._request: bytes | None = None
        self._asked: Link | None = None
        self._rest_until_s: dict[str, float] = {}
        self._of_node: OrderedDict[str, TokenBucket] = OrderedDict()
        self._of_all = TokenBucket(ALL_PER_S, ALL_BURST)
        needed = overlay.is_needed
        overlay.is_needed = lambda link: link is self._asked or needed(link)

    @property
    def membership(self) -> Membership:
        """What the policy in force says of nodes."""
        policy = self._policy()
        if policy.version != self._known.version:
            self._known = Membership.of(policy)
        return self._known

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, request: bytes) -> bool:
        """Have this node's certificate renewed; False if the policy names no issuer but this node.

        `CertificateOffered` or `RenewalFailed` follows if somebody could be asked. To be called again from time
        to time, and ended by `finish`.
        """
        self._request = request
        issuers = self._issuers()
        if issuers and self._asked is None:
            self._ask_next(issuers)
        return bool(issuers)

    def finish(self) -> None:
        """No renewal is wanted any more."""
        self._request = None

    def link_up(self, link: Link) -> None:
        """A link is ready: perhaps to an issuer."""
        if self._request is not None and self._asked is None and self._is_due(link.node_id):
            self._ask(link, self._request)

    def link_down(self, link: Link) -> None:
        """A link has ended."""
        if link is self._asked:
            self._asked = None
            self._rest_until_s.pop(link.node_id, None)  # it has not refused

    def _issuers(self) -> tuple[str, ...]:
        own = self._overlay.identity.node_id
        return tuple(node for node in self.membership.issuers if node != own)

    def _is_due(self, node_id: str) -> bool:
        rests = self._environment.now.monotonic_s < self._rest_until_s.get(node_id, float("-inf"))
        return node_id in self._issuers() and not rests

    def _ask_next(self, issuers: tuple[str, ...]) -> None:
        """Ask a linked issuer, or open a link to one."""
        assert self._request is not None
        self._rest_until_s = {node: at_s for node, at_s in self._rest_until_s.items() if node in issuers}
        due = [node for node in issuers if self._is_due(node)]
        linked = [link for link in self._overlay.ready_links() if link.node_id in due]
        rng = self._environment.rng
        if linked:
            self._ask(rng.choice(linked), self._request)
        elif due:
            known = [address for node in due if (address := self._address_of(node))]
            places = known or self._overlay.book.seeds()
            if places:
                self._overlay.visit(rng.choice(places))

    def _ask(self, link: Link, request: bytes) -> None:
        now_s = self._environment.now.monotonic_s
        self._asked = link
        self._rest_until_s[link.node_id] = now_s + RETRY_S
        self._overlay.send(link, WantCertificate(request))
        self._environment.call_later(ANSWER_S, lambda: self._give_up(link))

    def _give_up(self, link: Link) -> None:
        """No answer has come in time."""
        if link is self._asked:
            self._failed(link, f"no answer within {ANSWER_S:g} s")

    def _failed(self, link: Link, reason: str) -> None:
        self._asked = None
        self._environment.emit(RenewalFailed(link.node_id, reason))
        self._overlay.close_probe(link)
        if self._request is not None:
            self._ask_next(self._issuers())

    # -- messages ---------------------------------------------------------------------------------

    def handle(self, link: Link, message: WantCertificate | CertificateGiven) -> None:
        """Take one of MESSAGES."""
        if isinstance(message, WantCertificate):
            self._answer(link, message.request)
        elif link is self._asked:  # else it comes late, or unasked
            if message.certificate:
                self._asked = None
                self._environment.emit(CertificateOffered(link.node_id, message.certificate))
                self._overlay.close_probe(link)
            else:
                self._failed(link, message.refusal)

    def _answer(self, link: Link, request: bytes) -> None:
        """Answer a request, but for those that come too often."""
        if not self._may_ask(link.node_id):
            return
        membership = self.membership
        if self._overlay.identity.node_id not in membership.issuers:
            given = CertificateGiven.refusing(f"policy {membership.version} does not call this agent an issuer")
        elif self.issue is None:
            given = CertificateGiven.refusing("this agent has no ticket to issue with")
        else:
            try:
                given = CertificateGiven(self.issue(link.id, link.node_id, request), "")
            except GossipconfError as error:
                given = CertificateGiven.refusing(str(error))
            else:
                self._environment.emit(CertificateIssued(link.node_id))
        self._overlay.send(link, given)

    def _may_ask(self, node_id: str) -> bool:
        """Meter by the certified name: a new link gives no new tokens."""
        now_s = self._environment.now.monotonic_s
        bucket = self._of_node.setdefault(node_id, TokenBucket(NODE_PER_S, NODE_BURST))
        self._of_node.move_to_end(node_id)
        if len(self._of_node) > NODES_MAX:
            self._of_node.popitem(last=False)
        return bucket.take(now_s) and self._of_all.take(now_s)
