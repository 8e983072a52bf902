"""Renewal: one issuer is asked at a time, each peer gets its own name only, and nobody makes an issuer sign at will."""

from __future__ import annotations

from gossipconf.model.errors import InvalidInput
from gossipconf.protocol.environment import LinkId
from gossipconf.protocol.events import CertificateIssued, CertificateOffered, RenewalFailed
from gossipconf.protocol.messages import TEXT_BYTES_MAX, CertificateGiven, WantCertificate
from gossipconf.protocol.renewal import ALL_BURST, ANSWER_S, NODE_BURST, RETRY_S
from gossipconf.trust.cluster import Cluster, found_cluster
from gossipconf.trust.membership import Membership
from tests.protocol.wire import Bench, Tapped
from tests.strategies import NOW_MS, ROLES, ROOTS, signer

REQUEST = b"a request"


def cluster_with(*issuers: str, revoked: tuple[str, ...] = ()) -> Cluster:
    roles = [*ROLES, *Membership(issuers=issuers, nodes=revoked).roles()]
    roots = [signer(name) for name in ROOTS]
    return found_cluster("renewal", roots, roles, threshold=2, now_ms=NOW_MS, salt=bytes(16))


class Seeker(Bench):
    """A node whose certificate is ending."""

    def __init__(self, *issuers: str, seeds: tuple[str, ...] = ()) -> None:
        super().__init__("m", of=cluster_with(*issuers), seeds=seeds)
        self.wait(1.0)
        self.dialled()

    def ask(self) -> bool:
        asked = self.node.renew(self.now(), REQUEST)
        self.collect()
        return asked

    def wanted(self, link: int) -> list[WantCertificate]:
        return self.said(link, WantCertificate)


def test_a_linked_issuer_is_asked_and_nobody_else() -> None:
    bench = Seeker("i")
    other, issuer = bench.connect("other"), bench.connect("i")
    assert bench.ask()
    assert bench.wanted(issuer) == [WantCertificate(REQUEST)]
    assert bench.wanted(other) == []
    bench.tell(issuer, CertificateGiven(b"new", ""))
    assert bench.events(CertificateOffered) == [CertificateOffered("i", b"new")]


def test_without_an_issuer_in_the_policy_nothing_is_asked() -> None:
    bench = Seeker()
    link = bench.connect("i")
    assert not bench.ask()
    assert bench.wanted(link) == []
    alone = Seeker("m")
    assert not alone.ask()


def test_a_question_under_way_is_not_asked_twice() -> None:
    bench = Seeker("i", "j")
    links = [bench.connect("i"), bench.connect("j")]
    bench.ask()
    bench.ask()
    assert sum(len(bench.wanted(link)) for link in links) == 1


def test_who_refuses_or_keeps_silent_is_left_alone_and_the_next_is_asked() -> None:
    bench = Seeker("i", "j")
    links = {name: bench.connect(name) for name in ("i", "j")}
    bench.ask()
    first = next(name for name, link in links.items() if bench.wanted(link))
    second = "j" if first == "i" else "i"
    bench.tell(links[first], CertificateGiven(b"", "no"))
    assert bench.wanted(links[second]) == [WantCertificate(REQUEST)]
    bench.wait(ANSWER_S)
    failed = bench.events(RenewalFailed)
    assert failed == [RenewalFailed(first, "no"), RenewalFailed(second, "no answer within 10 s")]
    bench.ask()
    assert not any(bench.wanted(link) for link in links.values())
    bench.tell(links[second], CertificateGiven(b"late", ""))
    assert bench.events(CertificateOffered) == []


def test_after_a_while_the_same_is_asked_again() -> None:
    bench = Seeker("i")
    link = bench.connect("i")
    bench.ask()
    bench.tell(link, CertificateGiven(b"", "no"))
    bench.said(link)
    bench.lose(link)
    bench.wait(RETRY_S)
    link = bench.connect("i")
    bench.ask()
    assert len(bench.wanted(link)) == 1


def test_what_nobody_has_asked_for_is_not_taken() -> None:
    bench = Seeker("i")
    link = bench.connect("i")
    bench.tell(link, CertificateGiven(b"mine", ""))
    bench.ask()
    stranger = bench.connect("stranger")
    bench.tell(stranger, CertificateGiven(b"mine", ""))
    assert bench.events(CertificateOffered) == []


def test_a_link_that_ends_before_the_answer_is_no_refusal() -> None:
    bench = Seeker("i")
    link = bench.connect("i")
    bench.ask()
    bench.lose(link)
    again = bench.connect("i")
    assert bench.wanted(again) == [WantCertificate(REQUEST)]  # as soon as it is there


def test_nothing_is_asked_once_it_is_over() -> None:
    bench = Seeker("i")
    bench.ask()
    bench.node.renewed(bench.now())
    link = bench.connect("i")
    assert bench.wanted(link) == []


def test_where_no_issuer_is_linked_a_seed_is_visited() -> None:
    bench = Seeker("i", seeds=("s:1",))
    bench.node.connect_failed(bench.now(), "s:1", "down")
    assert bench.dialled() == []
    assert bench.ask()
    assert bench.dialled() == ["s:1"]
    assert bench.ask()
    assert bench.dialled() == []  # it is being dialled


# -- the issuer -----------------------------------------------------------------------------------


class Issuer(Bench):
    """A node that can issue, whatever the policy says."""

    def __init__(self, *issuers: str, revoked: tuple[str, ...] = ()) -> None:
        super().__init__("i", of=cluster_with(*issuers, revoked=revoked))
        self.issued: list[tuple[str, bytes]] = []
        self.node.issue_with(self.issue)

    def issue(self, link: LinkId, node_id: str, request: bytes) -> bytes:
        if request == b"bad":
            raise InvalidInput("the request is \x1b[31m" + "x" * TEXT_BYTES_MAX)
        self.issued.append((node_id, request))
        return b"certificate of " + node_id.encode()

    def answers(self, link: int) -> list[CertificateGiven]:
        return self.said(link, CertificateGiven)


def test_a_peer_gets_a_certificate_of_its_own_name() -> None:
    bench = Issuer("i")
    link = bench.connect("m")
    bench.tell(link, WantCertificate(REQUEST))
    assert bench.answers(link) == [CertificateGiven(b"certificate of m", "")]
    assert bench.issued == [("m", REQUEST)]
    assert bench.events(CertificateIssued) == [CertificateIssued("m")]


def test_who_is_no_issuer_refuses() -> None:
    for bench in (Issuer(), Issuer("i", revoked=("i",))):
        link = bench.connect("m")
        bench.tell(link, WantCertificate(REQUEST))
        (given,) = bench.answers(link)
        assert given == CertificateGiven(b"", "policy 1 does not call this agent an issuer")
        assert bench.issued == []


def test_an_issuer_without_ticket_refuses() -> None:
    bench = Bench("i", of=cluster_with("i"))
    link = bench.connect("m")
    bench.tell(link, WantCertificate(REQUEST))
    assert bench.said(link, CertificateGiven) == [CertificateGiven(b"", "this agent has no ticket to issue with")]


def test_a_bad_request_is_refused_in_words_that_fit() -> None:
    bench = Issuer("i")
    link = bench.connect("m")
    bench.tell(link, WantCertificate(b"bad"))
    (given,) = bench.answers(link)
    assert given.refusal.startswith("the request is ?[31mxxx")
    assert bench.closed(link) is None


def test_one_node_is_metered_over_all_its_links() -> None:
    bench = Issuer("i")
    for _ in range(3):
        link = bench.connect("m")
        for _ in range(10):
            bench.tell(link, WantCertificate(REQUEST))
        bench.lose(link)
    assert len(bench.issued) == NODE_BURST
    bench.wait(RETRY_S)
    link = bench.connect("m")
    bench.tell(link, WantCertificate(REQUEST), WantCertificate(REQUEST))
    assert len(bench.issued) == NODE_BURST + 1


def test_all_nodes_together_are_metered() -> None:
    bench = Issuer("i")
    for number in range(int(ALL_BURST) + 10):
        link = bench.connect(f"n{number}")
        bench.tell(link, WantCertificate(REQUEST))
        bench.lose(link)
    assert len(bench.issued) == ALL_BURST


# -- together -------------------------------------------------------------------------------------


def test_in_a_full_cluster_a_link_is_opened_for_it_and_stays_until_the_answer() -> None:
    """Thirty nodes, of which one issues: whoever is not linked to it finds it by what it has said of itself."""
    names = [f"n{number:02d}" for number in range(30)]
    world = Tapped(*names, of=cluster_with("n00"))
    world.run(60.0)
    world.node("n00").issue_with(lambda link, node_id, request: b"certificate of " + node_id.encode())
    far = [name for name in names[1:] if "n00" not in {link.node_id for link in world.node(name).links()}]
    assert far
    for _ in range(5):  # all at once: the issuer drops most of those who come, and they come again
        for name in far:
            if not world.events_of(name, CertificateOffered):
                host = world.hosts[name]
                assert world.node(name).renew(world._clock(host), REQUEST)
                world._settle(host)
        world.run(30.0)
    offered = {name: world.events_of(name, CertificateOffered) for name in far}
    assert offered == {name: [CertificateOffered("n00", b"certificate of " + name.encode())] for name in far}
