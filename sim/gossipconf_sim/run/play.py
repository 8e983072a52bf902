"""Play a scenario: build the world, let it join, publish and suffer, wait until it has healed, and take the figures."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

from gossipconf.protocol.frames import FrameClass
from gossipconf.protocol.node import Node
from gossipconf.store.live_set import LiveSet

from ..scenario.scenario import Scenario
from ..world.stage import STOPPING_LOOK_S, Mark, Stage
from ..world.trace import TraceFile
from ..world.world import MakeNode, World
from .building import build, earlier_links
from .checkers import violations
from .epochs import epochs
from .joining import joining
from .meter import Meter, Tracked
from .moments import moments
from .publisher import Publisher, Traffic, honest_traffic
from .questions import Questions
from .result import Repair, Result, Spread
from .rollout import BadCanary

JOIN_STEP_S: Final = 0.25
"""How often it is looked whether all have joined."""
LAST_COPIES_S: Final = 1.0
"""How long the last duplicates and writes are waited for, when all are equal."""
SLICES: Final = 200
"""Steps of the progress bar."""

Progress = Callable[[str, float, float, int], None]
"""progress(phase, share of it done, virtual s since the start, events so far)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The state at one moment. Times are virtual seconds since the first publish.

    sent_bytes:  by frame class, since the start of the world
    running:     nodes that run
    roots:       different fingerprints among them
    """

    time_s: float
    sent_bytes: tuple[int, ...]
    running: int
    roots: int


@dataclass(slots=True)
class Run:
    """A run that is over: its figures, and what a report shows besides.

    zones:   of each host
    edges:   pairs of host numbers that had a link at the end of the last publish
    missing:  of each change, the nodes that should have had it at the end and had not
    """

    scenario: Scenario
    result: Result
    changes: list[Tracked]
    marks: list[Mark]
    begin_s: float
    samples: list[Sample] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    hostile: list[bool] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    world: World | None = None


def simulate(
    scenario: Scenario,
    seed: int = 0,
    *,
    progress: Progress = lambda phase, share, now_s, events: None,
    trace: Path | None = None,
    make_node: MakeNode = Node,
) -> Run:
    """Run ``scenario`` once. ``trace``: a file for every input of every node, as lines of JSON.

    Raises InvalidInput for a trace file that cannot be written.
    """
    begin_wall_s = perf_counter()
    world = build(scenario, seed, make_node)
    if trace is not None:
        world.trace = TraceFile(trace, world.interning)
    try:
        with _quiet_collector():
            return _Play(scenario, world, progress, begin_wall_s).run()
    finally:
        world.trace.close()


# -- playing --------------------------------------------------------------------------------------


class _Play:
    """One run, phase by phase."""

    def __init__(self, scenario: Scenario, world: World, progress: Progress, begin_wall_s: float) -> None:
        self._scenario = scenario
        self._world = world
        self._on_progress = progress
        self._begin_wall_s = begin_wall_s
        self._meter = Meter(world)
        self._samples: list[Sample] = []
        self._found: list[str] = []
        self._missing: list[int] = []
        self._joined_s: float | None = None
        self._questions: Questions | None = None
        self._canary: BadCanary | None = None

    def run(self) -> Run:
        """All phases, in order."""
        self._join()
        world, options = self._world, self._scenario.measure
        stage = Stage(world, world.random("stage"))
        publisher = Publisher(self._scenario.publish, stage, self._meter)
        if self._scenario.publish.ask:
            self._questions = Questions(stage, self._meter)
        if self._scenario.canary.percent:
            self._canary = BadCanary(self._scenario.canary, stage)
        for fault in self._scenario.faults:
            fault.plan(stage)
        for host in world.hosts.values():
            if host.adversary is not None:
                host.adversary.plan(stage, host)
        publisher.plan()
        ends_s = max(stage.trouble_ends_s, publisher.last_s)
        planned_s = max(stage.last_planned_s, stage.begin_s + publisher.last_s)
        self._plan_looks(stage, publisher, ends_s)
        edges = self._suffer(stage, publisher, ends_s, planned_s)
        whole_s = world.now_s
        world.whole_since_s, world.heal_limit_s = whole_s, options.heal_limit_s
        missing_bytes = self._missing_bytes() if self._scenario.faults else 0
        before = list(world.network.sent_bytes)
        converged = self._heal(whole_s)
        if not converged:
            self._look()  # before the rest makes up for it
        world.whole_since_s = None  # told, if it had to be
        repair_bytes = sum(
            world.network.sent_bytes[one] - before[one] for one in (FrameClass.BROADCAST, FrameClass.SYNC)
        )
        if not self._scenario.faults:
            whole_s = max((one.published_s for one in self._meter.acknowledged() if one.published_s), default=whole_s)
        sent = honest_traffic(world)
        convergence_ms = max(0.0, world.unequal_s - whole_s) * 1000 if converged else None
        idle = self._rest()
        self._sample(stage)
        self._look()
        result = self._result(publisher, sent, convergence_ms, idle, Repair(missing_bytes, repair_bytes))
        hosts = list(world.hosts.values())
        return Run(
            self._scenario,
            result,
            self._meter.acknowledged(),
            stage.marks,
            stage.begin_s,
            self._samples,
            [host.zone for host in hosts],
            [not host.honest for host in hosts],
            edges,
            self._missing,
            world,
        )

    def _progress(self, phase: str, share: float) -> None:
        self._on_progress(phase, share, self._world.now_s, self._world.events_run)

    def _join(self) -> None:
        """Start every node, and wait until all have links and hold the same."""
        scenario, world = self._scenario, self._world
        hosts = list(world.hosts.values())
        seeds = tuple(host.address for host in hosts[: scenario.seeds])
        for number, host in enumerate(hosts):
            if scenario.start == "cold":
                host.seeds = tuple(seed for seed in seeds if seed != host.address)
            world.schedule.at(scenario.start_within_s * number / len(hosts), world.start, host.name)
        world.run(scenario.start_within_s)
        if scenario.start == "joined":
            for one, other in earlier_links(
                [host.zone for host in hosts], scenario.hosts.tuning(), world.random("links")
            ):
                world.link(hosts[one].name, hosts[other].name)
            for host in hosts:
                host.seeds = tuple(seed for seed in seeds if seed != host.address)
        settle_s = scenario.measure.settle_s
        self._note_joined()  # those that start one after the other may all be in when the last has started
        while world.now_s < settle_s or (not self._joined() and world.now_s < scenario.measure.join_limit_s):
            world.run(JOIN_STEP_S)
            self._note_joined()
            self._progress("join", min(1.0, world.now_s / max(settle_s, JOIN_STEP_S)))
        _settle_collector()

    def _note_joined(self) -> None:
        """Once all have links and hold the same, since when."""
        if self._joined_s is None and self._joined():
            last_s = max([self._world.unequal_s, *self._meter.linked_s.values()])
            last_start_s = max(host.started_s for host in self._world.hosts.values())
            self._joined_s = max(0.0, last_s - last_start_s) if self._scenario.start == "cold" else 0.0

    def _joined(self) -> bool:
        alone = len(self._world.hosts) == 1
        return self._world.converged() and all(alone or host.running.links() for host in self._world.honest())

    def _plan_looks(self, stage: Stage, publisher: Publisher, ends_s: float) -> None:
        """Samples for the curves, and looks of the checkers when faults end or as often as asked for."""
        options = self._scenario.measure
        edges_s = [publisher.last_s, *(edge_s for mark in stage.marks for edge_s in (mark.begin_s, mark.end_s))]
        for time_s in moments(options.samples, edges_s, ends_s, ends_s + options.heal_limit_s):
            stage.at(time_s, self._sample, stage)
        if options.check_every_s:
            for number in range(1, int(ends_s / options.check_every_s) + 1):
                stage.at(number * options.check_every_s, self._look)
        else:
            for end_s in sorted({mark.end_s for mark in stage.marks}):
                stage.at(end_s, self._look)

    def _suffer(self, stage: Stage, publisher: Publisher, ends_s: float, planned_s: float) -> list[tuple[int, int]]:
        """Let everything that is planned happen; the links at the moment of the last publish."""
        world, edges = self._world, list[tuple[int, int]]()
        step_s = max(ends_s, 0.001) / SLICES
        for number in range(1, SLICES + 1):
            world.schedule.run(stage.begin_s + number * step_s)
            self._progress("publish", number / SLICES)
            if not edges and (number == SLICES or number * step_s >= publisher.last_s):
                edges = _edges(world)
        world.schedule.run(max(world.now_s, planned_s))  # what rounding has left
        while stage.starts_due:
            world.run(STOPPING_LOOK_S)
        return edges

    def _heal(self, whole_s: float) -> bool:
        """Wait until all are equal, as long as they may take."""
        world, meter = self._world, self._meter
        end_s = whole_s + self._scenario.measure.heal_limit_s
        while world.now_s < end_s:
            left_s = min(end_s - world.now_s, 1.0)
            if world.run_until(lambda: world.converged() and not meter.open, left_s):
                return True
            self._progress("heal", 1 - (end_s - world.now_s) / max(self._scenario.measure.heal_limit_s, 1e-9))
        return False

    def _rest(self) -> float | None:
        """Bytes that a node sends a second when nothing happens, once what is under way has arrived."""
        idle_s, world = self._scenario.measure.idle_s, self._world
        world.run(LAST_COPIES_S)
        if not idle_s or not world.running():
            return None
        before = sum(world.network.sent_bytes) - world.hostile_bytes
        for number in range(10):
            world.run(idle_s / 10)
            self._progress("rest", (number + 1) / 10)
        sent = sum(world.network.sent_bytes) - world.hostile_bytes - before
        return sent / idle_s / max(1, world.census()[0])

    # -- looking ------------------------------------------------------------------------------------

    def _sample(self, stage: Stage) -> None:
        network, world = self._world.network, self._world
        self._samples.append(Sample(stage.now_s, tuple(network.sent_bytes), *world.census()))

    def _look(self) -> None:
        """Let all checkers look; what they find is told once."""
        now = f"at {self._world.now_s:.3f} s"
        known = {found.rpartition(" at ")[0] for found in self._found}
        self._found += [f"{found} {now}" for found in violations(self._world) if found not in known]

    def _missing_bytes(self) -> int:
        """Payload that honest nodes lack of what all of them together will hold, added up over nodes."""
        holders = {host.running.root: host.running.replica.live for host in self._world.honest()}
        if len(holders) < 2:
            return 0
        together = LiveSet()
        for live in holders.values():
            for part in live.parts():
                together.add(part)
        sizes = {part.id: len(part.encode()) for part in together.parts() if part.entries}
        missing = {
            root: sum(size for change_id, size in sizes.items() if live.stored(change_id) is None)
            for root, live in holders.items()
        }
        return sum(missing[host.running.root] for host in self._world.honest())

    # -- figures ------------------------------------------------------------------------------------

    def _result(
        self,
        publisher: Publisher,
        sent: Traffic,
        convergence_ms: float | None,
        idle: float | None,
        repair: Repair,
    ) -> Result:
        world, scenario = self._world, self._scenario
        changes = self._meter.acknowledged()
        count = len(changes)
        receivers = sum(one.receivers_due for one in changes)
        nodes = receivers + count  # honest ones that ran, added up over changes
        sent_bytes = [after - before for after, before in zip(sent[0], publisher.sent_before[0], strict=True)]
        messages = sum(sent[1]) - sum(publisher.sent_before[1])
        copies = sum(one.copies for one in changes)
        self._missing = [len(self._meter.missing(one)) for one in changes]
        due, missing = sum(len(self._meter.due(one)) for one in changes), sum(self._missing)
        complete = [one for one, lacking in zip(changes, self._missing, strict=True) if not lacking]
        wall_s = perf_counter() - self._begin_wall_s
        return Result(
            scenario=scenario.name,
            nodes=scenario.nodes,
            seed=world.seed,
            changes=count,
            unpublished=len(self._meter.tracked) - count,
            delivered_fraction=_ratio(due - missing, due),
            last_delivery_ms=Spread.of(1000 * one.last_delay_s for one in complete if one.deliveries),
            delivery_ms=Spread.of(1000 * delay_s for one in changes for delay_s in one.delays_s),
            visible_ms=Spread.of(1000 * one.visible_s for one in changes if one.visible_s is not None),
            hops=Spread.of(hops for one in changes for hops in one.hops),
            payload_copies_per_node=_ratio(copies, receivers),
            duplicates_per_node=_ratio(sum(one.duplicates for one in changes), receivers),
            messages_per_operation=_ratio(messages, count * (1 + scenario.publish.reads_per_change)),
            messages_per_change_per_node=_ratio(messages, nodes),
            bytes_per_node_per_change=_ratio(sum(sent_bytes), nodes),
            bytes_by_class={one.name.lower(): sent_bytes[one] for one in FrameClass},
            cross_zone_copies_per_change=_ratio(sum(one.crossings for one in changes), count),
            idle_bytes_per_node_per_s=idle,
            joined_s=self._joined_s,
            convergence_ms=convergence_ms,
            joining=joining(world, self._meter),
            repair=repair if scenario.faults else None,
            acks=None if self._questions is None else self._questions.figures(),
            canary=None if self._canary is None else self._canary.figures(),
            epochs=epochs(world),
            violations=self._found,
            events=world.events_run,
            virtual_s=world.now_s,
            wall_s=wall_s,
            events_per_s=world.events_run / wall_s,
            peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            trace_sha256=world.trace.hexdigest(),
        )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _edges(world: World) -> list[tuple[int, int]]:
    return [(wire.ends[0].index, wire.ends[1].index) for wire in world.network.wires()]


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Python's cycle collector walks all nodes again and again, and finds nothing: let it look seldom."""
    thresholds = gc.get_threshold()
    gc.collect()  # what earlier runs have left must not be kept for this one's length
    gc.set_threshold(200_000, 50, 1_000)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def _settle_collector() -> None:
    """What has been built stays: no collection need look at it again."""
    gc.freeze()
