"""Errors that leave nurseries in groups: one is raised, and none is lost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ..model.errors import GossipconfError

log = logging.getLogger("gossipconf")


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Let an error of ours leave a nursery as itself and not as a group. A group with any other passes as it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        # Not `except*`: Python 3.11.2 would put what is raised there into a group again.
        ours, others = group.split(GossipconfError)
        if ours is None or others is not None:
            raise
        raise first_of(ours) from None


def first_of(group: BaseExceptionGroup[GossipconfError]) -> GossipconfError:
    """The first error in ``group``; what came with it is logged."""
    first, *others = _leaves(group)
    for other in others:
        log.error("at the same time: %s", other)
    return first


def _leaves(group: BaseExceptionGroup[GossipconfError]) -> Iterator[GossipconfError]:
    for inner in group.exceptions:
        if isinstance(inner, BaseExceptionGroup):
            yield from _leaves(inner)
        else:
            yield inner
