"""The directory of a node: settings, certificate and cluster file, written together or not at all.

Knows the options that `pki node` and `pki redeem` share, and files. Who issues the
certificate is the caller's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from ...model.errors import ConfigError, GossipconfError, KeyFileError
from ...runtime.settings import SETTINGS_FILE, load
from ...trust.cluster import Cluster
from ..output import say
from ..target import CLUSTER_FILE

DEFAULT_LISTEN: Final = "127.0.0.1:7946"
"""Loopback, so that a first try is not open to the network; 7946 is the port of gossip by custom (Serf)."""

ListenOption = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where it accepts peers; port 0 takes a free one.")
]
AdvertiseOption = Annotated[
    str | None, typer.Option("--advertise", metavar="HOST:PORT", help="Where peers reach it, if not where it listens.")
]
JoinOption = Annotated[
    list[str] | None,
    typer.Option("--join", metavar="HOST:PORT|srv:NAME", help="Another agent, or several; may be repeated."),
]
HostsOption = Annotated[
    list[str] | None,
    typer.Option("--host", metavar="HOST", help="A DNS name or address for the certificate; may be repeated."),
]
ZoneOption = Annotated[str, typer.Option("--zone", metavar="ZONE", help="Where it runs, as a path such as eu-west/a.")]
DaysOption = Annotated[int, typer.Option("--days", metavar="N", help="How long its certificate is valid.")]
SealKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--seal-key",
        metavar="FILE",
        help="The node's seal.key until now, so that it still opens what is sealed to it.",
    ),
]


def settings_of(name: str, listen: str, advertise: str | None, join: list[str] | None, zone: str) -> dict[str, object]:
    """The settings file that the options ask for."""
    settings: dict[str, object] = {"node": name, "listen": listen}
    settings |= {"advertise": advertise} if advertise else {}
    return settings | {"zone": zone, "join": list(join or ())}


def make_directory(out: Path, settings: Mapping[str, object], cluster: Cluster, issue: Callable[[], object]) -> None:
    """Write the directory ``out``; ``issue`` puts keys and certificates into it.

    Raises ConfigError for settings that no agent would take, KeyFileError if ``out`` exists or cannot be written.
    """
    if out.exists():
        raise KeyFileError(f"{out} exists already and is not overwritten; move it away or choose another name")
    _check_settings(out, settings)
    try:
        issue()
        cluster.save(out / CLUSTER_FILE)
        (out / SETTINGS_FILE).write_text(_settings_text(settings), encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{out} cannot be written: {error.strerror}") from None


def say_made(out: Path, lifetime: str, *, joins: bool) -> None:
    """What was made, and what comes next."""
    say(f"made {out}: certificate for {lifetime}, cluster file and {SETTINGS_FILE}")
    if not joins:
        say("it joins nobody by itself; for the next nodes say --join with this one's address")
    say(f"start it with: gossipconf agent run {out}")


def _check_settings(out: Path, settings: Mapping[str, object]) -> None:
    """Let the agent's own loader find what is wrong before anything is written."""
    directory = next(parent for parent in out.parents if parent.is_dir())
    probe = directory / f".{out.name}.{SETTINGS_FILE}"
    try:
        probe.write_text(_settings_text(settings), encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{directory} cannot be written: {error.strerror}") from None
    try:
        load(probe)
    except GossipconfError as error:
        raise ConfigError(str(error).replace(f"{probe}: ", "")) from None
    finally:
        probe.unlink()


def _settings_text(settings: Mapping[str, object]) -> str:
    # JSON's strings and lists of strings are TOML's, but for DEL, which no option may have.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    head = "# Settings of a gossipconf agent; relative paths are relative to this file."
    return "\n".join([head, *lines, ""])
