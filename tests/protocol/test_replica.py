"""The replica: what is on disk, what readers see, and what a failing disk does to publishes and to neither of those."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change, Writer
from gossipconf.model.clock import seq_of
from gossipconf.model.entry import Entry, Slot, put
from gossipconf.model.errors import InvalidInput, JournalWriteFailed, NotAuthorised, Rejected, StaleReservation
from gossipconf.model.version import Version, versions_of
from gossipconf.protocol.environment import Persist, Show
from gossipconf.protocol.events import Applied, DiskFailed, DiskRecovered, Published, PublishFailed
from gossipconf.protocol.messages import Batch, Push, encode_message
from gossipconf.protocol.node import Restored
from gossipconf.protocol.replica import DISK_RETRY_S
from gossipconf.store.journal_ops import DropChange, PutChange, Retire
from gossipconf.trust.signing import compose
from tests.protocol.wire import Bench, change
from tests.strategies import NOW_MS, signed, signer

FULL = "no space left on device"


class Reading(Bench):
    """A node, a disk that writes when the test says so, and a reader who notes all that it may see."""

    def __init__(self, restored: Restored | None = None) -> None:
        super().__init__(restored=restored)
        self.drain(Persist)  # the policy is on disk
        self.queue: list[Persist] = []
        self.reads: dict[Slot, tuple[Version, ...]] = dict(self.node.replica.live.slots())
        self.link = self.connect("a")
        self.seen_wrong: list[str] = []
        self._publishes = 0

    def look(self) -> None:
        """Queue new writes, and let the reader see what it may."""
        self.collect()
        for output in self.outputs:
            if isinstance(output, Persist):
                self.queue.append(output)
            elif isinstance(output, Show):
                self._show(output.reads)
        self.outputs = [one for one in self.outputs if not isinstance(one, Persist | Show)]

    def finish(self, error: str | None = None) -> None:
        """The oldest write ends. If it fails, all that wait behind it fail too."""
        self.look()
        ending = 1 if error is None else len(self.queue)
        for _ in range(min(ending, len(self.queue))):
            persist = self.queue.pop(0)
            if error is None:
                self.disk.write(persist.ops)
                self._show(persist.reads)
            self.node.persisted(self.now(), persist.token, error)
        self.look()

    def finish_all(self, error: str | None = None) -> None:
        self.look()
        while self.queue:
            self.finish(error)

    def receive(self, *changes: Change) -> None:
        for one in changes:
            self.node.replica.receive(one, "a")
            self.look()

    def compose(self, key: str, value: str, by: str = "alice") -> Change:
        node = self.node
        live = node.replica.live
        replaced = [live.part(one.change_id) for one in live.slot((key, ""))]
        return compose(
            [put(key, value.encode())],
            [part for part in replaced if part is not None],
            chain=node.replica.chain,
            signer=signer(by),
            reservation=node.reserve(self.now(), signer(by).public, [(key, "")]),
            now_ms=NOW_MS,
        )

    def publish(self, one: Change, *, is_compared: bool = False) -> int:
        self._publishes += 1
        self.node.publish(self.now(), self._publishes, one, is_compared=is_compared)
        self.look()
        return self._publishes

    def outcome(self, token: int) -> Published | PublishFailed | None:
        found = [*self.events(Published), *self.events(PublishFailed)]
        return next((one for one in found if one.token == token), None)

    def value(self, key: str) -> bytes | None:
        """What a reader gets."""
        versions = self.reads.get((key, ""))
        return versions[0].entry.value if versions else None

    def on_disk(self) -> dict[bytes, bytes]:
        return self.disk.changes

    def should_be_on_disk(self) -> dict[bytes, bytes]:
        """The stored forms: dead entries stay until they are half of a change."""
        live = self.node.replica.live
        forms = [live.stored(part.id) for part in live.parts()]
        return {form.id: form.encode() for form in forms if form is not None}

    def _show(self, reads: tuple[tuple[Slot, tuple[Version, ...]], ...]) -> None:
        for slot, versions in reads:
            for version in versions:
                data = self.disk.changes.get(version.change_id)
                kept = () if data is None else versions_of(self.node.replica.decode(data))
                if version.id not in {one.id for one in kept}:
                    self.seen_wrong.append(f"{slot} shows a version that is not on disk")
            if versions:
                self.reads[slot] = versions
            else:
                self.reads.pop(slot, None)


# -- reads ----------------------------------------------------------------------------------------


def test_a_received_change_is_read_once_it_is_on_disk() -> None:
    bench = Reading()
    bench.receive(change("1"))
    assert bench.node.replica.live.slot(("a", ""))
    assert bench.value("a") is None
    bench.finish_all()
    assert bench.value("a") == b"1"


def test_the_bytes_that_came_are_those_that_are_written() -> None:
    """They are canonical, so they are not made again; but what was joined from parts is."""
    both = signed([put("a", b"1"), put("b", b"2")], "alice")
    first, second = (both.restrict([index]) for index in (0, 1))
    bench = Bench()
    link = bench.connect("a")
    written = []
    for part in (first, second):
        bench.drain(Persist)
        with patch.object(Change, "encode", autospec=True, side_effect=Change.encode) as encode:
            data = encode_message(Batch((part.encode(),)))
            encode.reset_mock()
            bench.node.received(bench.now(), link, data)
        written.append(encode.call_count)
        (persist,) = bench.drain(Persist)
        whole = first.union(part)
        assert persist.ops == (PutChange(both.id, whole.encode()),)
    assert written == [0, 1]


def test_a_publish_is_neither_live_nor_read_nor_sent_before_it_is_on_disk() -> None:
    bench = Reading()
    bench.finish_all()
    bench.said(bench.link)
    one = bench.compose("a", "1")
    token = bench.publish(one)
    assert (bench.outcome(token), bench.value("a"), bench.said(bench.link, Push)) == (None, None, [])
    assert bench.node.replica.live.slot(("a", "")) == ()
    bench.finish()
    assert bench.outcome(token) == Published(token, one.id)
    assert bench.value("a") == b"1"
    assert bench.said(bench.link, Push) == [Push(1, 0, 0, one.encode())]


def test_an_acknowledged_value_is_shown_at_once_if_nothing_else_is_under_way() -> None:
    bench = Reading()
    bench.finish_all()
    token = bench.publish(bench.compose("a", "1"))
    bench.finish()
    bench.publish(bench.compose("a", "2"))
    bench.finish()
    assert bench.value("a") == b"2", "the move of the older version to history is still being written"
    assert bench.queue
    assert isinstance(bench.outcome(token), Published)


def test_an_acknowledged_value_waits_for_writes_of_the_same_slot() -> None:
    """Shown at once, it would rest on a sibling that a crash could still take away."""
    bench = Reading()
    bench.finish_all()
    bench.publish(bench.compose("a", "mine"))
    bench.receive(change("theirs"))
    bench.finish()
    assert bench.value("a") is None
    bench.finish_all()
    assert bench.value("a") in {b"mine", b"theirs"}
    assert bench.seen_wrong == []


def test_versions_that_are_replaced_move_to_history() -> None:
    bench = Reading()
    bench.publish(old := bench.compose("a", "1"))
    bench.finish_all()
    bench.publish(bench.compose("a", "2"))
    bench.finish()
    ops = [op for persist in bench.queue for op in persist.ops]
    assert DropChange(old.id) in ops
    (retired,) = [op for op in ops if isinstance(op, Retire)]
    assert (retired.change_id, retired.key, retired.seq) == (old.id, "a", 1)
    assert bench.node.replica.decode(retired.data) == old


# -- a failing disk -------------------------------------------------------------------------------


def test_a_publish_whose_write_fails_leaves_nothing() -> None:
    bench = Reading()
    bench.finish_all()
    root = bench.node.root
    token = bench.publish(bench.compose("a", "1"))
    bench.finish(FULL)
    outcome = bench.outcome(token)
    assert isinstance(outcome, PublishFailed)
    assert isinstance(outcome.error, JournalWriteFailed)
    bench.wait(DISK_RETRY_S)
    bench.finish_all()
    assert bench.node.root == root
    assert (bench.value("a"), bench.said(bench.link, Push)) == (None, [])
    assert bench.on_disk() == bench.should_be_on_disk()


def test_while_the_disk_fails_publishes_are_refused_and_state_goes_on() -> None:
    bench = Reading()
    bench.finish_all()
    bench.receive(change("1"))
    bench.finish(FULL)
    assert bench.events(DiskFailed) == [DiskFailed(FULL)]
    assert bench.node.presence.own().degraded
    outcome = bench.outcome(bench.publish(bench.compose("b", "1")))
    assert isinstance(outcome, PublishFailed)
    assert FULL in str(outcome.error)
    bench.tell(bench.link, Push(1, 0, 0, (later := change("1", "c", seq=2)).encode()))
    assert bench.events(Applied)[-1].change_id == later.id
    assert (bench.value("a"), bench.value("c")) == (None, None)
    bench.wait(DISK_RETRY_S)
    bench.finish(FULL)
    assert len(bench.events(DiskFailed)) == 1, "told once"
    bench.wait(DISK_RETRY_S)
    bench.finish_all()
    assert len(bench.events(DiskRecovered)) == 1
    assert (bench.value("a"), bench.value("c")) == (b"1", b"1")
    assert bench.on_disk() == bench.should_be_on_disk()


def test_what_comes_during_the_write_that_recovers_is_written_too() -> None:
    bench = Reading()
    bench.finish_all()
    bench.receive(change("1", "first"))
    bench.finish(FULL)
    bench.wait(DISK_RETRY_S)
    bench.receive(change("1", "second", seq=2))
    bench.finish_all()
    bench.wait(DISK_RETRY_S)
    bench.finish_all()
    assert bench.value("second") == b"1"
    assert bench.on_disk() == bench.should_be_on_disk()


def test_writes_that_fail_together_are_told_once_and_written_again() -> None:
    bench = Reading()
    bench.finish_all()
    bench.receive(change("1", "first"), change("1", "second", seq=2))
    token = bench.publish(bench.compose("third", "1"))
    bench.finish(FULL)
    assert bench.queue == []
    assert len(bench.events(DiskFailed)) == 1
    bench.wait(DISK_RETRY_S)
    bench.finish_all()
    assert len(bench.events(DiskRecovered)) == 1
    assert (bench.value("first"), bench.value("second"), bench.value("third")) == (b"1", b"1", None)
    assert isinstance(bench.outcome(token), PublishFailed)
    assert bench.on_disk() == bench.should_be_on_disk()


def test_a_part_from_a_peer_stays_and_the_failed_publish_of_it_goes() -> None:
    bench = Reading()
    bench.finish_all()
    whole = signed([put("a", b"1"), put("b", b"1")], "alice", incarnation=b"offline_")
    bench.publish(whole)
    bench.receive(whole.restrict((0,)))
    bench.finish(FULL)
    bench.wait(DISK_RETRY_S)
    bench.finish_all()
    assert (bench.value("a"), bench.value("b")) == (b"1", None)
    assert bench.on_disk() == bench.should_be_on_disk()


def test_a_publish_that_was_superseded_while_it_was_written_does_not_stay_on_disk() -> None:
    """Whoever saw its number may have been told of it before its own agent was done: bodies are believed."""
    bench = Reading()
    bench.finish_all()
    one = bench.compose("a", "1")
    bench.publish(one)
    seen = ((one.writer_id, one.header.seq),)
    bench.receive(signed([Entry("a", b"2", seen=seen)], "bob"))
    bench.finish_all()
    assert bench.value("a") == b"2"
    assert bench.on_disk() == bench.should_be_on_disk()


KEYS = ("a", "b")
ACTIONS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 23)),
    st.tuples(st.just("publish"), st.one_of(st.sampled_from(KEYS), st.integers(0, 23))),
    st.tuples(st.just("finish"), st.none()),
    st.tuples(st.just("fail"), st.none()),
    st.tuples(st.just("wait"), st.none()),
)


def pool() -> list[Change]:
    """Changes of two entries each, some of which replace others, whole and in parts."""
    made: list[Change] = []
    for seq in range(1, 5):
        for by in ("alice", "bob"):
            seen = tuple(sorted((one.writer_id, one.header.seq) for one in made[-1:]))
            whole = signed([Entry(key, b"%d" % seq, seen=seen) for key in KEYS], by, seq=seq)
            made.append(whole)
    return [part for whole in made for part in (whole, whole.restrict((0,)), whole.restrict((1,)))]


POOL = pool()


@given(st.lists(ACTIONS, max_size=25))
def test_after_recovery_disk_and_readers_hold_the_live_set(actions: list[tuple[str, object]]) -> None:
    bench = Reading()
    published: list[tuple[int, Change]] = []
    for action, detail in actions:
        match action:
            case "receive":
                assert isinstance(detail, int)
                bench.receive(POOL[detail])
            case "publish" if isinstance(detail, int):
                one = POOL[3 * (detail // 3)]  # signed elsewhere; peers may have parts of it
                published.append((bench.publish(one), one))
            case "publish":
                one = bench.compose(str(detail), str(len(published)))
                published.append((bench.publish(one), one))
            case "finish":
                bench.finish()
            case "fail":
                bench.finish(FULL)
            case _:
                bench.wait(DISK_RETRY_S)
                bench.look()
        assert bench.seen_wrong == []
    bench.finish_all()
    bench.wait(2 * DISK_RETRY_S)
    bench.finish_all()
    assert bench.node.replica.disk_error is None
    assert bench.on_disk() == bench.should_be_on_disk()
    assert bench.reads == dict(bench.node.replica.live.slots())
    for token, one in published:
        outcome = bench.outcome(token)
        assert outcome is not None
        if isinstance(outcome, PublishFailed) and one not in POOL:
            assert bench.node.replica.live.part(one.id) is None
    restored = tuple(bench.node.replica.decode(data) for data in bench.on_disk().values())
    assert Bench(restored=Restored(restored)).node.root == bench.node.root


# -- numbers --------------------------------------------------------------------------------------


def reserve(bench: Bench, by: str = "alice", key: str = "a") -> tuple[bytes, int]:
    reservation = bench.node.reserve(bench.now(), signer(by).public, [(key, "")])
    return reservation.incarnation, reservation.seq


def test_numbers_rise_and_a_restart_mints_a_new_incarnation() -> None:
    bench = Reading()
    (incarnation, first), (same, second) = reserve(bench), reserve(bench)
    assert (incarnation, second) == (same, first + 1)
    assert reserve(Bench(seed=1))[0] != incarnation


def refusal(bench: Reading, one: Change) -> Exception | None:
    outcome = bench.outcome(bench.publish(one))
    return outcome.error if isinstance(outcome, PublishFailed) else None


def test_a_number_that_was_overtaken_is_stale() -> None:
    bench = Reading()
    older, newer = bench.compose("a", "1"), bench.compose("b", "2")
    assert refusal(bench, newer) is None
    assert isinstance(refusal(bench, older), StaleReservation)
    assert isinstance(refusal(bench, newer), StaleReservation)


def test_a_publish_that_was_compared_has_seen_what_is_live_here_or_is_stale() -> None:
    """Two commands at one agent that write one key at once: the later one is signed again, and makes no conflict."""
    bench = Reading()

    def compared(one: Change) -> Exception | None:
        outcome = bench.outcome(bench.publish(one, is_compared=True))
        return outcome.error if isinstance(outcome, PublishFailed) else None

    first, second = bench.compose("a", "1"), bench.compose("a", "2")
    assert first.header.seq < second.header.seq
    assert compared(first) is None
    assert bench.node.replica.is_publishing([("a", "")])
    assert isinstance(compared(second), StaleReservation), "the first is on its way to the disk"
    bench.finish_all()
    assert not bench.node.replica.is_publishing([("a", "")])
    assert isinstance(compared(second), StaleReservation)
    third = bench.compose("a", "3")
    bench.receive(change("peer's", by="bob", key="a"))
    assert isinstance(compared(third), StaleReservation), "what a peer has sent meanwhile counts too"
    assert compared(bench.compose("a", "4")) is None
    bench.finish_all()
    assert [one.entry.value for one in bench.node.replica.live.slot(("a", ""))] == [b"4"]
    assert refusal(bench, third) is not None, "overtaken"
    late = signed([put("a", b"5")], "alice", incarnation=b"offline_")
    assert refusal(bench, late) is None, "who has compared with nothing makes a conflict that everybody sees"


def test_numbers_that_were_not_handed_out_and_parts_are_refused() -> None:
    bench = Reading()
    incarnation, seq = reserve(bench)
    ahead = refusal(bench, signed([put("a", b"1")], "alice", seq=seq + 1, incarnation=incarnation))
    assert isinstance(ahead, Rejected)
    assert "not handed out" in str(ahead)
    part = signed([put("a", b"1"), put("b", b"1")], "alice", seq=seq, incarnation=incarnation).restrict((0,))
    assert isinstance(refusal(bench, part), InvalidInput)
    assert isinstance(refusal(bench, change(by="carol", key="pay/x")), NotAuthorised)
    bench.finish_all()
    assert bench.node.replica.live.slots().keys() == {("_policy/1", "")}


def test_a_change_that_was_signed_elsewhere_is_published_once() -> None:
    bench = Reading()
    offline = change("1", incarnation=b"offline_")
    assert refusal(bench, offline) is None
    bench.finish_all()
    assert bench.value("a") == b"1"
    rival = change("2", incarnation=b"offline_")
    assert isinstance(refusal(bench, rival), StaleReservation)
    assert refusal(bench, offline) is None, "the very same again does no harm"


def test_a_hostile_vector_that_claims_the_next_number_costs_an_incarnation_only() -> None:
    """Else this writer's changes would be dead on arrival: superseded before they were made."""
    bench = Reading()
    incarnation, _ = reserve(bench)
    writer = Writer(signer("alice").public, incarnation).id
    bench.receive(signed([Entry("a", b"claim", seen=((writer, 1_000_000),))], "bob"))
    bench.finish_all()
    fresh, seq = reserve(bench)
    assert fresh != incarnation
    assert seq == 1
    assert reserve(bench)[0] == fresh, "and not at every call"
    token = bench.publish(bench.compose("a", "mine"))
    bench.finish_all()
    assert isinstance(bench.outcome(token), Published)
    assert bench.value("a") == b"mine"
    assert seq_of(bench.reads["a", ""][0].entry.seen, writer) == 1_000_000


def test_a_claim_of_what_was_published_is_honest() -> None:
    bench = Reading()
    bench.publish(one := bench.compose("a", "1"))
    bench.finish_all()
    bench.receive(signed([Entry("a", b"2", seen=((one.writer_id, one.header.seq),))], "bob"))
    assert reserve(bench)[0] == one.header.writer.incarnation


# -- restart --------------------------------------------------------------------------------------


def test_a_restart_has_the_same_fingerprint_and_writes_nothing() -> None:
    bench = Reading()
    for number in range(5):
        bench.publish(bench.compose("ab"[number % 2], str(number)))
        bench.finish_all()
    kept = tuple(bench.node.replica.decode(data) for data in bench.on_disk().values())
    again = Bench(restored=Restored(kept))
    assert again.node.root == bench.node.root
    writes = [op for one in again.outputs if isinstance(one, Persist) for op in one.ops]
    assert not [op for op in writes if isinstance(op, PutChange | DropChange)]
