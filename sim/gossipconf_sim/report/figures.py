"""Figures: those of a result with their names, units and meanings for people. One table for all pages."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from math import isclose
from typing import Final

from ..run.result import Result, Spread
from .quantities import NONE, duration, number, share, size


class Unit(enum.Enum):
    """What a figure counts."""

    NUMBER = "number"
    SHARE = "share"
    TIME_MS = "ms"
    TIME_S = "s"
    BYTES = "bytes"
    BYTES_PER_S = "bytes/s"
    MIB = "MiB"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a result.

    name:     as in the result, and so in JSON
    meaning:  half a sentence that stands alone
    none:     what it means that there is no value
    """

    name: str
    label: str
    unit: Unit
    meaning: str
    none: str = NONE


SPREADS: Final = (
    Figure("last_delivery_ms", "last delivery", Unit.TIME_MS, "publish until the last node has it"),
    Figure("delivery_ms", "each delivery", Unit.TIME_MS, "publish until one node has it"),
    Figure("visible_ms", "last read", Unit.TIME_MS, "until the last node's readers see it"),
    Figure("hops", "hops", Unit.NUMBER, "links crossed by pushed first copies"),
)
"""Figures with a median, a 99th percentile and a maximum."""

VALUES: Final = (
    Figure("delivered_fraction", "delivered", Unit.SHARE, "of all changes, to all nodes up since their publish"),
    Figure("payload_copies_per_node", "copies", Unit.NUMBER, "of a change that arrive at a node, the first included"),
    Figure("duplicates_per_node", "duplicates", Unit.NUMBER, "of these that were not the first"),
    Figure("cross_zone_copies_per_change", "cross-zone copies", Unit.NUMBER, "of a change, from one zone to another"),
    Figure("messages_per_change_per_node", "messages", Unit.NUMBER, "that a node sends for a change, of all kinds"),
    Figure(
        "messages_per_operation",
        "messages/operation",
        Unit.NUMBER,
        "that all nodes send, by changes and reads",
    ),
    Figure("bytes_per_node_per_change", "bytes", Unit.BYTES, "that a node sends for a change, in frames, before TLS"),
    Figure("idle_bytes_per_node_per_s", "idle", Unit.BYTES_PER_S, "that a node sends at rest, at the end"),
    Figure(
        "joined_s",
        "joined",
        Unit.TIME_S,
        "from the last start until all were linked and equal",
        none="never",
    ),
    Figure(
        "convergence_ms",
        "convergence",
        Unit.TIME_MS,
        "from the last fault or publish, the later, until all were equal",
        none="never",
    ),
)
"""Figures of one value, of what was simulated."""

COSTS: Final = (
    Figure("events", "events", Unit.NUMBER, "arrivals, timers, writes and dials simulated"),
    Figure("virtual_s", "virtual time", Unit.TIME_S, "that passed in the simulated world"),
    Figure("wall_s", "real time", Unit.TIME_S, "that it took here"),
    Figure("events_per_s", "speed", Unit.NUMBER, "events by second of real time"),
    Figure("peak_rss_mib", "memory", Unit.MIB, "of this process at its largest"),
)
"""Figures of the simulation itself."""

IDENTITIES: Final = (
    Figure("scenario", "scenario", Unit.TEXT, "name of what was simulated"),
    Figure("nodes", "nodes", Unit.NUMBER, "hosts, with one node each"),
    Figure("seed", "seed", Unit.TEXT, "from which all chance of the run comes"),
    Figure("changes", "changes", Unit.NUMBER, "measured, which were acknowledged; the warm-up is left out"),
    Figure("unpublished", "unpublished", Unit.NUMBER, "refused, or lost with their agent before it answered"),
    Figure("trace_sha256", "trace", Unit.TEXT, "hash over every input of every node: equal runs have equal ones"),
)
"""What was run."""

CLASSES: Final = {
    "control": "hellos, keepalives, who is there",
    "broadcast": "new changes, announcements, pulls",
    "ack": "who has which state",
    "sync": "comparing, and what was missing",
}
"""Of each frame class, what it carries."""

VIOLATIONS: Final = Figure("violations", "violations", Unit.NUMBER, "of invariants, found by the checkers")
MISSING_BYTES: Final = Figure(
    "repair.missing_bytes", "repair, missing", Unit.BYTES, "that nodes lacked of changes at the end of the faults"
)
REPAIR_BYTES: Final = Figure("repair.bytes", "repair, sent", Unit.BYTES, "from then until all were equal")

FIRST_LINK: Final = Figure("joining.first_link_s", "first link", Unit.TIME_S, "a node's last start until it had a link")
UNLINKED: Final = Figure(
    "joining.unlinked", "unlinked", Unit.NUMBER, "nodes that have had no link since their last start"
)
SEED_HANDSHAKES: Final = Figure(
    "joining.seed_handshakes_per_s_max", "handshakes", Unit.NUMBER, "that one seed admitted within a second, at most"
)
SEED_REFUSALS: Final = Figure("joining.seed_refusals", "seeds' refusals", Unit.NUMBER, "of dials, too many at once")

ACK_FIGURES: Final = (
    Figure("acks.ack_ms", "all known", Unit.TIME_MS, "publish until somebody who asks knows that all have applied it"),
    Figure("acks.by_delivery", "  by delivery", Unit.NUMBER, "the same by the change's last delivery"),
)
"""Spreads of questions."""
CANARY_HALT: Final = Figure("canary.halt_ms", "halted", Unit.TIME_MS, "from the vote that made the limit, at all nodes")
CANARY_LIMIT: Final = Figure(
    "canary.limit_s", "limit reached", Unit.TIME_S, "from the canary's publish until as many votes"
)
CANARY_AT_LIMIT: Final = Figure("canary.applied_at_limit", "  read it by then", Unit.SHARE, "of all nodes")
CANARY_APPLIED: Final = Figure("canary.applied", "  read it ever", Unit.SHARE, "of all nodes")
CANARY_HALTED: Final = Figure("canary.halted", "  hold it off", Unit.SHARE, "of all nodes, at the end")
ACK_ANSWERED: Final = Figure("acks.answered", "answered", Unit.SHARE, "of the questions who has applied a change")
ACK_BYTES: Final = Figure("acks.bytes_per_node", "bytes/question", Unit.BYTES, "that a node receives for a question")
ACK_LINK_BYTES: Final = Figure("acks.link_bytes_max", "bytes/link", Unit.BYTES, "of one question on one link, at most")

EPOCH_FIGURES: Final = (
    Figure("epochs.switch_ms", "switched", Unit.TIME_MS, "a stage's last ack until its last participant has switched"),
    Figure("epochs.fence_ms", "fenced", Unit.TIME_MS, "a stage's first ack until then"),
)
"""Spreads of stages."""
EPOCHS_COMMITTED: Final = Figure("epochs.committed", "committed", Unit.NUMBER, "stages of a strict prefix")
EPOCHS_ABORTED: Final = Figure("epochs.aborted", "aborted", Unit.NUMBER, "stages of a strict prefix")


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its values as text: one, or those of a spread."""

    figure: Figure
    cells: tuple[str, ...]


def spread_rows(result: Result) -> list[Row]:
    """The spreads that there are."""
    rows = []
    for figure in SPREADS:
        spread = getattr(result, figure.name)
        if spread is not None:
            rows.append(Row(figure, spread_cells(figure, spread)))
    if result.joining.seed_handshakes and result.joining.first_link_s is not None:
        rows.append(Row(FIRST_LINK, spread_cells(FIRST_LINK, result.joining.first_link_s)))
    if result.acks is not None:
        for figure, spread in zip(ACK_FIGURES, (result.acks.ack_ms, result.acks.by_delivery), strict=True):
            if spread is not None:
                rows.append(Row(figure, spread_cells(figure, spread)))
    if result.canary is not None and result.canary.halt_ms is not None:
        rows.append(Row(CANARY_HALT, spread_cells(CANARY_HALT, result.canary.halt_ms)))
    if result.epochs is not None and result.epochs.switch_ms is not None and result.epochs.fence_ms is not None:
        spreads = (result.epochs.switch_ms, result.epochs.fence_ms)
        rows += [Row(one, spread_cells(one, spread)) for one, spread in zip(EPOCH_FIGURES, spreads, strict=True)]
    return rows


def spread_cells(figure: Figure, spread: Spread) -> tuple[str, ...]:
    """Median, 99th percentile and maximum as text."""
    return tuple(shown(figure, value) for value in dataclasses.astuple(spread))


def value_rows(result: Result) -> list[Row]:
    """The single values, bytes followed by their classes; what does not apply is left out."""
    rows = []
    for figure in VALUES:
        value = getattr(result, figure.name)
        if (value is None and figure.none == NONE) or _says_nothing(figure, result):
            continue
        rows.append(Row(figure, (shown(figure, value),)))
        if figure.name == "bytes_per_node_per_change":
            rows += class_rows(result)
    if result.repair is not None:
        rows.append(Row(MISSING_BYTES, (size(result.repair.missing_bytes),)))
        rows.append(Row(REPAIR_BYTES, (size(result.repair.bytes),)))
    rows += joining_rows(result)
    rows += ack_rows(result)
    rows += canary_rows(result)
    rows += epoch_rows(result)
    rows.append(Row(VIOLATIONS, (number(len(result.violations)),)))
    return rows


def joining_rows(result: Result) -> list[Row]:
    """The single values of joining, where anybody came by a seed."""
    joining = result.joining
    if not joining.seed_handshakes:
        return []
    return [
        Row(UNLINKED, (number(joining.unlinked),)),
        Row(SEED_HANDSHAKES, (number(joining.seed_handshakes_per_s_max),)),
        Row(SEED_REFUSALS, (number(joining.seed_refusals),)),
    ]


def ack_rows(result: Result) -> list[Row]:
    """The single values of questions, where somebody asks."""
    acks = result.acks
    if acks is None or not acks.asked:
        return []
    return [
        Row(ACK_ANSWERED, (share(acks.answered / acks.asked),)),
        Row(ACK_BYTES, (shown(ACK_BYTES, acks.bytes_per_node),)),
        Row(ACK_LINK_BYTES, (size(acks.link_bytes_max),)),
    ]


def canary_rows(result: Result) -> list[Row]:
    """The single values of a bad canary, where there is one."""
    canary = result.canary
    if canary is None:
        return []
    return [
        Row(CANARY_LIMIT, ("never" if canary.limit_s is None else shown(CANARY_LIMIT, canary.limit_s),)),
        Row(CANARY_AT_LIMIT, (share(canary.applied_at_limit),)),
        Row(CANARY_APPLIED, (share(canary.applied),)),
        Row(CANARY_HALTED, (share(canary.halted),)),
    ]


def epoch_rows(result: Result) -> list[Row]:
    """The single values of stages, where there are some."""
    found = result.epochs
    if found is None:
        return []
    return [Row(EPOCHS_COMMITTED, (number(found.committed),)), Row(EPOCHS_ABORTED, (number(found.aborted),))]


def _says_nothing(figure: Figure, result: Result) -> bool:
    """Whether this run cannot have anything to tell by it: no zones, no start to wait for, no reads."""
    match figure.name:
        case "cross_zone_copies_per_change" | "joined_s":
            return bool(getattr(result, figure.name) == 0)
        case "messages_per_operation":
            by_change = (result.messages_per_change_per_node or 0.0) * result.nodes
            return isclose(result.messages_per_operation or 0.0, by_change)
        case _:
            return False


def class_rows(result: Result) -> list[Row]:
    """The bytes of each frame class, by node and change as the bytes above them."""
    operations = result.nodes * result.changes
    rows = []
    for name, byte_count in result.bytes_by_class.items():
        figure = Figure(
            f"bytes_by_class.{name} / nodes / changes", f"  {name}", Unit.BYTES, f"of these: {CLASSES.get(name, name)}"
        )
        rows.append(Row(figure, (size(byte_count / operations) if operations else NONE,)))
    return rows


def cost_rows(result: Result) -> list[Row]:
    """What the simulation took."""
    return [Row(figure, (shown(figure, getattr(result, figure.name)),)) for figure in COSTS]


def identity_rows(result: Result) -> list[Row]:
    """What was run."""
    return [Row(figure, (shown(figure, getattr(result, figure.name)),)) for figure in IDENTITIES]


def shown(figure: Figure, value: float | str | None) -> str:
    """A value as text with its unit."""
    if value is None:
        return figure.none
    if isinstance(value, str) or figure.unit is Unit.TEXT:
        return str(value)
    match figure.unit:
        case Unit.SHARE:
            return share(value)
        case Unit.TIME_MS:
            return duration(value / 1000)
        case Unit.TIME_S:
            return duration(value)
        case Unit.BYTES:
            return size(value)
        case Unit.BYTES_PER_S:
            return f"{size(value)}/s"
        case Unit.MIB:
            return f"{number(value)} MiB"
        case _:
            return number(value)
