"""Reach: for whom a value is, from when and until when, as the options of `put` say it.

Knows the options, what they mean together, and the ranks by which kinds of variants win over
each other; which variant an agent reads is `store.resolution`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from ...model import entry as entries
from ...model.entry import BASIS_POINTS, Entry, MatchKind, MatchTerm, ValueType
from ...model.errors import InvalidInput
from ...model.key import check_variant
from ...model.limits import HALT_VOTES_MAX, PACE_MS_MAX, RANK_MAX
from ...model.version import Version
from ...store.resolution import NODE_LABEL
from ..instant import deadline_ms, now_ms
from ..item import Item
from ..lifetime import UNITS_MS, milliseconds
from ..see import activation

OVERRIDE: Final = "override"
"""The variant of `--for`."""
OVERRIDE_RANK: Final = RANK_MAX
CANARY_RANK: Final = 10_000
"""Of variants for a share of the nodes, or for some by name, if no other is given."""
LABEL_RANK: Final = 1_000
"""Of variants for whatever has a label: a canary is read before them."""
RANK_OWN_MIN: Final = activation.RANK_LAST + 1
RANK_OWN_MAX: Final = OVERRIDE_RANK - 1
"""What people may give: between what waits for its time, which is a value for all, and an override."""

VariantOption = Annotated[
    str | None,
    typer.Option("--variant", metavar="NAME", help="Publish a variant of the key, for those whom it matches."),
]
MatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        metavar="LABEL=VALUE",
        help="For agents with this label, or zone or node: a value, a pattern (zone=eu-*), or several (node=a,b). "
        "All that are given must hold.",
    ),
]
PercentOption = Annotated[
    str | None,
    typer.Option("--percent", metavar="N", help="For this share of the agents that match, 0.01 to 100, by their ids."),
]
SaltOption = Annotated[
    str | None,
    typer.Option(
        "--salt",
        metavar="TEXT",
        help="Which ones these are: another salt, other agents. Default: the variant's name, so that the canaries of "
        "one key are those of all.",
    ),
]
HaltAfterOption = Annotated[
    int | None,
    typer.Option(
        "--halt-after",
        metavar="VOTES",
        min=1,
        max=HALT_VOTES_MAX,
        help="Hold the variant off everywhere once so many agents have called it unhealthy (report-unhealthy).",
    ),
]
OverOption = Annotated[
    str | None,
    typer.Option(
        "--over",
        metavar="TIME",
        help="Let the percentage grow evenly from nothing over this time: 30m, 12h. To be given each time: without it "
        "the share is there at once.",
    ),
]
RankOption = Annotated[
    int | None,
    typer.Option(
        "--rank",
        metavar="N",
        min=RANK_OWN_MIN,
        max=RANK_OWN_MAX,
        help=f"Of several variants that match the highest is read. Default: {CANARY_RANK} with --percent or "
        f"--match node=…, else {LABEL_RANK}.",
    ),
]
TtlOption = Annotated[
    str | None, typer.Option("--ttl", metavar="TIME", help="The value expires so long from now: 90s, 15m, 12h, 30d.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="The value expires then: '2026-03-01 12:00' (UTC).")
]
ForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="A temporary override: read before all else, for so long; then agents fall back by themselves.",
    ),
]

DAY_MS: Final = UNITS_MS["d"]
_OF_LABELS: Final = frozenset({MatchKind.EQUAL, MatchKind.GLOB, MatchKind.ONE_OF})
_PERCENT: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,2}))?%?", re.ASCII)
_PATTERN: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Reach:
    """What the options say; what they leave open is as it is in the slot, or the usual.

    labels:  conditions but for the percentage; None if none is given
    share:   basis points, or None
    limit:   of votes that hold it off; None: as it is
    over_ms: in which the share grows; None: it is there at once
    """

    variant: str = ""
    labels: tuple[MatchTerm, ...] | None = None
    share: int | None = None
    salt: str | None = None
    rank: int | None = None
    limit: int | None = None
    over_ms: int | None = None
    expires_ms: int | None = None
    activation_ms: int | None = None

    def entry(self, item: Item, content: bytes, value_type: ValueType) -> Entry:
        """The put of a value to whom this says, over what is at `item`. Raises InvalidInput."""
        match, rank = self._whom(item)
        return entries.put(
            item.key,
            content,
            value_type,
            variant=self.variant,
            match=match,
            rank=rank,
            expires_ms=self.expires_ms,
        )

    def _whom(self, item: Item) -> tuple[Sequence[MatchTerm], int]:
        if not self.variant:
            return (), 0
        if self.activation_ms is not None:
            return (), activation.rank_at(item, self.activation_ms)
        before = None if self.variant == OVERRIDE else item.holds(self.variant)
        match = self._match(before)
        if self.variant == OVERRIDE:
            return match, OVERRIDE_RANK
        if not any(term.kind in _OF_LABELS or term.kind is MatchKind.PERCENT for term in match):
            raise InvalidInput(
                f"{item.key!r} has no variant {self.variant!r} yet, and it is not said for whom it is: add --match "
                "LABEL=VALUE or --percent N (--percent 100 for everybody)"
            )
        if self.rank is not None:
            return match, self.rank
        return match, usual_rank(match) if before is None else before.entry.rank

    def _match(self, before: Version | None) -> tuple[MatchTerm, ...]:
        terms = () if before is None else before.entry.match
        labels = self.labels
        if labels is None:
            labels = tuple(term for term in terms if term.kind in _OF_LABELS)
        limits = [term for term in terms if term.kind is MatchKind.HALT]
        if self.limit is not None:
            limits = [MatchTerm(MatchKind.HALT, "", self.limit)]
        shares = [term for term in terms if term.kind is MatchKind.PERCENT]
        if self.share is not None:
            salt = self.salt if self.salt is not None else shares[0].label if shares else self.variant
            shares = [MatchTerm(MatchKind.PERCENT, salt, self.share)]
        elif self.salt is not None and shares:
            shares = [MatchTerm(MatchKind.PERCENT, self.salt, shares[0].operand)]
        elif self.salt is not None:
            raise InvalidInput("--salt says which agents make up a percentage; add --percent N")
        if self.over_ms is not None and not shares:
            raise InvalidInput("--over says in what time a percentage grows; add --percent N")
        paces = [] if self.over_ms is None else [MatchTerm(MatchKind.PACE, "", self.over_ms)]
        return (*labels, *shares, *limits, *paces)


def reach_of(
    *,
    variant: str | None = None,
    match: Sequence[str] | None = None,
    percent: str | None = None,
    salt: str | None = None,
    rank: int | None = None,
    ttl: str | None = None,
    until: str | None = None,
    override: str | None = None,
    activate_at: str | None = None,
    halt_after: int | None = None,
    over: str | None = None,
) -> Reach:
    """What the options mean together. Raises BadParameter or InvalidInput for what does not fit."""
    chosen = [
        name
        for name, value in (("--variant", variant), ("--for", override), ("--activate-at", activate_at))
        if value is not None
    ]
    if len(chosen) > 1:
        raise typer.BadParameter(f"{chosen[0]} and {chosen[1]} are variants of their own; give one of them")
    if sum(one is not None for one in (ttl, until, override)) > 1:
        raise typer.BadParameter("--ttl, --until and --for each say when the value ends; give one of them")
    narrowing = match or percent is not None or salt is not None
    if narrowing and variant is None and override is None:
        raise typer.BadParameter("a value for some agents only needs a name: add --variant NAME, or --for TIME")
    if variant is None and (halt_after is not None or over is not None):
        raise typer.BadParameter("--halt-after and --over are a variant's; add --variant NAME")
    if rank is not None and variant is None:
        raise typer.BadParameter("--rank is a variant's; add --variant NAME")
    expires_ms = _expiry(ttl, until, override)
    if activate_at is not None:
        activation_ms = activation.whole_second(deadline_ms(activate_at, "--activate-at"))
        if expires_ms is not None and expires_ms <= activation_ms:
            raise InvalidInput("the value would expire before it is activated")
        return Reach(activation.variant_at(activation_ms), expires_ms=expires_ms, activation_ms=activation_ms)
    return Reach(
        OVERRIDE if override is not None else own_variant(variant),
        tuple(dict.fromkeys(map(term_of, match))) if match else None,
        None if percent is None else share_of(percent),
        salt,
        rank,
        halt_after,
        None if over is None else _pace_ms(over),
        expires_ms,
    )


def own_variant(name: str | None) -> str:
    """A name that people may give to a variant; "" for the default. Raises InvalidInput for what commands make."""
    if name is None:
        return ""
    if not check_variant(name):
        raise InvalidInput("a variant needs a name; without --variant it is the default")
    if name == OVERRIDE or name.startswith(activation.PREFIX):
        raise InvalidInput(
            f"variant {name!r}: {OVERRIDE!r} is made by --for, and what begins with {activation.PREFIX!r} by "
            "--activate-at; choose another name"
        )
    return name


def term_of(text: str) -> MatchTerm:
    """One `--match`. Raises InvalidInput."""
    label, separator, value = text.partition("=")
    if not separator or not label:
        raise InvalidInput(f"--match is {text!r}; write LABEL=VALUE, such as zone=eu-*, service=checkout or node=a,b")
    values = sorted(set(value.split(",")))
    if not _PATTERN.search(value):
        kind = MatchKind.EQUAL if len(values) == 1 else MatchKind.ONE_OF
        return MatchTerm(kind, label, tuple(values))
    if len(values) > 1:
        raise InvalidInput(f"--match is {text!r}; a pattern stands alone: give each its own variant")
    return MatchTerm(MatchKind.GLOB, label, (value,))


def share_of(text: str) -> int:
    """A percentage with at most two decimals, as basis points. Raises InvalidInput."""
    found = _PERCENT.fullmatch(text)
    share = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else 0
    if not 0 < share <= BASIS_POINTS:
        raise InvalidInput(f"--percent is {text!r}; write a number from 0.01 to 100, with at most two decimals")
    return share


def _pace_ms(text: str) -> int:
    pace_ms = milliseconds(text, "--over")
    if pace_ms > PACE_MS_MAX:
        raise InvalidInput(f"--over is {text!r}; a share grows within {PACE_MS_MAX // DAY_MS} days at most")
    return pace_ms


def usual_rank(match: Sequence[MatchTerm]) -> int:
    """The rank of a new variant to which nobody gives one."""
    is_canary = any(term.kind is MatchKind.PERCENT or term.label == NODE_LABEL for term in match)
    return CANARY_RANK if is_canary else LABEL_RANK


def _expiry(ttl: str | None, until: str | None, override: str | None) -> int | None:
    for text, option in ((ttl, "--ttl"), (override, "--for")):
        if text is not None:
            return now_ms() + milliseconds(text, option)
    return None if until is None else deadline_ms(until, "--until")
