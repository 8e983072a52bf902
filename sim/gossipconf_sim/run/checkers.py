"""The ten invariants of the design, each as a checker over a world; and two more, of tallies and of epochs.

A checker looks at nodes from outside and returns what is wrong, in words; an empty
list means that the invariant holds now. Hostile hosts are judged by nobody: what they
do to honest ones is what counts.

What must hold of every node is checked on every node where it can differ, and once for
all nodes of one fingerprint where `convergent` has shown that they hold the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from gossipconf.model.change import Change
from gossipconf.model.entry import Slot
from gossipconf.model.errors import GossipconfError
from gossipconf.model.limits import ADDRESS_BOOK_MAX, FORK_BRANCHES_MAX, RETIRED_HEADERS_MAX
from gossipconf.model.version import Version, versions_of
from gossipconf.protocol.acks import HELD_MAX, OWN_MAX
from gossipconf.protocol.events import AckProgress, PublishFailed
from gossipconf.protocol.frames import QUEUE_BYTES_MAX, FrameClass
from gossipconf.protocol.node import Node
from gossipconf.protocol.question import Question
from gossipconf.protocol.roster import MEMBERS_MAX
from gossipconf.protocol.tally import NAMES_MAX
from gossipconf.protocol.views import LINKS_MAX
from gossipconf.store.live_set import LiveSet
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.policy import policy_changes

from ..world.host import Host
from ..world.twin import Twin
from ..world.world import World

Checker = Callable[[World], list[str]]

MEMBERS_HELD_MAX: Final = MEMBERS_MAX + 2 * LINKS_MAX
"""A full roster, and neighbours met since it was last looked who is to be forgotten."""

NOTICED_S: Final = 25.0
"""After this time the peers of a machine that has vanished have noticed: three keepalives, and upkeep."""
RESTS_S: Final = 5.0
"""A tally that has not changed for this time is at rest: a new epoch and its answers take less."""

FINDINGS_MAX: Final = 20
"""Findings of one checker that are told: ten thousand nodes with one fault are one fault."""


def authentic(world: World) -> list[str]:
    """1. A node stores only what the policy authorises: every kept part is judged again, signatures too."""
    wrong = []
    judges: dict[tuple[bytes, ...], _Judge] = {}
    for host in world.honest():
        parts = list(host.running.replica.live.parts())
        policies = policy_changes(parts)
        judge = judges.setdefault(tuple(part.id for part in policies), _Judge(world, policies))
        wrong += [
            f"{host.name} keeps change {part.id.hex()[:8]}: {reason}"
            for part in parts
            if (reason := judge.refusal(part))
        ]
    return wrong


def convergent(world: World) -> list[str]:
    """2. Equal fingerprint if and only if equal replicated set; equal sets give equal reads of every slot."""
    wrong = []
    sets: dict[tuple[bytes, ...], bytes] = {}
    for root, nodes in _by_root(world).items():
        first = nodes[0].replica.live
        items = first.tree.items()
        for node in nodes[1:]:
            if node.replica.live.tree.items() != items:
                wrong.append(f"{_name(node)} and {_name(nodes[0])} have equal fingerprints and different sets")
            elif node.replica.live.slots() != first.slots():
                wrong.append(f"{_name(node)} and {_name(nodes[0])} hold the same set and disagree on a slot")
        if sets.setdefault(tuple(items), root) != root:
            wrong.append(f"{_name(nodes[0])} has another fingerprint than others with the same set")
        rebuilt = LiveSet()
        for part in first.parts():
            rebuilt.add(part)
        if rebuilt.root != root:
            wrong.append(f"{_name(nodes[0])}: rebuilding the set from its parts gives another fingerprint")
        elif rebuilt.slots() != first.slots():
            wrong.append(f"{_name(nodes[0])}: rebuilding the set from its parts gives other winners")
    return wrong


def durable(world: World) -> list[str]:
    """3. An acknowledged publish is on its agent's disk, or a version that supersedes it is."""
    wrong = []
    on_disk: dict[str, dict[Slot, list[Version]]] = {}
    for name, acknowledged_s, change in world.acknowledged:
        host = world.hosts[name]
        if host.wiped_s >= acknowledged_s or not host.honest:
            continue
        if name not in on_disk:
            on_disk[name] = _versions_on_disk(world, name)
        wrong += [
            f"{name} acknowledged {version.entry.key!r} of {change.id.hex()[:8]} and has it no more"
            for version in versions_of(change)
            if not any(
                kept.id == version.id or kept.supersedes(version) for kept in on_disk[name].get(version.slot, ())
            )
            and not world.is_void(version)
        ]
    return wrong


def available(world: World) -> list[str]:
    """4. Readers are always served: what was read once, or something newer, over restarts too (seen as it happens)."""
    return _seen(world, "available")


def monotonic(world: World) -> list[str]:
    """5. No reader is given a version causally before one given earlier on this disk (seen as it happens)."""
    return _seen(world, "monotonic")


def atomic(world: World) -> list[str]:
    """6. Of a change that lives in part, every other entry has been superseded, not forgotten.

    By a version that is here, or that somebody has published or a thief put in: repair carries the live parts, and what
    has superseded the rest may come a message later. Changes of which a stranger has handed out parts are left out:
    who withholds the rest is repaired by honest peers, but not at once.
    """
    wrong = []
    published: dict[Slot, list[Version]] = {}
    taken = [
        change
        for token, (_, _, change) in world.submitted.items()
        if not isinstance(world.outcome(token), PublishFailed)
    ]
    for change in (*taken, *world.injected.values()):
        for version in versions_of(change):
            published.setdefault(version.slot, []).append(version)
    for node in _one_of_each_root(world):
        live = node.replica.live
        for _, _, change in world.acknowledged:
            if change.id in world.mutilated:
                continue
            versions = list(versions_of(change))
            if len(versions) == 1 or not any(version.id in live.tree for version in versions):
                continue
            wrong += [
                f"{_name(node)} has applied change {change.id.hex()[:8]} without {version.entry.key!r}"
                for version in versions
                if version.id not in live.tree
                and not any(
                    one.supersedes(version) for one in (*live.slot(version.slot), *published.get(version.slot, ()))
                )
                and not world.is_void(version)
            ]
    return wrong


def no_silent_divergence(world: World) -> list[str]:
    """7. Of nodes with one fingerprint all know the same forks; once all are equal, every fork that one has found.

    What only hosts have found that have crashed since may be gone with them, and a fork of which floors have left one
    branch is none.
    """
    wrong = []
    for nodes in _by_root(world).values():
        forks = dict(nodes[0].replica.live.forks()).keys()
        wrong += [
            f"{_name(node)} and {_name(nodes[0])} are equal and know different forks"
            for node in nodes[1:]
            if dict(node.replica.live.forks()).keys() != forks
        ]
    if world.converged():
        for node in _one_of_each_root(world):
            known = node.replica.live.forks()
            wrong += [
                f"{_name(node)} does not know of the fork {writer.hex()[:8]}/{seq} that another has found"
                for (writer, seq), finders in world.forks_found.items()
                if (writer, seq) not in known
                and _is_fork(world.branches_found[writer, seq], node)
                and any(_has_run_since(world, *finder) for finder in finders.items())
            ]
    return wrong


def _is_fork(branches: Mapping[bytes, Change], node: Node) -> bool:
    """Whether more than one of these is left under the floors that a node knows."""
    return sum(not node.replica.chain.floors.is_branch_void(header) for header in branches.values()) > 1


def bounded(world: World) -> list[str]:
    """8. What a node keeps about others, and what waits for a slow one, has its named limits."""
    wrong = []
    for host in world.honest():
        node = host.running
        live = node.replica.live
        sizes = {
            "links": (len(node.links()), LINKS_MAX + 1),
            "members": (len(node.presence), MEMBERS_HELD_MAX),
            "questions": (len(node.acks.questions()), HELD_MAX + OWN_MAX),
            "addresses": (len(node.overlay.book), ADDRESS_BOOK_MAX),
            "retired headers": (live.retired_count, RETIRED_HEADERS_MAX),
            "branches of a fork": (max(map(len, live.forks().values()), default=0), FORK_BRANCHES_MAX),
        }
        for wire in host.links.values():
            lane = wire.lanes[wire.side_of(host)]
            if lane is not None:
                for one in FrameClass:
                    what = f"{one.name.lower()} bytes queued for {wire.other(host).name}"
                    sizes[what] = (lane.queue.bounded_bytes(one), QUEUE_BYTES_MAX[one])
        wrong += [f"{host.name}: {size} {what}" for what, (size, limit) in sizes.items() if size > limit]
    return wrong


def heals(world: World) -> list[str]:
    """9. Once nothing is wrong any more and nobody publishes, all are equal within the world's time for it."""
    whole_s = world.whole_since_s
    if whole_s is None or world.now_s - whole_s < world.heal_limit_s or world.converged():
        return []
    roots = _by_root(world)
    return [
        f"{sum(map(len, roots.values()))} nodes hold {len(roots)} different sets "
        f"{world.now_s - whole_s:g} s after the last fault and publish"
    ]


def deterministic(world: World) -> list[str]:
    """10. A node is a function of its seed and inputs: a twin with the same puts out the same (see `twin`)."""
    nodes: list[tuple[str, object]] = [(host.name, host.node) for host in world.hosts.values()]
    return [f"{name}: {words}" for name, node in nodes if isinstance(node, Twin) for words in node.differences]


def counted(world: World) -> list[str]:
    """A complete tally that rests counts each honest node that is connected once, and names those that lack the change.

    Judged where nobody is hostile, since liars can lie, and once nothing has happened to hosts for as long as it takes
    to notice a machine that is gone.
    """
    if any(not host.honest for host in world.hosts.values()) or world.now_s - world.shaken_s < NOTICED_S:
        return []
    wrong = []
    for host in world.honest():
        for asker in host.running.acks.askers():
            if asker.told is not None and asker.told.complete and world.now_s - asker.told_s > RESTS_S:
                wrong += _miscounted(world, host, asker.question, asker.told)
    return wrong


def together(world: World) -> list[str]:
    """Of a strict prefix no two nodes ever serve different epochs (seen as it happens)."""
    return _seen(world, "together")


CHECKERS: Final[dict[str, Checker]] = {
    "authentic": authentic,
    "convergent": convergent,
    "durable": durable,
    "available": available,
    "monotonic": monotonic,
    "atomic": atomic,
    "no silent divergence": no_silent_divergence,
    "bounded": bounded,
    "heals": heals,
    "deterministic": deterministic,
    "counted": counted,
    "together": together,
}
"""Every checker, by the name of its invariant, in the design's order; then those of tallies and of epochs."""


def violations(world: World) -> Iterator[str]:
    """What every checker finds wrong now."""
    for name, checker in CHECKERS.items():
        for finding in islice(checker(world), FINDINGS_MAX):
            yield f"{name}: {finding}"


def _miscounted(world: World, host: Host, question: Question, told: AckProgress) -> list[str]:
    """What is wrong with a complete tally, compared with the nodes themselves."""
    connected = [host]
    names = {host.name}
    for one in connected:
        for link in one.running.links():
            if link.node_id not in names:
                names.add(link.node_id)
                connected.append(world.hosts[link.node_id])
    missing = sorted(one.name for one in connected if not question.subject.is_met(one.running.replica.live))
    truth = (len(connected) - len(missing), len(connected))
    wrong = []
    if (told.applied, told.total) != truth:
        wrong.append(f"{host.name} counts {told.applied} of {told.total} and {truth[0]} of {truth[1]} have applied it")
    is_exact = len(missing) <= NAMES_MAX
    if (is_exact and list(told.missing) != missing) or not names.issuperset(told.missing):
        wrong.append(f"{host.name} misses {', '.join(told.missing)} and it is {', '.join(missing)} who lack it")
    return wrong


class _Judge:
    """Judges under one chain of policies. Thousands of nodes keep the same object of a change: it is judged once."""

    def __init__(self, world: World, policies: list[Change]) -> None:
        self._chain: PolicyChain = world.cluster.chain(world.verify)
        self._judged: dict[int, Change] = {}
        for part in policies:
            if self.refusal(part) is None:
                self._chain.accept(part)

    def refusal(self, part: Change) -> str | None:
        if id(part) in self._judged:
            return None
        try:
            self._chain.judge(part)
        except GossipconfError as error:
            return str(error)
        if part.is_whole:
            self._judged[id(part)] = part  # kept, so that no other object gets its id
        return None


def _versions_on_disk(world: World, name: str) -> dict[Slot, list[Version]]:
    cluster_id = world.cluster.genesis.cluster_id
    found: dict[Slot, list[Version]] = {}
    for data in world.hosts[name].disk.changes.values():
        for version in versions_of(world.interning.change(data, cluster_id)):
            found.setdefault(version.slot, []).append(version)
    return found


def _has_run_since(world: World, name: str, since_s: float) -> bool:
    host = world.hosts[name]
    return host.node is not None and host.started_s <= since_s


def _seen(world: World, invariant: str) -> list[str]:
    return [
        words for host in world.hosts.values() if host.honest for name, words in host.violations if name == invariant
    ]


def _by_root(world: World) -> dict[bytes, list[Node]]:
    groups: dict[bytes, list[Node]] = {}
    for host in world.honest():
        groups.setdefault(host.running.root, []).append(host.running)
    return groups


def _one_of_each_root(world: World) -> list[Node]:
    return [nodes[0] for nodes in _by_root(world).values()]


def _name(node: Node) -> str:
    return node.identity.node_id
