"""Running an agent: `agent run`. Reads options, sets up logging and hands over to ``runtime.process``."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ...model.errors import ConfigError
from ...runtime.settings import SETTINGS_FILE, load
from ..output import escaped, json_text

app = typer.Typer(help="Run agents.", no_args_is_help=True)


@app.command()
def run(
    path: Annotated[Path, typer.Argument(metavar="DIR|TOML", help="A node's directory, or its settings file.")],
    listen: Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT", help="Instead of `listen`.")] = None,
    advertise: Annotated[
        str | None, typer.Option("--advertise", metavar="HOST:PORT", help="Instead of `advertise`.")
    ] = None,
    join: Annotated[
        list[str] | None,
        typer.Option("--join", metavar="HOST:PORT|srv:NAME", help="Instead of `join`; may be repeated."),
    ] = None,
    zone: Annotated[str | None, typer.Option("--zone", metavar="ZONE", help="Instead of `zone`.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="lan|wan|local", help="Instead of `preset`: the protocol's pace.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Instead of `data`.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Instead of `checkpoint`: what an empty disk boots from."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log one JSON object a line.")] = False,
) -> None:
    """Run an agent until SIGTERM or Ctrl-C. It logs to stderr.

    SIGHUP has it read its certificate files again.

    \b
    Examples:
      gossipconf agent run shop/nodes/a
      gossipconf agent run /etc/gossipconf --join 10.0.0.1:7946 --log-json
    """
    if path.is_dir() and not (path / SETTINGS_FILE).is_file():
        raise ConfigError(f"{path} has no {SETTINGS_FILE}; make a node's directory with: gossipconf pki node NAME")
    given = {
        "listen": listen,
        "advertise": advertise,
        "join": join or None,
        "zone": zone,
        "preset": preset,
        "data": None if data is None else str(data.absolute()),
        "checkpoint": None if checkpoint is None else str(checkpoint.absolute()),
    }
    from ...http.service import services  # noqa: PLC0415 - as below
    from ...runtime.process import run as run_agent  # noqa: PLC0415 - trio and the protocol; no other command needs them

    settings = load(path, {name: value for name, value in given.items() if value is not None})
    _log_to_stderr(logging.DEBUG if verbose else logging.INFO, as_json=log_json)
    log = logging.getLogger("gossipconf")
    run_agent(settings, lambda _: log.info("ready for commands at %s", settings.control_socket), services(settings))


def _log_to_stderr(level: int, *, as_json: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logger = logging.getLogger("gossipconf")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class TextFormatter(logging.Formatter):
    """A log record as one line for people, and its traceback if there is one.

    What peers have written is in it: no character of theirs may begin another line or command a terminal.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """The traceback's lines."""
        return "\n".join(map(escaped, super().formatException(ei).split("\n")))


class JsonFormatter(logging.Formatter):
    """A log record as one JSON object: time (RFC 3339, UTC), level, message, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json_text(fields)
