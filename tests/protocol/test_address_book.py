"""The address book: bounds, the order of trying, and waits that double up to a cap and never end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from gossipconf.model.limits import ADDRESS_BOOK_MAX
from gossipconf.protocol.address_book import HEARSAY_RETRY_CAP_S, RETRY_FIRST_S, AddressBook
from gossipconf.protocol.tuning import LAN
from gossipconf.protocol.zone import ZoneTag

_RNG = Random(1)


def rng() -> Random:
    return _RNG


def unplaced(*addresses: str) -> list[tuple[str, ZoneTag]]:
    """Saved addresses whose zones are not known."""
    return [(address, 0) for address in addresses]


def due(book: AddressBook, now_s: float = 0.0) -> list[str]:
    return book.due(now_s, (), ())


def test_saved_addresses_come_first_and_seeds_last() -> None:
    book = AddressBook(["seed:1"], unplaced("saved:1", "saved:2"))
    book.learn("told:1", rng())
    assert due(book) == ["saved:1", "saved:2", "told:1", "seed:1"]


def test_an_address_that_is_both_is_a_seed() -> None:
    book = AddressBook(["both:1"], unplaced("saved:1", "both:1"))
    assert (len(book), due(book)) == (2, ["saved:1", "both:1"])


def test_a_seed_where_a_node_was_met_is_as_good_as_any() -> None:
    book = AddressBook(["seed:1"])
    book.learn("told:1", rng())
    book.met("seed:1", "n", rng())
    assert set(due(book)) == {"seed:1", "told:1"}
    book.failed("told:1", 0.0, rng())
    assert due(book, 10.0) == ["seed:1", "told:1"]


def test_what_was_lost_gets_its_turns_however_many_addresses_are_invented() -> None:
    book = AddressBook(["seed:1"])
    book.met("lost:1", "n", rng())
    for address in ("lost:1", "seed:1"):
        for _ in range(5):
            book.failed(address, 0.0, rng())
    for number in range(500):
        book.learn(f"invented:{number}", rng())
    found = due(book, 10.0)
    assert {"lost:1", "seed:1"} == set(found[-2:]), "by failures they come last"
    assert {"lost:1", "seed:1"} <= set(book.choose(found, 8, Random(1)))
    first = [book.choose(found, 1, Random(seed))[0] for seed in range(100)]
    assert 60 <= sum(address in {"lost:1", "seed:1"} for address in first) <= 90
    assert book.choose([], 3, rng()) == []


def test_who_has_failed_less_is_chosen_first_and_among_equals_any() -> None:
    """Nodes that start together, with one list of seeds, do not all dial the first few."""
    book = AddressBook([], unplaced(*(f"n{number}:1" for number in range(20))))
    for number in range(10):
        book.failed(f"n{number}:1", 0.0, rng())
    found = due(book, 10.0)
    chosen = [book.choose(found, 10, Random(seed)) for seed in range(2)]
    assert chosen[0] != chosen[1]
    assert all(sorted(one) == sorted(f"n{number}:1" for number in range(10, 20)) for one in chosen)
    assert len(book.choose(found, 30, Random(0))) == 20


def test_busy_addresses_and_nodes_are_left_out() -> None:
    book = AddressBook([], unplaced("a:1", "b:1", "c:1"))
    book.met("b:1", "b", rng())
    assert book.due(0.0, {"a:1"}, {"b"}) == ["c:1"]


def test_when_the_next_address_becomes_worth_dialling() -> None:
    book = AddressBook([], unplaced("a:1", "b:1", "c:1"))
    book.met("b:1", "b", rng())
    assert book.next_try_s(0.0, (), ()) == float("inf"), "all are already"
    for address, now_s in (("a:1", 100.0), ("b:1", 10.0), ("c:1", 50.0)):
        book.failed(address, now_s, rng())
    assert due(book, book.next_try_s(0.0, (), ())) == ["b:1"]
    assert due(book, book.next_try_s(0.0, (), {"b"})) == ["b:1", "c:1"]
    assert due(book, book.next_try_s(20.0, (), ())) == ["b:1", "c:1"], "of those that rest at that time"
    assert 100.0 < book.next_try_s(0.0, {"c:1"}, {"b"}) <= 100.0 + RETRY_FIRST_S
    assert book.next_try_s(0.0, {"a:1", "c:1"}, {"b"}) == float("inf")


def test_waits_double_up_to_the_cap_and_go_on_for_ever() -> None:
    book = AddressBook(["a:1"])
    now_s, waits = 0.0, []
    for _ in range(5_000):
        book.failed("a:1", now_s, rng())
        low, high = 0.0, 2 * LAN.retry_cap_s
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if due(book, now_s + middle) else (middle, high)
        waits.append(high)
        now_s += high
    for number, wait in enumerate(waits[:8]):
        full = min(LAN.retry_cap_s, RETRY_FIRST_S * 2**number)
        assert full / 2 <= wait <= full + 1e-6
    assert max(waits) <= LAN.retry_cap_s + 1e-6
    assert "a:1" in book


def test_a_met_node_is_tried_at_once_after_it_was_lost() -> None:
    book = AddressBook([], unplaced("a:1"))
    for _ in range(10):
        book.failed("a:1", 0.0, rng())
    book.met("a:1", "a", rng())
    assert due(book) == ["a:1"]


def test_a_node_that_moved_is_remembered_where_it_is() -> None:
    book = AddressBook(["seed:1"])
    for address in ("old:1", "seed:1", "new:1"):
        book.met(address, "n", rng())
    assert "old:1" not in book
    assert {"seed:1", "new:1"} == set(due(book))
    assert ("new:1", 0) in book.saved()


def test_saved_are_those_where_a_node_was_met() -> None:
    book = AddressBook(["seed:1"], unplaced("saved:1"))
    book.met("n:1", "n", rng())
    assert book.saved() == [("n:1", 0)]


def test_a_sample_has_only_what_was_reached_last_time() -> None:
    book = AddressBook([], unplaced("saved:1"))
    for number in range(10):
        book.met(f"n{number}:1", f"n{number}", rng())
    book.failed("n3:1", 0.0, rng())
    assert sorted(book.sample(100, rng())) == sorted(f"n{number}:1" for number in range(10) if number != 3)
    assert len(book.sample(4, rng())) == 4


def test_rest_holds_and_ends() -> None:
    book = AddressBook([], unplaced("a:1"))
    book.met("a:1", "a", rng())
    book.rest("a:1", "a", 30.0)
    book.rest("unknown:1", "a", 30.0)
    assert (due(book, 29.9), due(book, 30.0)) == ([], ["a:1"])


def test_forget_removes_ones_own() -> None:
    book = AddressBook(["me:1"])
    book.forget("me:1")
    book.forget("me:1")
    assert len(book) == 0


def test_a_flood_of_addresses_fills_no_more_than_the_book_and_drives_out_no_seed_and_nobody_met() -> None:
    book = AddressBook(["seed:1"])
    for number in range(20):
        book.met(f"n{number}:1", f"n{number}", rng())
        book.failed(f"n{number}:1", 0.0, rng())  # a partition: none can be reached now
    for number in range(3 * ADDRESS_BOOK_MAX):
        book.learn(f"flood{number}:1", rng())
        book.failed(f"flood{number}:1", 0.0, rng())
    assert len(book) == ADDRESS_BOOK_MAX
    assert "seed:1" in book
    assert all(f"n{number}:1" in book for number in range(20))


def test_a_book_full_of_the_dead_still_takes_in_the_living() -> None:
    """Years of restarts under new addresses: each was met once."""
    book = AddressBook(["seed:1"])
    for number in range(ADDRESS_BOOK_MAX + 100):
        book.met(f"n{number}:1", f"n{number}", rng())
        book.failed(f"n{number}:1", 0.0, rng())
    book.learn("new:1", rng())
    assert "new:1" in book
    assert len(book) == ADDRESS_BOOK_MAX


def test_the_empty_address_is_nobodys() -> None:
    book = AddressBook([])
    book.learn("", rng())
    assert len(book) == 0


def test_a_claim_takes_no_address_from_a_node_that_was_met_there() -> None:
    """A peer that says it lives where an honest node lives must not keep others from dialling that node."""
    book = AddressBook([])
    book.met("honest:1", "honest", Random(0))
    book.claimed("honest:1", "liar", Random(0))
    book.rest("honest:1", "liar", 1e9)
    assert book.due(0.0, [], ["liar"]) == ["honest:1"]


def test_claims_do_not_add_up() -> None:
    """However many addresses a node claims one after another, it holds the last one only, and removes none."""
    book = AddressBook([], unplaced("a:1", "b:1", "c:1"))
    for address in ("a:1", "b:1", "c:1"):
        book.claimed(address, "liar", Random(0))
    assert book.due(0.0, [], ["liar"]) == ["a:1", "b:1"]
    book.met("liar:1", "liar", Random(0))
    assert sorted(book.due(0.0, [], ["liar"])) == ["a:1", "b:1", "c:1"]


def test_where_nobody_was_met_is_tried_for_ever_and_rarely() -> None:
    book = AddressBook([], unplaced("hearsay:1"))
    for _ in range(50):
        book.failed("hearsay:1", 0.0, Random(0))
    assert not book.due(LAN.retry_cap_s, [], [])
    assert book.due(HEARSAY_RETRY_CAP_S, [], []) == ["hearsay:1"]


# -- zones ----------------------------------------------------------------------------------------

HERE, THERE = 7, 9


def test_an_address_is_where_its_node_says_and_else_where_others_say() -> None:
    book = AddressBook([])
    book.learn("a:1", rng(), HERE)
    book.learn("a:1", rng())
    assert book.zone("a:1") == HERE, "who does not know it takes nothing back"
    book.learn("a:1", rng(), THERE)
    assert (book.zone("a:1"), book.count_in(HERE), book.count_in(THERE)) == (THERE, 0, 1)
    book.met("a:1", "a", rng(), HERE)
    book.learn("a:1", rng(), THERE)
    assert book.zone("a:1") == HERE, "a node was met there, and has told it itself"
    book.met("a:1", "a", rng())
    assert book.zone("a:1") == HERE
    assert book.zone("unknown:1") == 0


def test_a_node_that_tells_another_tag_is_placed_anew_wherever_it_is_known() -> None:
    book = AddressBook(["seed:1"])
    book.met("seed:1", "a", rng(), HERE)
    book.met("b:1", "b", rng(), HERE)
    book.place("a", THERE)
    assert (book.zone("seed:1"), book.zone("b:1")) == (THERE, HERE)
    assert (book.count_in(HERE), book.count_in(THERE)) == (1, 1)
    book.place("a", 0)
    assert (book.count_in(0), book.count_in(THERE)) == (1, 0)


def test_counts_follow_what_is_removed() -> None:
    book = AddressBook([], [("saved:1", HERE)])
    book.met("old:1", "n", rng(), HERE)
    assert book.count_in(HERE) == 2
    book.met("new:1", "n", rng(), HERE)
    assert "old:1" not in book
    assert book.count_in(HERE) == 2
    book.forget("new:1")
    book.forget("saved:1")
    assert book.count_in(HERE) == 0
    assert not book.knows_other_than(THERE)


def test_whether_another_zone_is_known() -> None:
    book = AddressBook(["seed:1"], [("saved:1", HERE)])
    assert not book.knows_other_than(HERE)
    assert book.knows_other_than(THERE)
    assert book.knows_other_than(0)
    book.learn("far:1", rng(), THERE)
    assert book.knows_other_than(HERE)


def test_zones_are_saved() -> None:
    book = AddressBook([], [("n:1", HERE), ("saved:1", THERE)])
    book.met("n:1", "n", rng())
    assert book.saved() == [("n:1", HERE)]
    assert AddressBook([], book.saved()).count_in(HERE) == 1


def test_a_sample_of_a_zone_has_also_those_only_heard_of_there() -> None:
    book = AddressBook(["seed:1"])
    book.met("met:1", "n", rng(), HERE)
    book.met("far:1", "f", rng(), THERE)
    book.learn("heard:1", rng(), HERE)
    book.learn("dead:1", rng(), HERE)
    book.failed("dead:1", 0.0, rng())
    assert sorted(book.sample(100, rng(), HERE)) == ["heard:1", "met:1"]
    assert book.sample(1, rng(), THERE) == ["far:1"]
    assert book.sample(100, rng(), 1) == []
    assert sorted(book.sample(100, rng())) == ["far:1", "met:1"]


def full_of(zone: int) -> AddressBook:
    """A full book with a seed, and otherwise addresses of one zone, all only heard of."""
    book = AddressBook(["seed:1"])
    for number in range(ADDRESS_BOOK_MAX - 1):
        book.learn(f"n{number}:1", rng(), zone)
    assert len(book) == ADDRESS_BOOK_MAX
    return book


def test_a_full_book_spreads_over_the_zones() -> None:
    book = full_of(HERE)
    for zone in (THERE, THERE + 1, THERE + 2):
        for number in range(ADDRESS_BOOK_MAX):
            book.learn(f"z{zone}-{number}:1", rng(), zone)
    assert len(book) == ADDRESS_BOOK_MAX
    counts = [book.count_in(zone) for zone in (HERE, THERE, THERE + 1, THERE + 2)]
    assert sum(counts) == ADDRESS_BOOK_MAX - 1
    assert min(counts) >= ADDRESS_BOOK_MAX // 6, "with the unplaced seed's there are five zones, and room for a sixth"
    assert "seed:1" in book


def test_a_full_book_takes_nothing_in_whose_zone_has_its_share_or_is_unknown() -> None:
    book = full_of(HERE)
    before = book.count_in(HERE)
    for number in range(100):
        book.learn(f"more{number}:1", rng(), HERE)
        book.learn(f"unplaced{number}:1", rng())
    assert (book.count_in(HERE), book.count_in(0)) == (before, 1)


def test_invented_zones_drive_out_no_seed_and_nobody_met() -> None:
    """Each has nothing of its share. Honest nodes have few zones; a liar may name as many as it has addresses."""
    book = full_of(HERE)
    met = [f"n{number}:1" for number in range(50)]
    for address in met:
        book.met(address, f"node of {address}", rng(), HERE)
    for address in met[:25]:
        book.failed(address, 0.0, rng())
    for number in range(5 * ADDRESS_BOOK_MAX):
        book.learn(f"invented{number}:1", rng(), 100 + number)
    assert len(book) == ADDRESS_BOOK_MAX
    assert "seed:1" in book
    assert [address for address in met if address not in book] == []


# -- sources --------------------------------------------------------------------------------------


def fed(evil: int, honest: int) -> AddressBook:
    """A book to which one peer has told ``evil`` addresses, and each of three others ``honest``."""
    book = AddressBook([])
    for number in range(evil):
        book.learn(f"evil-{number}:1", rng(), source="evil")
    for peer in "abc":
        for number in range(honest):
            book.learn(f"{peer}-{number}:1", rng(), source=peer)
    return book


def told_by(addresses: Sequence[str]) -> Counter[str]:
    return Counter(address.partition("-")[0] for address in addresses)


def test_no_source_fills_a_view_however_much_it_tells() -> None:
    book = fed(evil=240, honest=10)
    assert told_by(book.choose(due(book), 8, rng())) == {"evil": 2, "a": 2, "b": 2, "c": 2}


def test_what_is_dialled_already_counts() -> None:
    book = fed(evil=240, honest=10)
    busy = ["evil-0:1", "evil-1:1", "a-0:1"]
    chosen = book.choose([address for address in due(book) if address not in busy], 5, rng(), busy)
    assert told_by([*busy, *chosen]) == {"evil": 2, "a": 2, "b": 2, "c": 2}


def test_where_others_have_nothing_more_to_tell_links_matter_more_than_sources() -> None:
    book = fed(evil=20, honest=1)
    assert told_by(book.choose(due(book), 8, rng())) == {"evil": 5, "a": 1, "b": 1, "c": 1}


def test_an_address_that_several_have_told_is_owed_to_the_one_that_has_told_the_least() -> None:
    book = AddressBook([])
    for source in ("evil", *"abcdefgh"):
        book.learn("x:1", rng(), source=source)
    for number in range(50):
        book.learn(f"evil-{number}:1", rng(), source="evil")
    chosen = book.choose(due(book), 2, rng(), ["evil-0:1"])
    assert chosen[0] == "x:1"
