"""Waiting after a publish until enough agents have applied it: `--wait` of all commands that publish.

Knows what may be waited for and how that is shown. Who has applied a change is counted by the
agents (see ``acks``), and none of it is signed.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Final

import typer

from ...model.change import Change
from ...model.errors import InvalidInput
from ...model.key import covers
from ...protocol.tally import ZONES_MAX
from .. import exits
from ..lifetime import timeout_s
from ..output import count, escaped, note, say, stderr
from ..replies import Tally
from ..session import Session
from .acks import print_stragglers, summary

WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="all|95%|zone=ZONE|N",
        help="Then wait until all agents that are connected have applied it, such a share of them, all in a zone "
        "(eu is eu/a too), or so many; exit 5 if the time is over first.",
    ),
]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long --wait waits: 500ms, 30s, 5m.")]
TIMEOUT: Final = "30s"
_SHARE: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,7}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for, in words (`text`) and as one of: `share` of all agents, `number` of them, all in `zone`."""

    text: str
    share: Fraction | None = None
    number: int | None = None
    zone: str | None = None

    @classmethod
    def parse(cls, text: str) -> Goal:
        """What `all`, `95%`, `zone=eu` or `12` asks for. Raises InvalidInput."""
        if text == "all":
            return cls(text, share=Fraction(1))
        if text.startswith("zone=") and text != "zone=":
            return cls(text, zone=text.removeprefix("zone=").removesuffix("/"))
        if (found := _SHARE.fullmatch(text)) and 0 < Fraction(found[1]) <= 100:
            return cls(text, share=Fraction(found[1]) / 100)
        if _NUMBER.fullmatch(text) and int(text):
            return cls(text, number=int(text))
        raise InvalidInput(f"--wait is {text!r}; write all, a share such as 95%, zone=eu, or a number of agents")

    def counts(self, tally: Tally) -> tuple[int, int]:
        """How many agents that matter have applied it, and how many must."""
        if self.number is not None:
            return tally.applied, self.number
        if self.zone is not None:
            mine = [(applied, total) for zone, applied, total in tally.zones if covers(self.zone, zone)]
            return sum(applied for applied, _ in mine), sum(total for _, total in mine)
        assert self.share is not None
        return tally.applied, -(-tally.total * self.share.numerator // self.share.denominator)

    def is_reached(self, tally: Tally) -> bool:
        """Whether enough have applied it. Shares and zones are of all that are connected: all must have answered."""
        have, wanted = self.counts(tally)
        return wanted > 0 and have >= wanted and (self.number is not None or tally.complete)


@dataclass(frozen=True, slots=True)
class Wait:
    """A goal, and for how long to wait for it, in seconds."""

    goal: Goal
    timeout_s: float

    @classmethod
    def of(cls, goal: str | None, timeout: str) -> Wait | None:
        """What the two options mean; None if nobody is waited for. Raises InvalidInput."""
        seconds = timeout_s(timeout)
        return None if goal is None else cls(Goal.parse(goal), seconds)

    def until_reached(self, session: Session, change_id: bytes) -> Tally:
        """The tally that reaches the goal, or the last one; until then a bar, if stderr is a terminal."""
        return self.watched(session, session.acks(change_id.hex(), self.timeout_s))

    def watched(self, session: Session, tallies: Generator[Tally, None, None]) -> Tally:
        """As `until_reached`, of tallies that somebody has asked for."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415 - few commands wait

        console = stderr()
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with (
            closing(tallies),  # who has enough hangs up
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task(f"applied, waiting for {escaped(self.goal.text)}", total=None)
            tally = Tally(0, 0, False, (), (), False, ())
            for tally in tallies:
                have, wanted = self.goal.counts(tally)
                progress.update(task, completed=min(have, wanted), total=max(wanted, 1))
                if self.goal.is_reached(tally):
                    break
        return tally

    def finish(self, session: Session, change: Change) -> None:
        """Wait for a change that was published, and say how that ended. Raises Exit(INCOMPLETE) if the time was over.

        The change stays published, and goes on spreading.
        """
        tally = self.until_reached(session, change.id)
        if not self.goal.is_reached(tally):
            self.say_missed(session, tally)
            raise typer.Exit(exits.INCOMPLETE)
        self.say_reached(session, tally)

    def say_reached(self, session: Session, tally: Tally) -> None:
        """One line, and a note of those whom nobody could count."""
        if self.goal.zone is None:
            say(summary(session.node, tally))
        else:
            have, _ = self.goal.counts(tally)
            verb = "has" if have == 1 else "have"
            say(f"all of {count(have, 'agent')} in {escaped(self.goal.zone)} {verb} applied it")
        away = [
            member.node
            for member in session.status().members
            if member.state == "silent" and (self.goal.zone is None or covers(self.goal.zone, member.zone))
        ]
        if away and self.goal.number is None:
            note(f"note: {count(len(away), 'agent')} silent and not counted: {', '.join(map(escaped, away))}")

    def say_missed(self, session: Session, tally: Tally) -> None:
        """How far it got, and the stragglers."""
        have, wanted = self.goal.counts(tally)
        if self.goal.zone is None:
            say(f"{summary(session.node, tally)}; wanted: {escaped(self.goal.text)}")
        elif wanted == 0:
            others = ", ".join(escaped(zone) for zone, _, _ in tally.zones) or "none"
            full = f"; only {ZONES_MAX} zones are counted" if len(tally.zones) == ZONES_MAX else ""
            say(f"no agent that is connected is in zone {escaped(self.goal.zone)}; zones: {others}{full}")
            return
        else:
            say(f"{have:,} of {count(wanted, 'agent')} in {escaped(self.goal.zone)} have applied it")
        print_stragglers(self._of_the_zone(session, tally))

    def _of_the_zone(self, session: Session, tally: Tally) -> Tally:
        """The tally with those stragglers only that may be in the zone that is waited for."""
        zone = self.goal.zone
        if zone is None:
            return tally
        elsewhere = {one.node for one in session.status().members if not covers(zone, one.zone)}
        have, wanted = self.goal.counts(tally)
        return replace(
            tally,
            applied=have,
            total=wanted,
            missing=tuple(name for name in tally.missing if name not in elsewhere),
            silent=tuple(name for name in tally.silent if name not in elsewhere),
        )
