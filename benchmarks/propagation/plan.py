"""What to measure: the options of a run, as they are handed to the process that measures one system."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Plan:
    """The same for every system of a run.

    agents:        those that must be told of each change
    changes:       how many are published and measured
    publishers:    how many agents take turns to publish
    every_ms:      from the start of one publish to that of the next; a change is not waited for
    value_bytes:   the value, or the payload, of a change
    timeout_s:     a delivery that has not come by then, after the last publish, is missing
    baseline_s:    idle time measured before the changes
    reports_idle:  whether that time was asked for, and is long enough to be reported
    etcd_members:  servers of the etcd cluster
    directory:     an empty directory on the disk to be used
    """

    agents: int
    changes: int
    publishers: int
    every_ms: float
    value_bytes: int
    timeout_s: float
    baseline_s: float
    reports_idle: bool
    etcd_members: int
    directory: Path

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self) | {"directory": str(self.directory)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse."""
        values: dict[str, Any] = json.loads(text)
        return cls(**(values | {"directory": Path(values["directory"])}))
