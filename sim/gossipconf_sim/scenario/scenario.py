"""Scenarios: what is simulated, as one frozen record, read from a TOML file and altered by paths.

The file's tables are the records of this package, so their pages, their errors and
their defaults have one source. Shipped scenarios lie in `shipped/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from gossipconf.model.errors import InvalidInput
from gossipconf.model.limits import CHANGE_BYTES_MAX, HALT_VOTES_MAX
from gossipconf.protocol.messages import TEXT_BYTES_MAX

from ..conditions import HostConditions, NetworkConditions
from ..hostile.byzantine import Hostility
from ..network.zones import Zone
from ..options import meant, option, options_of, read, read_values, unknown
from .faults import FAULTS, Fault

SUFFIX: Final = ".toml"
NODES_MAX: Final = 1_000_000
"""A node takes some tens of kilobytes: a million need a machine that is larger than any that was tried."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """Who publishes what, and when."""

    changes: int = option(50, "changes that are measured", least=0, most=1_000_000)
    warmup: int = option(0, "changes before them that are not measured", least=0, most=1_000_000)
    every_ms: float = option(100.0, "time between two changes in ms", least=0)
    origins: str = option("all", "who publishes: any host (all), or always the same (one)", choices=("all", "one"))
    keys: int = option(100, "keys that are published in turn", least=1, most=1_000_000)
    entries: int = option(1, "keys in one change", least=1, most=10_000)
    value_bytes: int = option(400, "bytes of each value", least=1, most=1 << 20)
    reads_per_change: float = option(
        0.0, "reads that count as operations beside each change; they are local and cost nothing", least=0
    )
    deletes: float = option(0.0, "share of the changes that delete", least=0, most=1)
    ask: bool = option(False, "whether another host asks after each measured change who has applied it, until all have")


@dataclass(frozen=True, slots=True)
class Preload:
    """What hosts have on their disks when they start."""

    keys: int = option(0, "keys, all of one change", least=0, most=16_000)
    value_bytes: int = option(100, "bytes of each value", least=1, most=1 << 20)
    on: str = option("all", "who has it: all hosts, or the seeds only", choices=("all", "seeds"))


@dataclass(frozen=True, slots=True)
class Canary:
    """A bad canary beside all else, that its readers call unhealthy."""

    percent: float = option(0.0, "share of the nodes that it is for, in percent; 0: there is none", least=0, most=100)
    over_s: float = option(0.0, "virtual s in which the share grows from nothing; 0: it is there at once", least=0)
    halt_after: int = option(3, "votes that hold it off", least=1, most=HALT_VOTES_MAX)
    notice_s: tuple[float, float] = option(
        (5.0, 15.0), "how long an application reads it until it calls it unhealthy, in s", least=0
    )
    for_s: float = option(300.0, "virtual s for which it is watched", least=0)


@dataclass(frozen=True, slots=True)
class Measuring:
    """What is waited for, and how long."""

    settle_s: float = option(2.0, "virtual s between the start and the first publish, at least", least=0)
    join_limit_s: float = option(600.0, "virtual s after which the first publish comes, joined or not", least=0)
    heal_limit_s: float = option(60.0, "virtual s after the last fault and publish in which all must be equal", least=0)
    idle_s: float = option(10.0, "virtual s in which the traffic at rest is measured, at the end", least=0)
    check_every_s: float = option(
        0.0, "virtual s between two looks of all checkers; 0: at faults and at the end", least=0
    )
    samples: int = option(200, "points of the curves over time", least=1, most=100_000)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to simulate."""

    name: str
    description: str = option("", "what it is for, in a sentence")
    nodes: int = option(100, "hosts with one node each", least=1, most=NODES_MAX)
    start: str = option(
        "joined",
        "whether the nodes begin with links as after an earlier life (joined), or know seeds only (cold)",
        choices=("joined", "cold"),
    )
    start_within_s: float = option(0.0, "virtual s in which all nodes start, one after the other", least=0)
    seeds: int = option(3, "hosts that everybody knows", least=1, most=1_000)
    network: NetworkConditions = field(default_factory=NetworkConditions)
    hosts: HostConditions = field(default_factory=HostConditions)
    publish: Publishing = field(default_factory=Publishing)
    preload: Preload = field(default_factory=Preload)
    canary: Canary = field(default_factory=Canary)
    measure: Measuring = field(default_factory=Measuring)
    zones: tuple[Zone, ...] = ()
    hostile: tuple[Hostility, ...] = ()
    faults: tuple[Fault, ...] = ()


TABLES: Final[dict[str, type[Any]]] = {
    "network": NetworkConditions,
    "hosts": HostConditions,
    "publish": Publishing,
    "preload": Preload,
    "canary": Canary,
    "measure": Measuring,
}
"""Tables of a scenario file."""
LISTS: Final[dict[str, type[Any]]] = {"zones": Zone, "hostile": Hostility}
"""Lists of tables of a scenario file; faults are a third one, whose tables name their kind."""


def shipped() -> list[str]:
    """The names of the scenarios that come with the package."""
    files = resources.files(__package__).joinpath("shipped").iterdir()
    return sorted(file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX))


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """A shipped scenario by its name, or one from a file by its path, with ``overrides`` by path.

    A path names a table and an option (`network.loss`), or an option of the scenario
    itself (`nodes`); an element of a list goes by its number (`faults.0.for_s`).
    Raises InvalidInput that names the scenario, the path and what is allowed.
    """
    title, text = _source(name)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{title} is not TOML: {error}") from None
    try:
        for path, value in (overrides or {}).items():
            _set(values, path, value)
        return from_values(Path(title).name.removesuffix(SUFFIX), values)
    except InvalidInput as error:
        raise InvalidInput(f"scenario {title}: {error}") from None


def source(name: str) -> str:
    """The text of a scenario's file. Raises InvalidInput."""
    return _source(name)[1]


def _source(name: str) -> tuple[str, str]:
    if name in shipped():
        return name, resources.files(__package__).joinpath("shipped", name + SUFFIX).read_text("utf-8")
    path = Path(name)
    try:
        if not name.endswith(SUFFIX) and not path.is_file():
            known = ", ".join(shipped())
            raise InvalidInput(
                f"no scenario is named {name!r}{meant(name, shipped())}; there are {known}, and files ({SUFFIX})"
            )
        return name, path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"scenario file {name} cannot be read: {reason}") from None


def from_values(name: str, values: Mapping[str, Any]) -> Scenario:
    """A scenario from the tables of a file. Raises InvalidInput."""
    own = {one.name: one for one, _, _ in options_of(Scenario)}
    known = [*own, *TABLES, *LISTS, "faults"]
    for key in values:
        if key not in known:
            raise unknown(key, key, known)
    parts: dict[str, Any] = read_values(Scenario, {key: values[key] for key in own if key in values}, "")
    parts |= {table: read(kind, values.get(table, {}), table) for table, kind in TABLES.items()}
    parts |= {key: _read_list(kind, values.get(key, []), key) for key, kind in LISTS.items()}
    faults = _as_list(values.get("faults", []), "faults")
    parts["faults"] = tuple(_read_fault(one, f"faults.{number}") for number, one in enumerate(faults))
    scenario = Scenario(name, **parts)
    _check(scenario)
    return scenario


def _read_list(kind: type[Any], values: Any, path: str) -> tuple[Any, ...]:
    return tuple(read(kind, one, f"{path}.{number}") for number, one in enumerate(_as_list(values, path)))


def _as_list(values: Any, path: str) -> list[Any]:
    if not isinstance(values, list):
        raise InvalidInput(f"{path} must be a list of tables: write [[{path}]]")
    return values


def _read_fault(values: Any, path: str) -> Fault:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{path} must be a table, not {values!r}")
    if "kind" not in values:
        raise InvalidInput(f"{path}.kind is missing; allowed: {', '.join(FAULTS)}")
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in FAULTS:
        raise InvalidInput(f"{path}.kind is {kind!r}{meant(str(kind), FAULTS)}; allowed: {', '.join(FAULTS)}")
    return read(FAULTS[kind], {key: value for key, value in values.items() if key != "kind"}, path)


def _check(scenario: Scenario) -> None:
    """What no option alone can know."""
    names = [zone.name for zone in scenario.zones]
    if len(set(names)) != len(names):
        raise InvalidInput("zones: two zones have the same name")
    for number, name in enumerate(names):
        if not name.isprintable() or not 0 < len(name.encode()) <= TEXT_BYTES_MAX:
            raise InvalidInput(f"zones.{number}.name is {name!r}; allowed: printable, 1 to {TEXT_BYTES_MAX} bytes")
    given = [one is not None for zone in scenario.zones for one in (zone.latitude, zone.longitude)]
    if any(given) and not all(given):
        raise InvalidInput("zones: give latitude and longitude of all zones, or of none")
    if scenario.zones and not sum(zone.weight for zone in scenario.zones) > 0:
        raise InvalidInput("zones: the weights must not all be 0")
    if sum(one.share for one in scenario.hostile) >= 1:
        raise InvalidInput("hostile: the shares add up to 1 or more; leave honest hosts")
    if sum(round(one.share * scenario.nodes) for one in scenario.hostile) >= scenario.nodes:
        raise InvalidInput(f"hostile: the shares make all of {scenario.nodes} hosts hostile; leave honest ones")
    for path, count, value_bytes in (
        ("publish: entries", scenario.publish.entries, scenario.publish.value_bytes),
        ("preload: keys", scenario.preload.keys, scenario.preload.value_bytes),
    ):
        if count * value_bytes > CHANGE_BYTES_MAX:
            raise InvalidInput(f"{path} times value_bytes is more than one change may hold, {CHANGE_BYTES_MAX} bytes")
    if scenario.publish.entries > scenario.publish.keys:
        raise InvalidInput("publish.entries is larger than publish.keys: one change names a key once")


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    """Put ``value`` at ``path`` into the tables of a file."""
    *parents, last = path.split(".")
    place: Any = values
    for number, part in enumerate(parents):
        if isinstance(place, list):
            place = _element(place, part, path)
        else:
            is_list = part in LISTS or part == "faults"
            if not number and is_list and part not in place:
                raise InvalidInput(f"{path}: this scenario has no {part}")
            place = place.setdefault(part, {})
        if not isinstance(place, dict | list):
            raise InvalidInput(f"{path} is not an option: {'.'.join(parents[: number + 1])} is no table")
    if isinstance(place, list):
        raise InvalidInput(f"{path} must name an option of one of them, such as {path}.share")
    place[last] = value


def _element(place: list[Any], part: str, path: str) -> Any:
    if not part.isdecimal() or int(part) >= len(place):
        there = f"there are 0 to {len(place) - 1}" if place else "there is none"
        raise InvalidInput(f"{path}: {part} is no element; {there}")
    return place[int(part)]


def parse_value(text: str) -> Any:
    """A value as in TOML; what is not TOML is taken for a string, so that quotes can be left out."""
    try:
        read_text = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read_text["value"] if len(read_text) == 1 else text


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Overrides from `path=value` texts. Raises InvalidInput."""
    overrides = {}
    for one in assignments:
        path, equals, text = one.partition("=")
        if not equals or not path.strip():
            raise InvalidInput(f"{one!r} is not path=value, such as network.loss=0.3")
        overrides[path.strip()] = parse_value(text.strip())
    return overrides
