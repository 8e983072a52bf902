"""Zones: what of a label counts, tags that never stand for nothing, and round trips that are near."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.protocol.zone import FAR_RTT_S, NEAR_RTT_S, TAG_MAX, is_near_rtt, region, tag_of

labels = st.text(max_size=20)


@pytest.mark.parametrize(
    ("label", "of_region"),
    [("", ""), ("eu-west", "eu-west"), ("eu-west/a", "eu-west"), ("eu-west/a/rack 7", "eu-west"), ("/a", "")],
)
def test_what_lies_below_a_region_is_near_enough(label: str, of_region: str) -> None:
    assert region(label) == of_region
    assert tag_of(label) == tag_of(of_region)


@given(labels)
def test_every_region_has_a_tag_and_no_region_has_none(label: str) -> None:
    assert (tag_of(label) != 0) == (region(label) != "")
    assert 0 <= tag_of(label) <= TAG_MAX


def test_tags_are_the_same_everywhere() -> None:
    """Nodes of any version must agree on them: they are saved, and told."""
    assert (tag_of("eu-west/a"), tag_of("us-east")) == (0xC3B6B924, 0x6C4727E7)


@pytest.mark.parametrize("was_near", [None, False])
def test_a_short_round_trip_makes_a_peer_near(was_near: bool | None) -> None:
    assert is_near_rtt(NEAR_RTT_S, was_near=was_near)
    assert not is_near_rtt(1.01 * NEAR_RTT_S, was_near=was_near)


def test_a_near_peer_stays_near_through_a_busy_moment() -> None:
    assert is_near_rtt(FAR_RTT_S, was_near=True)
    assert not is_near_rtt(1.01 * FAR_RTT_S, was_near=True)
