"""Prometheus' text format, version 0.0.4: families of samples, written out.

Knows the format and no figure. Source: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Kind(enum.Enum):
    """What a family's samples are."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """Only rises, but for a new start; its name ends in `_total`."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name with the unit, what it means in a sentence, and the labels of its samples."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()

    def sample(self, value: float, *labels: str) -> Sample:
        """A value, with the values of its labels in order."""
        return Sample(self, value, dict(zip(self.labels, labels, strict=True)))


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a family."""

    family: Family
    value: float
    labels: Mapping[str, str]

    def line(self) -> str:
        """As it is written."""
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.labels.items())
        value = str(self.value) if isinstance(self.value, int) else repr(self.value)
        return f"{self.family.name}{'{' + labels + '}' if labels else ''} {value}"


def text_of(samples: Iterable[Sample]) -> str:
    """All samples, those of each family together under its meaning and kind."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.family.name, []).append(sample)
    lines: list[str] = []
    for name, found in families.items():
        family = found[0].family
        lines.append(f"# HELP {name} {family.meaning}")
        lines.append(f"# TYPE {name} {family.kind.value}")
        lines += [sample.line() for sample in found]
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
