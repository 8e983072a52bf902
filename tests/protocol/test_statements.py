"""What nodes say of changes: who is believed, how it spreads, what it costs, and what hostile peers gain: nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from gossipconf.model.errors import Rejected
from gossipconf.protocol import statement_book
from gossipconf.protocol.events import Contradiction, Said, SayFailed, StatementRefused
from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.messages import (
    Push,
    SaidBatch,
    SaidDigest,
    SaidItems,
    SaidNews,
    SaidSubjects,
    encode_message,
)
from gossipconf.protocol.node import Restored
from gossipconf.protocol.statement_book import (
    HELD_BYTES_MAX,
    NODES_MAX,
    SUBJECTS_MAX,
    Claim,
    StatementBook,
    rows_of,
)
from gossipconf.protocol.statement_comparison import UNKNOWN_MAX, VERIFIED_BURST
from gossipconf.protocol.statements import NEWS_AT_ONCE
from gossipconf.trust.statement import Kind, SignedStatement, Statement
from tests.protocol.speaking import REGISTRY, STAGES, Stage, canary, canary_change, news, said, speaking_bench
from tests.protocol.wire import Bench, Tapped
from tests.strategies import NOW_MS, cluster, signed, signer

CANARY = canary_change()
ABOUT = CANARY.id


def with_canary(name: str = "m", **options) -> tuple[Bench, int]:
    """A node that has the canary, and a link."""
    one = speaking_bench(name, **options)
    link = one.connect("p")
    one.tell(link, Push(0, 0, 0, CANARY.encode()))
    one.write()
    one.said(link)
    return one, link


def voters(one: Bench, subject: bytes = ABOUT) -> list[str]:
    return list(one.node.statements.of(subject))


def staged(one: Bench, **options) -> Stage:
    stage = Stage(**options)
    one.node.statements.interest(stage)
    return stage


# -- saying ---------------------------------------------------------------------------------------


def test_what_a_node_says_is_on_disk_before_it_is_sent():
    one, link = with_canary()
    one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
    assert one.node.statements.has_said(Kind.UNHEALTHY, ABOUT)
    assert (one.said(link, SaidNews), voters(one)) == ([], [])
    (persist,) = one.write()
    (sent,) = one.said(link, SaidNews)
    assert [op.value for op in persist.ops] == [sent.statement]
    assert voters(one) == ["m"]
    assert one.events(Said) == [Said(Kind.UNHEALTHY, ABOUT)]


def test_saying_it_again_is_no_news():
    one, link = with_canary()
    for _ in range(2):
        one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
        one.write()
    assert len(one.said(link, SaidNews)) == 1
    assert one.events(Said) == [Said(Kind.UNHEALTHY, ABOUT)] * 2


def test_what_the_disk_refuses_is_not_said():
    one, link = with_canary()
    one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
    one.write("no space left on device")
    assert one.events(SayFailed) == [SayFailed(Kind.UNHEALTHY, ABOUT, "no space left on device")]
    one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
    assert len(one.events(SayFailed)) == 2, "known to refuse"
    assert (one.said(link, SaidNews), voters(one)) == ([], [])
    assert not one.node.statements.has_said(Kind.UNHEALTHY, ABOUT)
    one.wait(2.0)
    one.write()
    one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
    one.write()
    assert voters(one) == ["m"]


def test_nobody_speaks_of_what_does_not_matter():
    one, _ = with_canary()
    with pytest.raises(Rejected, match="nothing here waits"):
        one.node.say(one.now(), Kind.UNHEALTHY, bytes(32))
    with pytest.raises(Rejected, match="nothing here waits"):
        one.node.say(one.now(), Kind.ACK, ABOUT)
    plain = Bench("m")
    plain.tell(plain.connect("p"), Push(0, 0, 0, CANARY.encode()))
    with pytest.raises(Rejected, match="no certificate to speak with"):
        plain.node.say(plain.now(), Kind.UNHEALTHY, ABOUT)


@pytest.mark.parametrize(("first", "second"), [(Kind.ACK, Kind.NACK), (Kind.NACK, Kind.ACK)])
def test_a_node_contradicts_itself_never_written_or_not(first, second):
    one, _ = with_canary()
    staged(one)
    one.node.say(one.now(), first, STAGES[0])
    with pytest.raises(Rejected, match="cannot take it back"):
        one.node.say(one.now(), second, STAGES[0])
    one.write()
    with pytest.raises(Rejected, match="cannot take it back"):
        one.node.say(one.now(), second, STAGES[0])
    one.node.say(one.now(), second, STAGES[1])


def test_what_was_said_is_remembered_over_a_restart():
    one, link = with_canary()
    one.node.say(one.now(), Kind.UNHEALTHY, ABOUT)
    one.tell(link, news("x", ABOUT))
    one.write()
    rows = rows_of(one.disk.meta)
    assert sorted(rows) == [0, 1]
    again = speaking_bench(restored=Restored(changes=(*cluster().policies, CANARY), statements=rows))
    assert voters(again) == ["m", "x"]
    without = speaking_bench(restored=Restored(statements=rows))
    assert without.node.statements.subjects() == [], "nothing that matters is known"


def test_a_row_on_disk_that_was_altered_is_left_out():
    row = said("x", ABOUT).encode()
    altered = row.replace(b"x", b"y")
    again = speaking_bench(
        restored=Restored(changes=(*cluster().policies, CANARY), statements={0: altered, 1: b"\xff", 3: row})
    )
    assert voters(again) == ["x"]
    assert len(again.events(StatementRefused)) == 2


# -- spreading ------------------------------------------------------------------------------------


def test_news_goes_once_over_each_other_link():
    one, link = with_canary()
    others = [one.connect("q"), one.connect("r")]
    for _ in range(3):
        one.tell(link, news("x", ABOUT))
        one.tell(others[0], news("x", ABOUT, time_ms=NOW_MS + 5))
    assert one.said(link, SaidNews) == []
    assert [len(one.said(other, SaidNews)) for other in others] == [1, 1]
    one.write()
    assert list(rows_of(one.disk.meta)) == [0]


def test_a_statement_that_overtakes_its_change_is_asked_for_again():
    one = speaking_bench()
    link, other = one.connect("p"), one.connect("q")
    for source in (link, other):
        one.tell(source, news("x", ABOUT))
    assert voters(one) == []
    assert one.said(link, SaidItems) == []
    one.tell(link, Push(0, 0, 0, CANARY.encode()))
    assert one.said(link, SaidItems) == [SaidItems(ABOUT, b"")]
    assert one.said(other, SaidItems) == [], "one is asked, the digest shows whether the other has more"
    one.tell(link, SaidBatch(ABOUT, (said("x", ABOUT).encode(),), False))
    assert voters(one) == ["x"]
    one.wait(2.0)
    assert len(one.said(other, SaidDigest)) == 1


def test_two_with_nothing_to_say_exchange_nothing_and_equal_ones_12_bytes_each():
    world = Tapped("a", "b", dials=False)
    world.wire("a", "b")
    world.run(5.0)
    kinds = (SaidNews, SaidDigest, SaidSubjects, SaidItems, SaidBatch)
    assert world.since(0.0, *kinds) == []
    change = world.publish("a", signer("alice"), [canary()])[1]
    world.run(5.0)
    for name in ("a", "b"):
        world.declare(name, Kind.UNHEALTHY, change.id)
    world.run(5.0)
    world.reset_link("a", "b")
    world.wire("a", "b")
    began_s = world.now_s
    world.run(30.0)
    sent = world.since(began_s, *kinds)
    assert sum(one.bytes for one in sent) <= 40
    assert [type(one.message) for one in sent] == [SaidDigest] * 2


def test_what_a_peer_lacks_is_given_and_what_is_lacking_is_asked_for():
    one, _ = with_canary()
    for voter in ("x", "y"):
        one.tell(one.connect(f"via-{voter}"), news(voter, ABOUT))
    link = one.connect("late")
    (shown,) = one.said(link, SaidDigest)
    theirs = said("z", ABOUT).statement.item
    one.tell(link, SaidDigest(bytes(8)))
    ((subject, _),) = one.said(link, SaidSubjects)[0].subjects
    assert subject == ABOUT
    one.tell(link, SaidItems(ABOUT, said("x", ABOUT).statement.item + theirs))
    (batch,) = one.said(link, SaidBatch)
    assert [SignedStatement.decode(data).statement.node_id for data in batch.statements] == ["y"]
    assert not batch.more
    ((asked),) = one.said(link, SaidItems)
    assert len(asked.items) == 16
    one.tell(link, SaidBatch(ABOUT, (said("z", ABOUT).encode(),), False))
    assert voters(one) == ["x", "y", "z"]
    assert len(encode_message(shown)) == 12


def test_many_at_once_are_shown_to_others_not_pushed():
    one, link = with_canary()
    other = one.connect("q")
    one.said(other)
    batch = tuple(said(f"n{number}", ABOUT).encode() for number in range(NEWS_AT_ONCE + 1))
    one.tell(link, SaidBatch(ABOUT, batch, True))
    assert len(voters(one)) == NEWS_AT_ONCE + 1
    assert one.said(other, SaidNews) == []
    (asked,) = one.said(link, SaidItems)
    assert len(asked.items) == 8 * (NEWS_AT_ONCE + 1)
    one.wait(2.0)
    assert len(one.said(other, SaidDigest)) == 1


def test_what_a_full_queue_has_lost_is_found_by_a_comparison():
    one, link = with_canary()
    one.tell(link, news("x", ABOUT))
    for frame_class in (FrameClass.ACK, FrameClass.SYNC):
        one.node.dropped(one.now(), link, frame_class)
    one.said(link)
    one.wait(2.0)
    assert len(one.said(link, SaidDigest)) == 1


def test_what_is_said_of_a_change_ends_with_it_and_its_row_goes_to_others():
    one, link = with_canary()
    one.tell(link, news("x", ABOUT))
    entry = dataclasses.replace(canary(), seen=((CANARY.writer_id, 1),))
    successor = signed([entry], "alice", seq=2)
    one.tell(link, Push(0, 0, 0, successor.encode()))
    assert one.node.statements.subjects() == []
    one.tell(link, news("y", successor.id))
    one.write()
    assert list(rows_of(one.disk.meta)) == [0]


# -- hostile peers --------------------------------------------------------------------------------


def test_held_a_node_key_one_vote_however_often_it_is_signed():
    one, link = with_canary()
    for number in range(20):
        one.tell(link, news("x", ABOUT, time_ms=NOW_MS + number))
    assert voters(one) == ["x"]
    assert len(one.node.statements.about(ABOUT)) == 1


def test_held_no_key_invented_nodes_do_not_count():
    one, link = with_canary()
    forged = said("x", ABOUT)
    others = [dataclasses.replace(forged.statement, node_id=f"n{number}") for number in range(5)]
    for statement in others:
        own_key = dataclasses.replace(forged, statement=statement)
        one.tell(link, SaidNews(own_key.encode()))
        as_if = dataclasses.replace(own_key, certificates=(REGISTRY.signer(statement.node_id).public,))
        one.tell(link, SaidNews(as_if.encode()))
    assert voters(one) == []
    assert len(one.events(StatementRefused)) == 10


@pytest.mark.parametrize("fields", [{"cluster": bytes(32)}, {"subject": bytes(range(32))}, {"kind": Kind.ACK}])
def test_replay_in_another_cluster_about_another_change_or_as_another_word(fields):
    """Held: all that was ever signed. What is re-labelled is not signed; what is not re-labelled is about another."""
    one, link = with_canary()
    staged(one, subjects=(ABOUT,))
    true = said("x", ABOUT, **({"cluster": bytes(32)} if "cluster" in fields else {}))
    if "cluster" not in fields:
        elsewhere = said("x", fields.get("subject", ABOUT), fields.get("kind", Kind.UNHEALTHY))
        true = dataclasses.replace(elsewhere, statement=said("x", ABOUT).statement)
    one.tell(link, SaidNews(true.encode()))
    assert voters(one) == []
    assert len(one.events(StatementRefused)) == 1


def test_who_sends_forgeries_is_cut_off():
    one, link = with_canary()
    forged = dataclasses.replace(said("x", ABOUT), signature=bytes(64))
    for _ in range(8):
        one.tell(link, SaidNews(forged.encode()))
    assert "8 invalid messages" in (one.closed(link) or "")


def test_flood_of_subjects_that_nobody_knows_is_forgotten():
    one, link = with_canary()
    for number in range(3 * UNKNOWN_MAX):
        one.tell(link, news("x", number.to_bytes(32, "big")))
    (peer,) = (peer for peer in one.node.statements._comparison.peers.values() if peer.link.id == link)
    assert len(peer.unknown) == UNKNOWN_MAX
    assert one.node.statements.subjects() == []
    assert one.said(link, SaidItems) == []


def test_flood_of_statements_is_verified_at_a_bounded_rate_and_found_again():
    one, link = with_canary()
    verified: list[str] = []
    notary = REGISTRY.notary("m")

    def verify(form: SignedStatement) -> tuple[bytes, ...]:
        verified.append(form.statement.node_id)
        raise Rejected("a CA that is not known here")

    one.node.statements._notary = dataclasses.replace(notary, verify=verify)
    form = said("x", ABOUT)
    for number in range(round(VERIFIED_BURST) + 50):
        statement = dataclasses.replace(form.statement, node_id=f"n{number}")
        one.tell(link, SaidNews(dataclasses.replace(form, statement=statement).encode()))
    assert len(verified) == VERIFIED_BURST
    one.wait(2.0)
    assert len(one.said(link, SaidDigest)) == 1, "an honest peer would give the rest again"


def test_a_peer_that_asks_for_ever_is_given_so_much():
    one, link = with_canary()
    one.tell(link, news("x", ABOUT))
    asker = one.connect("asker")
    one.said(asker)
    for _ in range(1_000):
        one.tell(asker, SaidItems(ABOUT, b""), SaidDigest(bytes(8)))
    assert len(one.said(asker, SaidBatch)) <= 64
    assert len(one.said(asker, SaidSubjects)) <= 512


def test_who_contradicts_itself_is_told_of_and_its_nack_counts():
    one, link = with_canary()
    stage = staged(one)
    one.tell(link, news("x", STAGES[0], Kind.NACK))
    assert one.events(Contradiction) == []
    one.tell(link, news("x", STAGES[0], Kind.ACK))
    assert one.events(Contradiction) == [Contradiction("x", STAGES[0])]
    assert one.node.statements.of(STAGES[0])["x"].kind is Kind.NACK
    assert len(one.node.statements.about(STAGES[0])) == 2, "both are kept as evidence"
    assert stage.news == [STAGES[0]] * 2


def test_who_is_no_participant_takes_no_room():
    one, link = with_canary()
    staged(one, participants=("x",))
    one.tell(link, news("y", STAGES[0], Kind.ACK), news("x", STAGES[0], Kind.ACK))
    assert voters(one, STAGES[0]) == ["x"]


# -- bounds ---------------------------------------------------------------------------------------


def test_of_one_subject_the_nodes_with_the_smallest_names_are_kept():
    book = StatementBook()
    statements = [said(f"n{number:04d}", ABOUT).statement for number in range(NODES_MAX + 2)]
    for statement in (*statements[2:], *statements[:2]):
        assert book.add(statement, b"", ())
    assert not book.add(statements[-1], b"", ())
    kept = sorted(held.statement.node_id for held in book.about(ABOUT).values())
    assert kept == [one.node_id for one in statements[:NODES_MAX]]
    assert max(held.row for held in book.about(ABOUT).values()) == NODES_MAX - 1


def subject_of(claimant: int, number: int) -> bytes:
    return bytes([claimant, number >> 8, number & 0xFF]).ljust(32, b".")


def claim_of(subject: bytes) -> Claim:
    return Claim(subject[:1])


def kept_of(statements: Iterable[Statement], size: int = 0) -> list[bytes]:
    """What a book keeps of these, which come in this order."""
    book = StatementBook()
    for statement in statements:
        crowded = book.crowded_out(statement, size, claim_of)
        if crowded is not None:
            for subject in crowded:
                book.drop(subject)
            assert book.add(statement, bytes(size), ())
    return sorted(book.subjects())


def test_of_too_many_subjects_whoever_has_most_gives_way_whatever_came_first():
    """Held: a node's key, and canaries of one admin without end. What others have staged or tried has room."""
    one, two, three = (
        [said("x", subject_of(claimant, number)).statement for number in range(count)]
        for claimant, count in ((1, 400), (2, 10), (3, 200))
    )
    expected = [subject_of(1, number) for number in range(123)]
    expected += [subject_of(2, number) for number in range(10)]
    expected += [subject_of(3, number) for number in range(123)]
    assert len(expected) == SUBJECTS_MAX
    mixed = sorted([*one, *two, *three], key=lambda each: each.item)
    for order in ([*one, *two, *three], [*three, *two, *one], mixed, mixed[::-1]):
        assert kept_of(order) == expected


def test_of_too_many_bytes_whoever_has_most_gives_way():
    size = HELD_BYTES_MAX // 10
    one = [said("x", subject_of(1, number)).statement for number in range(12)]
    two = [said("x", subject_of(2, number)).statement for number in range(3)]
    expected = [*(subject_of(1, number) for number in range(7)), *(subject_of(2, number) for number in range(3))]
    assert kept_of([*one, *two], size) == kept_of([*two, *one], size) == expected


def test_of_one_claimant_the_oldest_goes_first_and_what_is_older_still_is_not_taken():
    book = StatementBook()
    ages = {subject_of(1, number): number for number in range(SUBJECTS_MAX + 2)}
    statements = [said("x", subject).statement for subject in ages]

    def claim(subject: bytes) -> Claim:
        return Claim(b"", ages[subject])

    for statement in statements[1 : SUBJECTS_MAX + 1]:
        assert book.crowded_out(statement, 0, claim) == ()
        book.add(statement, b"", ())
    assert book.crowded_out(statements[0], 0, claim) == [statements[SUBJECTS_MAX].subject]
    assert book.crowded_out(statements[SUBJECTS_MAX + 1], 0, claim) is None
    assert book.crowded_out(said("y", statements[1].subject).statement, 0, claim) == ()


def test_held_a_node_key_votes_on_all_canaries_keep_no_ack_out(monkeypatch):
    """Held: a node's key. It votes on more canaries than there is room for; a stage must go on all the same."""
    monkeypatch.setattr(statement_book, "SUBJECTS_MAX", 3)
    one = speaking_bench()
    stage = staged(one)
    link = one.connect("p")
    changes = [signed([canary(key=f"k{number}")], "alice", seq=number + 1) for number in range(4)]
    for change in changes:
        one.tell(link, Push(0, 0, 0, change.encode()))
    one.write()
    for change in changes[:3]:
        one.tell(link, news("hostile", change.id))
    assert len(one.node.statements.subjects()) == 3
    one.tell(link, news("p", STAGES[0], Kind.ACK))
    assert voters(one, STAGES[0]) == ["p"]
    assert stage.news == [STAGES[0]]
    (gone,) = {change.id for change in changes[:3]} - set(one.node.statements.subjects())
    assert one.node.halts.votes(gone) == ()
    one.tell(link, news("hostile", changes[3].id))
    one.tell(link, news("q", STAGES[0], Kind.ACK))
    assert voters(one, STAGES[0]) == ["p", "q"]
    with pytest.raises(Rejected, match="there is no room"):
        one.node.say(one.now(), Kind.UNHEALTHY, max(change.id for change in changes))
    kept = sorted(change.id for change in changes)[:2]
    assert sorted(one.node.statements.subjects()) == sorted([*kept, STAGES[0]])


def test_digests_are_of_the_names_alone():
    one, other = StatementBook(), StatementBook()
    first, second = said("x", ABOUT), said("y", ABOUT)
    one.add(first.statement, first.encode(), ())
    one.add(second.statement, second.encode(), ())
    other.add(second.statement, b"another signature", ())
    assert one.digest() != other.digest()
    other.add(dataclasses.replace(first.statement, time_ms=1), b"", ())
    assert one.digest() == other.digest()
