"""An agent's settings: a TOML file, overrides, and what is wrong with either.

Knows names, types and paths; opens nothing but the settings file itself.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ..model.errors import ConfigError, InvalidInput
from ..model.key import check_node_id
from ..protocol.sighting import Labels, labels_of
from ..protocol.tuning import DEFAULT_PRESET, LAN, PRESETS, Tuning
from .address import SEED_FORMS, check_seed, parse_address, parse_listen
from .http_endpoint import HttpEndpoint, endpoint_of
from .node_files import NodeFiles

SETTINGS_FILE: Final = "agent.toml"
HISTORY_DAYS: Final = 30
"""How long superseded versions stay in local history."""
HISTORY_DAYS_MAX: Final = 36_500
"""A century."""
ISSUED_DAYS: Final = 90
"""How long a renewed certificate holds: it is renewed again after 60 days, and its issuers may be away for 30."""
ISSUED_DAYS_MAX: Final = 36_500
"""A century, as any certificate."""
CLOCK_SKEW_S: Final = 10
"""Machines that keep time by the network are within a second; ten leave room for one that does so badly."""
CLOCK_SKEW_S_MAX: Final = 86_400
"""A day: whoever needs more has a clock to set."""
STALE_AFTER_S: Final = 300
"""Five beacons at their usual interval of a minute: fewer are lost by a link that is made anew."""
STALE_AFTER_S_MAX: Final = 31_536_000
"""A year."""
SEEDS_MAX: Final = 64
"""Seeds are a way in, not a membership list."""
ZONE_BYTES_MAX: Final = 128
"""A path such as `eu-west/a/rack-17`."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What an agent must know to run.

    node:          its name, as in its certificate
    listen:        host and port to accept peers on; port 0 takes a free one
    cluster:       the cluster file (genesis and policies)
    files:         private key, certificate and CA
    data:          directory of the journal and the control socket
    advertise:     address that peers are told, if it differs from ``listen``
    zone:          where it runs, as a path such as `eu-west/a`
    labels:        what else peers are told about it: at most 16 short names and values
    join:          seeds: addresses of some other agents, or names of several
    source_host:   local address of outgoing connections, or None
    history_days:  how long superseded versions are kept, in days
    checkpoint:    file that an empty disk boots from, or None
    clock_skew_s:  how far the clocks of machines may differ, in seconds
    stale_after_s: age of the view above which it is called stale, in seconds; 0 for never
    tuning:        the protocol's pace
    ticket:        by which it renews others' certificates, where the policy calls it an issuer; or None
    issued_days:   how long those hold
    http:          where HTTP is answered, or None
    overrides:     file of values that a program which runs the agent itself reads in the cluster's place; or None
    """

    node: str
    listen: tuple[str, int]
    cluster: Path
    files: NodeFiles
    data: Path
    advertise: str = ""
    zone: str = ""
    join: tuple[str, ...] = ()
    source_host: str | None = None
    labels: Labels = ()
    history_days: int = HISTORY_DAYS
    checkpoint: Path | None = None
    clock_skew_s: int = CLOCK_SKEW_S
    stale_after_s: int = STALE_AFTER_S
    tuning: Tuning = LAN
    ticket: Path | None = None
    issued_days: int = ISSUED_DAYS
    http: HttpEndpoint | None = None
    overrides: Path | None = None

    @property
    def control_socket(self) -> Path:
        """Where the agent listens for the command line."""
        return self.data / "control.sock"


def _option(meaning: str, default: Any = MISSING, *, toml: str = "") -> Any:
    """``toml``: how the default is written in the file, if that is not obvious from its type."""
    return field(default=default, metadata={"meaning": meaning, "toml": toml})


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the file: their names and types, and what they mean, for people."""

    node: str = _option("the name in the agent's certificate")
    listen: str = _option("where peers connect, as host:port; port 0 takes a free one", "127.0.0.1:7946")
    advertise: str = _option(
        "the address that peers are told, if not where it listens: behind NAT, and needed when `listen` is `0.0.0.0` "
        "or `[::]`, which nobody can dial",
        "",
    )
    join: tuple[str, ...] = _option(
        f"seeds, at most {SEEDS_MAX}: other agents as {SEED_FORMS}. They are a way in: one that works is enough, and "
        "all are tried for ever",
        (),
    )
    zone: str = _option(f"where it runs, as a path such as `eu-west/a` of at most {ZONE_BYTES_MAX} bytes", "")
    labels: tuple[tuple[str, str], ...] = _option(
        "what else peers are told about it, and conditions of variants go by: a table of at most 16 short names and "
        "values, such as `{ service = 'checkout' }`; conditions know `node` and `zone` besides",
        (),
        toml="{}",
    )
    preset: str = _option(f"the protocol's pace: {', '.join(PRESETS)}; see below", DEFAULT_PRESET)
    data: str = _option("directory of the journal and the control socket", "data")
    cluster: str = _option("the cluster file: genesis and policies", "cluster.gossipconf")
    certificate: str = _option("the agent's certificate", "node.crt")
    private_key: str = _option("the private key of that certificate", "node.key")
    ca: str = _option("certificates of the CAs whose nodes are let in", "ca.crt")
    source_host: str = _option("local address of outgoing connections, on machines with several", "")
    history_days: int = _option(
        f"how long superseded versions are kept for `history`, in days, 0 to {HISTORY_DAYS_MAX}", HISTORY_DAYS
    )
    ticket: str = _option(
        "a join ticket for any node, by which this agent renews others' certificates if the policy calls it an issuer",
        "",
    )
    issued_days: int = _option(
        f"how long the certificates hold that it renews, in days, 1 to {ISSUED_DAYS_MAX}", ISSUED_DAYS
    )
    checkpoint: str = _option(
        "a checkpoint file: an empty disk boots from it, and one that holds something merges it if it can", ""
    )
    clock_skew_s: int = _option(
        f"how far the clocks of machines may differ, in seconds, 0 to {CLOCK_SKEW_S_MAX}: by so much the age of a "
        "view is rounded up, and a snapshot from further in the future is refused",
        CLOCK_SKEW_S,
    )
    overrides: str = _option(
        "a TOML, YAML or JSON file of values that a Python program which runs this agent in its own process reads in "
        "the place of the cluster's, see [embedding](embedding.md); an agent of its own and the command line ignore it",
        "",
    )
    stale_after_s: int = _option(
        "the age in seconds above which `status` and the log call this agent's view stale, where beacons are run; 0 "
        "for never. It goes on serving",
        STALE_AFTER_S,
    )
    http: str = _option(
        "where HTTP is answered, see [http.md](http.md): `127.0.0.1:8765`, or the path of a Unix socket such as "
        "`./http.sock`; an address that other machines reach needs the three options below. Needs "
        "`pip install 'gossipconf[http]'`",
        "",
    )
    http_token: str = _option(
        "a file with the token that a client must show, readable for the agent's user only; without it everybody on "
        "this machine may read",
        "",
    )
    http_certificate: str = _option("the certificate by which HTTP is answered over TLS", "")
    http_private_key: str = _option("the private key of that certificate", "")


OPTIONS: Final = tuple(option.name for option in fields(Options))
"""The options that a settings file may have."""


NUMBERS: Final = {
    "history_days": ("days", 0, HISTORY_DAYS_MAX),
    "issued_days": ("days", 1, ISSUED_DAYS_MAX),
    "clock_skew_s": ("seconds", 0, CLOCK_SKEW_S_MAX),
    "stale_after_s": ("seconds", 0, STALE_AFTER_S_MAX),
}
"""Options that are whole numbers: unit, the least and the most."""


def load(path: Path, overrides: Mapping[str, object] | None = None) -> AgentSettings:
    """Read ``path``, a settings file or a directory with an `agent.toml`, then ``overrides``.

    Relative paths are relative to the file. Raises ConfigError naming the file and
    the option.
    """
    file = path / SETTINGS_FILE if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            table = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
    options = _checked({**table, **(overrides or {})}, str(file))
    return _resolved(options, file)


def _checked(table: Mapping[str, Any], where: str) -> Options:
    for name in table:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"{where}: unknown option {name!r}; {hint}Options are: {', '.join(OPTIONS)}")
    if "node" not in table:
        raise ConfigError(f"{where}: option 'node' is missing: the name in this agent's certificate")
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name == "join":
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
                raise ConfigError(f"{where}: option 'join' must be a list of {SEED_FORMS}, like ['10.0.0.1:7946']")
            values[name] = tuple(value)
        elif name in NUMBERS:
            unit, least, most = NUMBERS[name]
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(f"{where}: option {name!r} must be a whole number of {unit}, {least} to {most}")
            values[name] = value
        elif name == "labels":
            values[name] = _labels(value, where)
        elif not isinstance(value, str):
            raise ConfigError(f"{where}: option {name!r} must be a string, not {value!r}")
        else:
            values[name] = value
    return Options(**values)


def _labels(value: object, where: str) -> Labels:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise ConfigError(f"{where}: option 'labels' must be a table of strings, like {{ service = 'checkout' }}")
    try:
        return labels_of(value)
    except InvalidInput as error:
        raise ConfigError(f"{where}: option 'labels': {error}") from None


def _resolved(options: Options, file: Path) -> AgentSettings:
    base = file.parent
    try:
        check_node_id(options.node)
        host, port = parse_listen(options.listen)
        if options.advertise:
            parse_address(options.advertise)
        http = endpoint_of(base, options.http, options.http_token, options.http_certificate, options.http_private_key)
    except InvalidInput as error:
        raise ConfigError(f"{file}: {error}") from None
    for seed in options.join:
        try:
            check_seed(seed)
        except InvalidInput as error:
            raise ConfigError(f"{file}: option 'join': {error}") from None
    if options.preset not in PRESETS:
        raise ConfigError(f"{file}: option 'preset' is {options.preset!r}; presets are: {', '.join(PRESETS)}")
    told = options.advertise or options.listen
    if _is_wildcard(told):
        option = "advertise" if options.advertise else "listen"
        raise ConfigError(
            f"{file}: option {option!r} is {told}, which no peer can dial; "
            "set 'advertise' to an address that peers reach, or add --advertise HOST:PORT"
        )
    if len(options.join) > SEEDS_MAX:
        raise ConfigError(f"{file}: option 'join' has {len(options.join)} seeds; {SEEDS_MAX} are enough to find all")
    if len(options.zone.encode()) > ZONE_BYTES_MAX:
        raise ConfigError(f"{file}: option 'zone' is longer than {ZONE_BYTES_MAX} bytes")
    return AgentSettings(
        node=options.node,
        listen=(host, port),
        cluster=base / options.cluster,
        files=NodeFiles(base / options.private_key, base / options.certificate, base / options.ca),
        data=base / options.data,
        advertise=options.advertise,
        zone=options.zone,
        join=options.join,
        source_host=options.source_host or None,
        history_days=options.history_days,
        checkpoint=base / options.checkpoint if options.checkpoint else None,
        clock_skew_s=options.clock_skew_s,
        stale_after_s=options.stale_after_s,
        tuning=PRESETS[options.preset],
        labels=options.labels,
        ticket=base / options.ticket if options.ticket else None,
        issued_days=options.issued_days,
        http=http,
        overrides=base / options.overrides if options.overrides else None,
    )


def _is_wildcard(address: str) -> bool:
    """Whether ``address`` stands for all of a machine's own: good to listen on, and nowhere to connect to."""
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_unspecified
    except ValueError:
        return False
