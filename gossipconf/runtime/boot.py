"""Boot: what a node begins with, from its journal and, where that is empty, from a checkpoint.

Blocks while it reads: for a thread. Knows disks; no sockets, and nothing of what becomes
of the node.
"""

from __future__ import annotations

import logging
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Final

from .. import __version__
from ..model.change import Change
from ..model.errors import CheckpointError, ConfigError, GossipconfError, JournalCorrupt, JournalError
from ..protocol.beacons import FreshnessLimits
from ..protocol.confirmation import SAVED_CONFIRMATION, Comparisons
from ..protocol.eagerness import SAVED_LEARNED, decode_learned
from ..protocol.link import Identity
from ..protocol.node import Node, Restored
from ..protocol.overlay import SAVED_ADDRESSES, SAVED_ZONE, decode_saved_addresses, decode_saved_zone
from ..protocol.presence import SAVED_MEMBERS
from ..protocol.record import records_in
from ..protocol.replica import RETIRED_HEADERS_RESTORED_MAX, SAVED_POLICIES, decode_saved_policies
from ..protocol.roster import SavedMembers
from ..protocol.statement_book import rows_of
from ..store.checkpoint import Checkpoint
from ..store.journal import Journal
from ..trust.chain import PolicyChain
from ..trust.cluster import Cluster
from ..trust.statement import Notary
from . import checkpoint_file
from .address import needs_resolving
from .settings import AgentSettings

JOURNAL_FILE: Final = "journal.db"

log = logging.getLogger("gossipconf")


def make_directory(path: Path) -> None:
    """See that there is a directory for the journal, for its owner only. Raises ConfigError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"option 'data': {path} cannot be made: {error.strerror}") from None
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(f"option 'data': {path} cannot be read by this user")


def boot(
    journal: Journal, chain: PolicyChain, settings: AgentSettings, now_ms: int
) -> tuple[Restored, Checkpoint | None]:
    """What the journal holds, and a checkpoint from which the node has yet to take what that lacks.

    An empty journal is filled from the checkpoint that the settings name, whose policies are in ``chain`` then.
    Raises JournalCorrupt, CheckpointError or JournalWriteFailed.
    """
    restored = _restored(journal, chain.cluster_id)
    if settings.checkpoint is None:
        return restored, None
    is_empty = journal.is_empty()
    checkpoint = _opened(settings, chain, now_ms, is_empty=is_empty)
    if checkpoint is None or not is_empty:
        return restored, checkpoint
    comparisons = checkpoint_file.fill(journal, checkpoint)
    log.info("booted from %s: %d changes", settings.checkpoint, len(checkpoint.parts))
    return replace(restored, checkpoint=checkpoint, comparisons=comparisons), None


def make_node(
    settings: AgentSettings,
    cluster: Cluster,
    chain: PolicyChain,
    restored: Restored,
    address: str,
    journal: Path,
    rng: random.Random,
    notary: Notary,
) -> Node:
    """A node that goes on from ``restored``. Raises JournalCorrupt if that holds what the policy does not allow."""
    identity = Identity(settings.node, address, settings.zone, f"gossipconf/{__version__}")
    try:
        return Node(
            identity,
            chain,
            rng=rng,
            seeds=[seed for seed in settings.join if not needs_resolving(seed)],
            seed_names=[seed for seed in settings.join if needs_resolving(seed)],
            policies=cluster.policies,
            restored=restored,
            tuning=settings.tuning,
            labels=settings.labels,
            freshness=FreshnessLimits(
                settings.clock_skew_s * 1000, settings.stale_after_s * 1000 if settings.stale_after_s else None
            ),
            notary=notary,
        )
    except GossipconfError as error:
        raise JournalCorrupt(
            f"{journal} holds a change that must not be there ({error}); "
            "move the file aside and start again: the agent boots from its neighbours"
        ) from None


def _opened(settings: AgentSettings, chain: PolicyChain, now_ms: int, *, is_empty: bool) -> Checkpoint | None:
    """The checkpoint that the settings name, verified.

    Raises CheckpointError if an empty disk can boot from nothing else. A disk that holds something must serve
    what it holds, whatever has become of the file: then None, and a line in the log.
    """
    assert settings.checkpoint is not None
    skew_ms = settings.clock_skew_s * 1000
    if is_empty:
        return checkpoint_file.open_file(settings.checkpoint, chain, now_ms, skew_ms)
    try:
        # The journal's own policies come first: those of the file are judged with its changes.
        own_chain = PolicyChain(chain.genesis)
        return checkpoint_file.open_file(settings.checkpoint, own_chain, now_ms, skew_ms)
    except CheckpointError as error:
        log.warning("this agent serves what it holds, and does not merge: %s", error)
        return None


def _restored(journal: Journal, cluster_id: bytes) -> Restored:
    try:
        return Restored(
            changes=tuple(Change.decode(data, cluster_id) for data in journal.changes()),
            retired_headers=tuple(
                Change.decode(data, cluster_id).restrict(())
                for *_, data in journal.retired_headers(RETIRED_HEADERS_RESTORED_MAX)
            ),
            addresses=tuple(decode_saved_addresses(journal.meta().get(SAVED_ADDRESSES))),
            zone=decode_saved_zone(journal.meta().get(SAVED_ZONE)),
            learned=decode_learned(journal.meta().get(SAVED_LEARNED)),
            members=SavedMembers.decode(journal.meta().get(SAVED_MEMBERS)),
            comparisons=Comparisons.decode(journal.meta().get(SAVED_CONFIRMATION)),
            accepted_policies=decode_saved_policies(journal.meta().get(SAVED_POLICIES)),
            statements=rows_of(journal.meta()),
            epochs=records_in(journal.meta()),
        )
    except JournalError:
        raise
    except GossipconfError as error:
        raise JournalCorrupt(
            f"{journal.path} holds something that is not a change of this cluster ({error}); "
            "move the file aside and start again: the agent boots from its neighbours"
        ) from None
