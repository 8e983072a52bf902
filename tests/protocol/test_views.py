"""The view: how many links of each kind are wanted, and which one makes room."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.protocol.link import Link
from gossipconf.protocol.views import (
    FAR,
    FAR_SMALL,
    LINKS_MAX,
    NEAR,
    ONLY_NEAR,
    SLACK,
    SMALL_ZONE,
    Wanted,
    surplus,
    wanted,
)


def links_of(near: int, far: int, unknown: int = 0) -> list[Link]:
    places = [True] * near + [False] * far + [None] * unknown
    return [
        Link(number, f"p{number}", False, "", 0.0, 0.0, greeted=True, near=place) for number, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("zone_nodes", "knows_others", "expected"),
    [
        (1, False, Wanted(ONLY_NEAR, 0)),
        (10_000, False, Wanted(ONLY_NEAR, 0)),
        (1, True, Wanted(NEAR, FAR_SMALL)),
        (SMALL_ZONE - 1, True, Wanted(NEAR, FAR_SMALL)),
        (SMALL_ZONE, True, Wanted(NEAR, FAR)),
    ],
)
def test_what_is_wanted_follows_from_the_zones(zone_nodes: int, knows_others: bool, expected: Wanted) -> None:
    assert wanted(zone_nodes, knows_others=knows_others) == expected
    assert expected.links == expected.near + expected.far


def test_no_view_has_more_links_than_the_limit_says() -> None:
    views = [wanted(nodes, knows_others=others) for nodes in (1, SMALL_ZONE) for others in (False, True)]
    assert max(view.links + 2 * SLACK for view in views) == LINKS_MAX


VIEW = Wanted(NEAR, FAR)


def test_newcomers_find_room_beyond_what_is_wanted() -> None:
    links = links_of(NEAR + SLACK, FAR + SLACK)
    assert all(surplus(links, newest, VIEW, Random(0)) is None for newest in links)


@pytest.mark.parametrize("near", [True, False])
def test_beyond_that_one_of_its_kind_makes_room_and_never_the_newcomer(near: bool) -> None:
    links = links_of(NEAR + SLACK + near, FAR + SLACK + (not near))
    kind = [link for link in links if link.near is near]
    newest = kind[len(kind) // 2]
    victims = [surplus(links, newest, VIEW, Random(seed)) for seed in range(400)]
    assert [link.id for link in kind if link in victims] == [link.id for link in kind if link is not newest]
    assert all(victim in kind for victim in victims)


def test_who_is_not_placed_yet_drives_nobody_out_while_there_is_room_for_any() -> None:
    links = links_of(NEAR + SLACK, FAR + SLACK, unknown=LINKS_MAX - NEAR - FAR - 2 * SLACK)
    newest = Link(len(links), "new", False, "", 0.0, 0.0, greeted=True)
    assert surplus(links, links[-1], VIEW, Random(0)) is None
    victims = [surplus([*links, newest], newest, VIEW, Random(seed)) for seed in range(400)]
    assert [link.id for link in links if link in victims] == [link.id for link in links]
    assert newest not in victims
    assert surplus([*links, newest], links[0], VIEW, Random(0)) is None, "the unplaced count among no kind"


def test_a_peer_in_vain_hoped_near_goes_itself_unless_far_ones_are_wanted() -> None:
    links = links_of(NEAR, FAR + 1)
    newest = links[-1]
    newest.wanted_near = True
    assert surplus(links, newest, VIEW, Random(0)) is newest
    del links[NEAR]
    assert surplus(links, newest, VIEW, Random(0)) is None


@given(st.lists(st.tuples(st.sampled_from((True, False, None)), st.booleans()), max_size=80), st.integers(0, 2**32))
def test_whatever_comes_the_view_stays_within_its_limit(arrivals: list[tuple[bool | None, bool]], seed: int) -> None:
    rng = Random(seed)
    links: list[Link] = []
    for number, (near, hoped) in enumerate(arrivals):
        newest = Link(number, f"p{number}", True, "", 0.0, 0.0, greeted=True, near=near, wanted_near=hoped)
        links.append(newest)
        victim = surplus(links, newest, VIEW, rng)
        if victim is not None:
            links.remove(victim)
        kinds = Counter(link.near for link in links)
        assert kinds[False] <= FAR + SLACK
        assert kinds[True] <= NEAR + SLACK
        if newest.near is None:
            assert len(links) <= LINKS_MAX
