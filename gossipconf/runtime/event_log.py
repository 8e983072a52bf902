"""What a node tells its owner, in the words of the log.

Knows the log and how often it bears the same line; decides nothing. What peers have
written is in these lines: whoever prints them escapes it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from ..model.entry import Slot
from ..protocol import events as ev
from .complaint import Complained
from .last_good import ValueHeldBack
from .own_identity import CertificateEnding, CertificateRefused, CertificateReloaded, IdentityEvent, NodeRevoked

DUPLICATE_EVERY_S: Final = 60.0
"""A copied node directory is redialled every few seconds, for ever; its operator reads one line a minute."""
UNREACHABLE_EVERY_S: Final = 300.0
"""An address that cannot be reached is tried every few seconds, for ever; it gets one line in five minutes."""
UNRESOLVED_EVERY_S: Final = 3600.0
"""A resolver may be down for hours; a name that was never right must be seen all the same."""
UNRENEWED_EVERY_S: Final = 3600.0
"""An issuer without its ticket refuses every ten minutes, for weeks."""
BEACON_EVERY_S: Final = 300.0
"""Beacons come every minute or so, and one that is wrong is likely to come again."""
REJECTED_EVERY_S: Final = 300.0
"""What one node holds valid and this one does not, as in a policy fork, comes with each sync, many times a minute."""
HELD_BACK_EVERY_S: Final = 60.0
"""A program may publish the same wrong value many times a minute, through an agent that checks none."""
CONFLICT_EVERY_S: Final = 60.0
"""Two programs that write one key against each other make a conflict a second; and a heal after days may bring
thousands, of which SUBJECTS_MAX get a line: the command lists them all."""
SUBJECTS_MAX: Final = 64
"""Addresses told of in such a time: they come from peers, who may name as many as they like."""

KEYS_TOLD_MAX: Final = 8
"""Keys named where many are void: a line for a human, the rest is listed on demand."""

log = logging.getLogger("gossipconf")


Dispute: TypeAlias = ev.ForkFound | ev.PolicyFork | ev.ConflictOpened | ev.ConflictClosed
"""What several changes say against each other."""


class EventLog:
    """Writes events to the log."""

    def __init__(self) -> None:
        self._duplicates = _Rarely(DUPLICATE_EVERY_S)
        self._unreachable = _Rarely(UNREACHABLE_EVERY_S)
        self._unresolved = _Rarely(UNRESOLVED_EVERY_S)
        self._unrenewed = _Rarely(UNRENEWED_EVERY_S)
        self._beacons = _Rarely(BEACON_EVERY_S)
        self._rejected = _Rarely(REJECTED_EVERY_S)
        self._held_back = _Rarely(HELD_BACK_EVERY_S)
        self._conflicts = _Rarely(CONFLICT_EVERY_S)

    def _write_dispute(self, event: Dispute, now_s: float) -> None:
        match event:
            case ev.ForkFound():
                branches = ", ".join(branch.hex()[:8] for branch in event.branches)
                log.warning(
                    "FORK: writer %s used number %d for changes %s", event.writer_id.hex()[:8], event.seq, branches
                )
            case ev.PolicyFork():
                log.warning(
                    "POLICY FORK: there are two policies %d; the roots end it with `gossipconf policy settle`",
                    event.version,
                )
            case ev.ConflictOpened():
                slots = _slots(event.slots)
                log.log(
                    self._conflicts.level(slots, now_s),
                    "CONFLICT: changed in several places at once: %s; see `gossipconf conflicts`",
                    slots,
                )
            case ev.ConflictClosed():
                log.info("no longer in conflict: %s", _slots(event.slots))

    def write(self, event: ev.Event | IdentityEvent | Complained, now_s: float) -> None:
        """One line for ``event``, or none; ``now_s`` is monotonic."""
        match event:
            case ev.PeerUp():
                log.info("linked to %s at %s", event.node_id, event.address)
            case ev.PeerDown():
                log.info("lost the link to %s: %s", event.node_id, event.reason)
            case ev.ConnectFailed():
                log.log(
                    self._unreachable.level(event.address, now_s), "cannot reach %s: %s", event.address, event.reason
                )
            case ev.ResolveFailed():
                log.log(
                    self._unresolved.level(event.name, now_s),
                    "cannot resolve the seed %s: %s",
                    event.name,
                    event.reason,
                )
            case ev.Applied():
                source = event.source or "here"
                log.debug("change %s from %s: %d new versions", event.change_id.hex()[:8], source, len(event.gained))
            case ev.ChangeRejected() | ev.StatementRefused():
                what = "a change" if isinstance(event, ev.ChangeRejected) else "a node's statement"
                level = self._rejected.level(f"{event.node_id}: {event.reason}", now_s)
                log.log(level, "refused %s from %s: %s", what, event.node_id, event.reason)
            case ev.ForkFound() | ev.PolicyFork() | ev.ConflictOpened() | ev.ConflictClosed():
                self._write_dispute(event, now_s)
            case ev.PolicyAccepted():
                log.info("policy %d is in force", event.version)
            case ev.Voided():
                keys = list(dict.fromkeys(version.entry.key for version in event.versions))
                log.warning(
                    "%d versions are void by a policy: %s; see `gossipconf void list`",
                    len(event.versions),
                    _keys(keys),
                )
            case ev.Synced():
                log.debug(
                    "sync with %s: %s; %d received, %d sent", event.node_id, event.reason, event.received, event.sent
                )
            case ev.Confirmed():
                log.info("confirmed: %s hold the same as this agent", " and ".join(event.node_ids))
            case ev.BeaconRefused():
                log.log(
                    self._beacons.level(event.node_id, now_s),
                    "refused a beacon from %s: %s",
                    event.node_id,
                    event.reason,
                )
            case ev.ViewStale():
                log.warning("no beacon shows that this agent's view is less than %d s old", event.at_most_ms // 1000)
            case ev.DiskFailed():
                log.error(
                    "the disk refuses writes (%s): reads and relaying go on, publishing here does not", event.reason
                )
            case ev.DiskRecovered():
                log.info("the disk takes writes again")
            case ev.RenewalFailed():
                log.log(
                    self._unrenewed.level(event.node_id, now_s),
                    "%s does not renew this agent's certificate: %s",
                    event.node_id,
                    event.reason,
                )
            case ev.CertificateIssued():
                log.info("renewed the certificate of %s", event.node_id)
            case ev.DuplicateNode():
                if self._duplicates.is_due(event.address, now_s):
                    log.error("another agent at %s runs under this agent's name", event.address or "an unknown address")
            case CertificateReloaded() | CertificateRefused() | CertificateEnding() | NodeRevoked():
                _write_identity(event)
            case _:
                _write_statement(event)

    def write_held_back(self, event: ValueHeldBack, now_s: float) -> None:
        """One line for a value that fails a schema; ``now_s`` is monotonic."""
        log.log(
            self._held_back.level(event.key, now_s),
            "change %s is held back from readers of %s: %s; %s",
            event.change_id.hex()[:8],
            f"{event.key} [{event.variant}]" if event.variant else event.key,
            event.problem,
            "they keep the last good value" if event.has_good else "they have no value",
        )


def _write_statement(event: ev.Event | Complained) -> None:
    match event:
        case Complained():
            log.warning(
                "an application here calls change %s to %s unhealthy: %s",
                event.change_id.hex()[:8],
                event.key,
                event.reason or "no reason given",
            )
        case ev.Contradiction():
            log.warning(
                "node %s has signed both ack and nack about %s: its key is in use twice, or it is hostile",
                event.node_id,
                event.subject.hex()[:8],
            )
        case ev.SayFailed():
            log.warning("%s about %s is not said: %s", event.kind.name, event.subject.hex()[:8], event.reason)
        case ev.Voted():
            log.warning(
                "node %s calls change %s unhealthy: vote %d of %d",
                event.node_id,
                event.change_id.hex()[:8],
                event.votes,
                event.limit,
            )
        case ev.Halted():
            log.warning("HALTED: change %s to %s, by %d votes", *_halt(event))
        case ev.Resumed():
            log.warning("change %s to %s is held off no longer: %d votes count", *_halt(event))
        case _:
            _write_stage(event)


def _write_stage(event: ev.Event) -> None:
    match event:
        case ev.StageAnswered():
            word = "acked, and its readers wait" if event.is_ack else "nacked"
            log.info("stage %s of epoch %d of %s: %s", event.stage_id.hex()[:8], event.number, event.prefix, word)
        case ev.EpochCommitted():
            served = "served here" if event.is_member else "committed, and this agent is no member of it"
            log.info("epoch %d of %s is %s", event.number, event.prefix, served)
        case ev.StageAborted():
            log.info("stage %s of epoch %d of %s is aborted", event.stage_id.hex()[:8], event.number, event.prefix)
        case ev.StageInvalid():
            log.warning("%s is no document of a stage: %s", event.key, event.reason)
        case ev.MemoryMissing():
            log.error(
                "this agent's name took part in %s before, and its disk knows nothing of it: it says nothing to epoch "
                "%d; give the agent a new name, and have the old one revoked",
                event.prefix,
                event.number,
            )


def _halt(event: ev.Halted | ev.Resumed) -> tuple[str, str, int]:
    return event.change_id.hex()[:8], _keys(event.keys), event.votes


def _keys(keys: Sequence[str]) -> str:
    return ", ".join(keys[:KEYS_TOLD_MAX]) + (", …" if len(keys) > KEYS_TOLD_MAX else "")


def _slots(slots: Sequence[Slot]) -> str:
    """Some keys by name, with the variants that are not the default one, and how many more there are."""
    named = [f"{key} [{variant}]" if variant else key for key, variant in slots[:KEYS_TOLD_MAX]]
    more = len(slots) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _write_identity(event: IdentityEvent) -> None:
    match event:
        case CertificateReloaded():
            log.info("new connections use the certificate that is valid until %s", _day(event.ends_ms))
        case CertificateRefused():
            log.error("the changed certificate files are refused, those before stay in use: %s", event.reason)
        case CertificateEnding():
            what = "a certificate above this agent's" if event.is_chain else "this agent's certificate"
            if event.days_left < 0:
                log.error("%s has ended: peers refuse new connections", what)
            else:
                log.warning("%s ends in %d days, less than a third of its life", what, event.days_left)
        case NodeRevoked():
            log.error("peers refuse this agent: %s; it goes on serving what it has", event.reason)


def _day(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


class _Rarely:
    """Says of each subject once in a while that it is worth a line."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._told: dict[str, float] = {}

    def level(self, subject: str, now_s: float) -> int:
        """A warning where ``subject`` is to be told of (again), else for those who debug."""
        return logging.WARNING if self.is_due(subject, now_s) else logging.DEBUG

    def is_due(self, subject: str, now_s: float) -> bool:
        """Whether ``subject`` is to be told of (again)."""
        told = {one: at_s for one, at_s in self._told.items() if now_s - at_s < self._every_s}
        is_due = subject not in told and len(told) < SUBJECTS_MAX
        self._told = told | {subject: now_s} if is_due else told
        return is_due
