"""The inspector of an agent: looks at values before this agent lets people publish them.

It stands between the control interface, or a program, and the node. A peer's change never
comes by here: nodes take from one another whatever the policy allows, so that their sets
converge whichever schemas each knew when.

Checking runs in a thread, within the bounds of `bounded_validator`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from ..model.entry import Entry
from .reads import ReadView
from .schema import EXTRA, is_installed
from .schema_set import SCHEMA_PREFIX, STRUCTURED, SchemaSet

CHECK_S: Final = 10.0
"""For all values of one change: 16,384 of people's take one, and whoever publishes waits 30."""

log = logging.getLogger("gossipconf")


class Inspector:
    """Follows the schemas that readers see, and checks what is published here."""

    def __init__(self, reads: ReadView) -> None:
        self._reads = reads
        self._entries: Sequence[Entry] = ()
        self._schemas = SchemaSet({})
        self.can_check = is_installed()
        self._has_told = False
        self.schemas  # noqa: B018 - says at the start that schemas are there and cannot be checked

    @property
    def schemas(self) -> SchemaSet:
        """The schemas in force now."""
        entries = [self._reads.versions(key)[0].entry for key in self._reads.keys(SCHEMA_PREFIX)]
        if entries != self._entries:
            self._schemas = self._schemas.replaced(entries)
            self._entries = entries
        if self._schemas.texts and not self.can_check and not self._has_told:
            self._has_told = True
            log.warning("schemas are published, and this agent cannot check values by them; install %s", EXTRA)
        return self._schemas

    async def check(self, entries: Sequence[Entry]) -> None:
        """Raise InvalidValue or SchemaUnusable unless a change of ``entries`` may be published here."""
        schemas = self.schemas
        if any(_has_work(entry, schemas) for entry in entries):
            await trio.to_thread.run_sync(partial(schemas.check, entries, can_check=self.can_check, limit_s=CHECK_S))


def _has_work(entry: Entry, schemas: SchemaSet) -> bool:
    if entry.value is None:
        return False
    return entry.type in STRUCTURED or entry.key.startswith(SCHEMA_PREFIX) or any(schemas.covering(entry.key))
