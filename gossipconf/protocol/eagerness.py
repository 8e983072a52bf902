"""Eagerness: over which far links a peer pushes at once, learned for each link and zone of origin.

Across zones a change should come once, over the link that brings it first. Which one that
is depends on where it was published, so each node keeps for each far link and each zone
of origin how often that link has won lately, asks the winners to push (graft) and the
others to announce only (prune). A Plumtree (J. Leitão, J. Pereira, L. Rodrigues,
"Epidemic broadcast trees", 2007) with a memory; why it is this one and not a tree for
each origin: docs/decisions/011.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from ..model.encoding import as_array, as_int, encode, unpack
from ..model.errors import InvalidInput
from . import fields
from .messages import GRAFT_ZONES_MAX
from .zone import TAG_MAX, ZoneTag

GAIN: Final = 0.1
"""Weight of the newest outcome in a link's score: about the last twenty count."""
GAIN_FIRST: Final = 0.5
"""Weight of the very first outcome; it falls to GAIN as outcomes come in, so that a new link is judged in a few."""
SCORE_FIRST: Final = 0.15
"""Score of a link of which nothing is known."""
PRUNE_BELOW: Final = 0.06
"""A link that wins less often is asked to announce only."""
GRAFT_ABOVE: Final = 0.3
"""One that would have won more often is asked to push. Far above PRUNE_BELOW, so that chance moves nobody."""
SCORE_GRAFTED: Final = 0.39
"""Score of a link that was just grafted, at least: it stays for some outcomes."""
EAGER_SHARE: Final = 0.25
"""Share of new far links that are asked to push everything at first, once a node has others that do."""
SETTLED_OUTCOMES: Final = 10
"""Outcomes that a score from before a restart counts for: it is not overturned by one."""
SAVED_LEARNED: Final = "eagerness"
"""Name under which the journal keeps what was learned of far links."""
SAVED_PEERS_MAX: Final = 256
"""Peers of whom that is read: more than a node ever has links with."""
LEARNED: Final = 50
"""Outcomes after which a node has links that it can rely on; before, every far link is asked to push."""


@dataclass(slots=True)
class Score:
    """What is known of one link and zone of origin: how often it wins, how many outcomes tell so, and whether the peer
    was asked to push."""

    wins: float
    outcomes: int
    eager_in: bool


@dataclass(slots=True)
class Eagerness:
    """Both directions of one far link.

    eager_in:   whether this node has asked for pushes from zones that are not in ``scores``
    eager_out:  whether the peer has
    outgoing:   zones for which the peer has asked otherwise
    """

    eager_in: bool
    eager_out: bool = False
    scores: dict[ZoneTag, Score] = field(default_factory=dict)
    outgoing: dict[ZoneTag, bool] = field(default_factory=dict)

    def pushes(self, zone: ZoneTag) -> bool:
        """Whether the peer wants what comes from ``zone`` pushed."""
        return self.outgoing.get(zone, self.eager_out)

    def asked(self, zones: Iterable[ZoneTag], *, eager: bool) -> None:
        """The peer has grafted or pruned ``zones``, or all if it has named none."""
        named = tuple(zones)
        if not named:
            self.eager_out = eager
            self.outgoing.clear()
        for zone in named:
            if zone in self.outgoing or len(self.outgoing) < GRAFT_ZONES_MAX:
                self.outgoing[zone] = eager

    def score(self, zone: ZoneTag, *, won: bool) -> bool | None:
        """Note whether this link would have brought a change from ``zone`` first.

        Returns True if the peer should be asked for pushes now, False if for announcements only, else None; whoever
        does so tells by `asked_for`.
        """
        score = self._score(zone)
        gain = max(GAIN, GAIN_FIRST / (1 + score.outcomes))
        score.outcomes += 1
        score.wins += gain * (won - score.wins)
        return self._judge(score)

    def discredit(self, zone: ZoneTag) -> bool | None:
        """A near peer has had it at the same time over a link of its own: one of the two is too many."""
        score = self._score(zone)
        score.wins -= GAIN
        return self._judge(score)

    def asked_for(self, zone: ZoneTag, *, eager: bool) -> None:
        """The peer has been asked to push what comes from ``zone``, or to announce it only."""
        score = self._score(zone)
        score.eager_in = eager
        if eager:
            score.wins = max(score.wins, SCORE_GRAFTED)

    def is_asked_for(self, zone: ZoneTag) -> bool:
        """Whether the peer pushes what comes from ``zone``, as far as it has been asked."""
        score = self.scores.get(zone)
        return self.eager_in if score is None else score.eager_in

    def asked_otherwise(self) -> tuple[ZoneTag, ...]:
        """The zones for which the peer is asked for the other thing than for most."""
        return tuple(zone for zone, score in self.scores.items() if score.eager_in != self.eager_in)

    def afresh(self) -> Eagerness:
        """The same for a new link: what this node has learned, and nothing asked by the peer."""
        return Eagerness(self.eager_in, scores={zone: replace(score) for zone, score in self.scores.items()})

    def wins(self, zone: ZoneTag) -> float:
        """How often this link wins, of what comes from ``zone``."""
        score = self.scores.get(zone)
        return SCORE_FIRST if score is None else score.wins

    def _score(self, zone: ZoneTag) -> Score:
        score = self.scores.get(zone)
        if score is None:
            score = Score(SCORE_FIRST, 0, self.eager_in)
            if len(self.scores) < GRAFT_ZONES_MAX:
                self.scores[zone] = score
        return score

    def _judge(self, score: Score) -> bool | None:
        if score.eager_in:
            return False if score.wins < PRUNE_BELOW else None
        return True if score.wins > GRAFT_ABOVE else None


def wants_pushes_at_first(outcomes: int, far_links: int, rng: Random) -> bool:
    """Whether to ask a new far link for pushes of everything."""
    return outcomes < LEARNED or far_links < 2 or rng.random() < EAGER_SHARE


# -- over a restart -------------------------------------------------------------------------------


def encode_learned(learned: Mapping[str, Eagerness]) -> bytes:
    """What is learned of each peer, by its name, as it is saved."""
    return encode(
        [
            [
                name,
                one.eager_in,
                [[zone, round(1000 * score.wins), score.eager_in] for zone, score in one.scores.items()],
            ]
            for name, one in learned.items()
        ]
    )


def decode_learned(data: bytes | None) -> dict[str, Eagerness]:
    """What was saved; nothing for what cannot be read: it is learned again. Peers ask anew for what they want."""
    if data is None:
        return {}
    try:
        saved = as_array(unpack(data), "what was learned of peers", length_max=SAVED_PEERS_MAX)
        return dict(_decode_peer(one) for one in saved)
    except InvalidInput:
        return {}


def _decode_peer(value: Any) -> tuple[str, Eagerness]:
    name, eager_in, scores = as_array(value, "a peer", 3)
    known = Eagerness(fields.flag(eager_in))
    for one in as_array(scores, "the scores of a peer", length_max=GRAFT_ZONES_MAX):
        zone, wins, asked = as_array(one, "a score", 3)
        score = Score(as_int(wins, "a score", -1000, 1000) / 1000, SETTLED_OUTCOMES, fields.flag(asked))
        known.scores[as_int(zone, "a zone's tag", 0, TAG_MAX)] = score
    return fields.node_id(name), known
