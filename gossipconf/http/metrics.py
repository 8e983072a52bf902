"""What is measured of an agent, for Prometheus. Each family is declared once; the page of operations is made from that.

Names have their unit in them, and base units: seconds and bytes. Labels are bounded by what the
agent bounds: its links, its schemas, the states of others. `process_…` are the names that
Prometheus' own clients give what any process has.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..protocol.beacons import Freshness
from ..protocol.certificate import Outcome
from ..protocol.standing import State
from ..runtime.boot import JOURNAL_FILE
from ..runtime.complaint import all_votes
from .exposition import CONTENT_TYPE, Family, Kind, Sample, text_of

if TYPE_CHECKING:
    from ..runtime.agent import Agent

STATES: Final = tuple(state.value for state in State)
STANDINGS: Final = ("served", "fenced", "not a member", "revoked")
PROCESS: Final = Path("/proc/self")
FAMILIES: Final[dict[str, Family]] = {}
"""All families by name, in the order of their declaration."""


def _family(name: str, meaning: str, *labels: str, kind: Kind = Kind.GAUGE) -> Family:
    FAMILIES[name] = family = Family(name, kind, meaning, labels)
    return family


INFO = _family(
    "gossipconf_node_info", "Always 1; what the node is.", "node", "zone", "cluster", "cluster_name", "version"
)
STARTED = _family("gossipconf_start_time_seconds", "When the agent started, in seconds since 1970.")
POLICY = _family("gossipconf_policy_version", "Version of the policy in force here.")
KEYS = _family("gossipconf_keys", "Keys that have a value for all.")
VERSIONS = _family("gossipconf_versions", "Live versions, siblings, deletions and the system's own included.")
CONFLICTS = _family(
    "gossipconf_conflicts", "Slots of which readers here see more than one live version; see `gossipconf conflicts`."
)
FORKS = _family("gossipconf_forks", "Numbers under which a writer has signed several changes; see `gossipconf forks`.")
SCHEMAS = _family("gossipconf_schemas", "Schemas in force.")
UNFIT = _family(
    "gossipconf_unfit_values",
    "Values held back from readers here, by the prefix of their schema.",
    "schema",
)
PENDING = _family("gossipconf_pending_writes", "Writes that the disk has not acknowledged yet.")
DISK_ERROR = _family("gossipconf_disk_error", "1 while the disk refuses writes: nothing can be published here.")
JOURNAL = _family("gossipconf_journal_bytes", "Size of the journal on disk, its write-ahead log included.")
VIEW_AGE = _family(
    "gossipconf_view_age_bound_seconds", "What is served is at most so old, as beacons prove; absent before the first."
)
FRESHNESS = _family("gossipconf_view_freshness", "1 for what beacons say of the view, 0 for the others.", "state")
CERTIFICATE = _family(
    "gossipconf_certificate_expiry_timestamp_seconds",
    "When the node's own certificate ends, and the first one above it, in seconds since 1970.",
    "certificate",
)
VOTES = _family("gossipconf_unhealthy_votes", "Nodes that have called a living change unhealthy, of all changes.")
HALTED = _family("gossipconf_halted_changes", "Changes that votes hold off.")
STRICT = _family("gossipconf_strict_prefixes", "Strict prefixes, by how they are served here.", "state")
STAGES = _family("gossipconf_stages_open", "Stages whose outcome is not known here.")
MEMBERS = _family(
    "gossipconf_members", "Other agents, by their state beside this one's; `differs` lags or is ahead.", "state"
)
LAG = _family(
    "gossipconf_convergence_lag_seconds",
    "For how long the one that lags most has been behind; silent ones do not count.",
)
LINKS = _family("gossipconf_links", "Links to other agents.")
ROUND_TRIP = _family("gossipconf_link_round_trip_seconds", "Smoothed round trip of a link.", "peer")
RECEIVED = _family(
    "gossipconf_link_received_bytes_total",
    "Bytes of frames received over the present links to a peer, before TLS.",
    "peer",
    kind=Kind.COUNTER,
)
SENT = _family(
    "gossipconf_link_sent_bytes_total",
    "Bytes of frames sent over the present links to a peer, before TLS.",
    "peer",
    kind=Kind.COUNTER,
)
QUEUE = _family("gossipconf_link_queue_bytes", "Bytes that wait to be sent to a peer.", "peer")
CPU = _family("process_cpu_seconds_total", "User and system CPU time of the process.", kind=Kind.COUNTER)
RESIDENT = _family("process_resident_memory_bytes", "Resident memory of the process.")
FILES = _family("process_open_fds", "Files that the process has open.")
FILES_MAX = _family("process_max_fds", "Files that it may open.")


def samples_of(agent: Agent) -> Iterator[Sample]:
    """What is measured of ``agent`` now."""
    yield from _contents(agent)
    yield from _disk(agent)
    yield from _trust(agent)
    yield from _stages(agent)
    yield from _members(agent)
    yield from _links(agent)
    yield from _process()


def _contents(agent: Agent) -> Iterator[Sample]:
    node, replica = agent.node, agent.node.replica
    genesis = replica.chain.genesis
    yield INFO.sample(1, agent.settings.node, agent.settings.zone, genesis.cluster_id.hex(), genesis.name, __version__)
    yield STARTED.sample(agent.started_ms / 1000)
    yield POLICY.sample(replica.policy_version)
    yield KEYS.sample(agent.reads.value_count)
    yield VERSIONS.sample(len(replica.live))
    yield CONFLICTS.sample(len(agent.reads.conflicts()))
    yield FORKS.sample(len(replica.live.forks()))
    schemas = agent.inspector.schemas
    yield SCHEMAS.sample(len(schemas.texts))
    unfit = Counter(
        # Of several schemas of a key it is the most special that is called; a syntax error needs none.
        next(reversed(list(schemas.covering(one.slot[0]))), "")
        for one in agent.last_good.unfit.values()
    )
    for prefix in sorted({*schemas.texts, *unfit}):
        yield UNFIT.sample(unfit[prefix], prefix)
    yield VOTES.sample(sum(len(one.nodes) for one in all_votes(agent)))
    yield HALTED.sample(len(node.halts.halted))


def _disk(agent: Agent) -> Iterator[Sample]:
    replica = agent.node.replica
    yield PENDING.sample(replica.pending_writes)
    yield DISK_ERROR.sample(int(replica.disk_error is not None))
    journal = agent.settings.data / JOURNAL_FILE
    yield JOURNAL.sample(sum(_size(one) for one in (journal, journal.with_name(journal.name + "-wal"))))


def _trust(agent: Agent) -> Iterator[Sample]:
    view = agent.node.view(agent.now())
    if view.at_most_ms is not None:
        yield VIEW_AGE.sample(view.at_most_ms / 1000)
    for freshness in Freshness:
        yield FRESHNESS.sample(int(view.freshness is freshness), freshness.value)
    credentials = agent.credentials
    yield CERTIFICATE.sample(credentials.lifetime.ends_ms / 1000, "own")
    yield CERTIFICATE.sample(credentials.chain.ends_ms / 1000, "chain")


def _stages(agent: Agent) -> Iterator[Sample]:
    stages = agent.node.stages
    counts = dict.fromkeys(STANDINGS, 0)
    for prefix in stages.strict:
        standing = stages.standing(prefix)
        if standing.is_barred:
            state = "revoked"
        elif standing.epoch is None:
            state = "not a member"
        else:
            state = "served" if standing.fence is None else "fenced"
        counts[state] += 1
    for state, count in counts.items():
        yield STRICT.sample(count, state)
    progress = (one for prefix in stages.prefixes() for one in stages.progress(prefix))
    yield STAGES.sample(sum(one.outcome is Outcome.OPEN for one in progress))


def _members(agent: Agent) -> Iterator[Sample]:
    presence, now_s = agent.node.presence, trio.current_time()
    standings = [presence.standing(member, now_s) for member in agent.node.members()]
    counts = Counter(standing.state.value for standing in standings)
    for state in STATES:
        yield MEMBERS.sample(counts[state], state)
    there = (one for one in standings if one.state not in {State.SILENT, State.STOPPED})
    yield LAG.sample(max((one.lag_s for one in there if one.lag_s is not None), default=0))


def _links(agent: Agent) -> Iterator[Sample]:
    links = agent.node.links()
    yield LINKS.sample(len(links))
    received, sent, queued = Counter[str](), Counter[str](), Counter[str]()
    round_trips: dict[str, float] = {}
    for link in links:
        connection = agent.transport_link(link.id)
        if connection is not None:
            received[link.node_id] += connection.bytes_in
            sent[link.node_id] += connection.bytes_out
            queued[link.node_id] += connection.queue_bytes()
        if link.rtt_s is not None:
            round_trips[link.node_id] = min(link.rtt_s, round_trips.get(link.node_id, link.rtt_s))
    for family, figures in ((ROUND_TRIP, round_trips), (RECEIVED, received), (SENT, sent), (QUEUE, queued)):
        yield from (family.sample(figures[peer], peer) for peer in sorted(figures))


def _process() -> Iterator[Sample]:
    times = os.times()
    yield CPU.sample(times.user + times.system)
    try:
        pages = int((PROCESS / "statm").read_text().split()[1])
        open_files = len(os.listdir(PROCESS / "fd"))
    except (OSError, IndexError, ValueError):
        pass  # a system without /proc
    else:
        yield RESIDENT.sample(pages * resource.getpagesize())
        yield FILES.sample(open_files)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY:
        yield FILES_MAX.sample(limit)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # the write-ahead log comes and goes
        return 0


def table(families: Iterable[Family]) -> str:
    """The families for the page of operations, in Markdown."""
    rows = [
        f"| `{one.name}` | {', '.join(f'`{label}`' for label in one.labels)} | {one.kind.value} | {one.meaning} |"
        for one in families
    ]
    return "\n".join(["| metric | labels | kind | meaning |", "|---|---|---|---|", *rows])


def routes(agent: Agent) -> list[Route]:
    """What answers Prometheus."""

    async def metrics(request: Request) -> Response:
        return Response(text_of(samples_of(agent)), headers={"Content-Type": CONTENT_TYPE})

    return [Route("/metrics", metrics)]
