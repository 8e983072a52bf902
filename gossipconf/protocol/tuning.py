"""Tuning: what of the protocol's pace sensibly differs from place to place, as three frozen records.

Each tunable carries its meaning, unit, formula and trade-off, from which docs/settings.md
is made. Nodes of one cluster may have different presets: no tunable is part of the wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Tunable:
    """What is known of a tunable.

    meaning:    what it is
    unit:       of its value
    formula:    what it bounds and what it costs
    trade_off:  what less of it gives, and what more
    """

    meaning: str
    unit: str
    formula: str
    trade_off: str


def _tunable(meaning: str, unit: str, *, formula: str, trade_off: str) -> Any:
    return field(metadata={"tunable": Tunable(meaning, unit, formula, trade_off)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The pace of one node. Each field's meaning, formula and trade-off is in its metadata; see `tunables`."""

    near_links: int = _tunable(
        "links that a node looks for inside its own zone",
        "links",
        formula="Where there is one zone only, k = near_links + far_links / 2 of them. A change is at all N nodes of a "
        "zone after about ⌈log N / log (k + 1)⌉ hops and at most 2 more. Of each kind a node accepts 4 links more, so "
        "that newcomers find room.",
        trade_off="More: fewer hops, and half of a zone may vanish at once without parting the rest. Fewer: fewer "
        "connections, keepalives and announcements.",
    )
    far_links: int = _tunable(
        "links that a node looks for in other zones, at random; twice as many in a zone of fewer than 60 nodes",
        "links",
        formula="A zone of n nodes has about n × far_links ways out, of which a change takes the fastest few.",
        trade_off="More: zones stay connected, and a change finds shorter ways across. Fewer: less to learn from, and "
        "fewer messages.",
    )
    keepalive_s: float = _tunable(
        "a link on which nothing was heard for so long is pinged",
        "seconds",
        formula="A machine that vanishes is noticed after keepalive_s × silences_max, and 1.25 × refill_s at most. "
        "(A process that dies on a machine that lives is noticed at once.) At rest a node receives k × 29 B "
        "/ keepalive_s in TLS records for k links.",
        trade_off="Less: dead machines are noticed sooner. More: fewer wake-ups and bytes, and a link that loses much "
        "is not closed for nothing.",
    )
    silences_max: int = _tunable(
        "keepalives without a sign of life after which a link is closed",
        "keepalives",
        formula="See keepalive_s. TCP repeats a lost segment after about 0.2, 0.6, 1.4, 3, 6.2, 12.6 and 25.4 s: a "
        "link lives if one of those within keepalive_s × (silences_max − 1) arrives.",
        trade_off="Less: dead machines are noticed sooner, without more bytes. More: stalls of a network or of a "
        "paused machine are sat out.",
    )
    refill_s: float = _tunable(
        "pause before links are counted again, and lost ones replaced",
        "seconds",
        formula="A lost link is replaced after 0.75 to 1.25 × refill_s and a dial's three round trips. A node looks "
        "at its links 1 / refill_s times a second at most, and only while something is due.",
        trade_off="Less: sooner repair. More: links that end together are looked at together, when it is known who "
        "else is gone.",
    )
    dial_s: float = _tunable(
        "limit for opening a link: TCP and TLS together",
        "seconds",
        formula="Three round trips must fit, and TCP's wait where a segment is lost: 1 s for the first once, 3 s for "
        "it twice. An address where nothing answers holds one of the k places for so long.",
        trade_off="Less: more addresses are tried in a time. More: peers behind slow or lossy ways are reached.",
    )
    retry_cap_s: float = _tunable(
        "longest pause before an address where a node was met is dialled again",
        "seconds",
        formula="A node that has room finds a peer again dial_s + retry_cap_s + 1.25 × refill_s after it can be "
        "reached, at most. n such peers cost n / (0.75 × retry_cap_s) dials a second.",
        trade_off="Less: healed partitions are found sooner. More: fewer dials into the void.",
    )
    shuffle_s: float = _tunable(
        "how often some addresses are told to one random peer",
        "seconds",
        formula="Costs about 32 addresses × 20 B / shuffle_s at each node. In a time of shuffle_s × log₂ N news of "
        "an address can reach a cluster of N nodes.",
        trade_off="Less: address books follow moving nodes sooner. More: fewer bytes and wake-ups.",
    )
    compare_s: float = _tunable(
        "how often the two ends of a link compare their fingerprints",
        "seconds",
        formula="What no broadcast has brought is found after about compare_s / (k + 1) by one of k links, and "
        "after 1.25 × compare_s at most. Costs k × 50 B / compare_s in TLS records at each node.",
        trade_off="Less: a missed change is repaired sooner. More: fewer bytes and wake-ups.",
    )
    roster_members: int = _tunable(
        "members up to which a node keeps a roster of all; in a larger cluster it lists its neighbours, and whoever "
        "wants to know asks",
        "members",
        formula="A roster of N members takes about 1 kB × N of memory, and when all N start at once each node is told "
        "of all, twice on average: 2 N × 150 B. At rest it costs about 20 B a second, whatever N. At most 2,000.",
        trade_off="Less: cheaper starts of large clusters. More: `status` of any agent shows every member.",
    )
    batching_s: float = _tunable(
        "how long changes are collected before they are passed on together; 0: each is passed on at once",
        "seconds",
        formula="A delivery takes up to batching_s longer for each node on its way that collects. Of r changes a "
        "second, where r × batching_s is above 1, about 1 / (r × batching_s) of the messages are sent.",
        trade_off="Less: lowest latency. More: fewer messages where very many changes are published all the time.",
    )


LAN: Final = Tuning(
    near_links=6,
    far_links=4,
    keepalive_s=5.0,
    silences_max=3,
    refill_s=0.3,
    dial_s=3.0,
    retry_cap_s=3.0,
    shuffle_s=30.0,
    compare_s=10.0,
    roster_members=2_000,
    batching_s=0.0,
)
"""One site, or a few that are near; works everywhere, and is the default."""
WAN: Final = Tuning(
    near_links=6,
    far_links=4,
    keepalive_s=10.0,
    silences_max=3,
    refill_s=0.3,
    dial_s=3.0,
    retry_cap_s=3.0,
    shuffle_s=60.0,
    compare_s=30.0,
    roster_members=2_000,
    batching_s=0.0,
)
"""Regions around the world, with zones named: patient with loss, sparing between regions."""
LOCAL: Final = Tuning(
    near_links=6,
    far_links=4,
    keepalive_s=1.0,
    silences_max=3,
    refill_s=0.1,
    dial_s=1.0,
    retry_cap_s=0.5,
    shuffle_s=5.0,
    compare_s=2.0,
    roster_members=2_000,
    batching_s=0.0,
)
"""Agents on one machine: tests and demonstrations, where to wait is dearer than to wake up."""

PRESETS: Final = {"lan": LAN, "wan": WAN, "local": LOCAL}
DEFAULT_PRESET: Final = "lan"


def tunables() -> Iterator[tuple[Field[Any], Tunable]]:
    """Every tunable, in order, with what is known of it."""
    for one in fields(Tuning):
        yield one, one.metadata["tunable"]
