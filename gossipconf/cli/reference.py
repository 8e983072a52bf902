"""The command reference, docs/cli.md, from the commands themselves.

    python -m gossipconf.cli.reference > docs/cli.md

Written from the parameters and not from the rendered help, which differs between
versions of typer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from .exits import MEANINGS
from .main import app
from .target import CLUSTER_FILE

HEAD = f"""# Command line

<!-- Made by `python -m gossipconf.cli.reference > docs/cli.md`; a test compares. -->

A command finds its cluster by `{CLUSTER_FILE}` here or in a directory above (or `--cluster`,
`GOSSIPCONF_CLUSTER`), an agent by the first control socket below `nodes/` that answers (or `--agent`,
`GOSSIPCONF_AGENT`), and the key that signs at `keys/admin` (or `--key`, `GOSSIPCONF_KEY`).

Everything that is read is verified against this machine's own cluster file before it is shown; what does
not verify is not shown. `--json` on a read gives one JSON document, or with `watch` and `status --watch`
one line each; a value of type bytes is `{{"base64": …}}`."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    yield from _below("gossipconf", typer.main.get_command(app))


def reference() -> str:
    """The page, in Markdown."""
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in MEANINGS.items())
    parts = [HEAD, f"## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}"]
    parts += [_section(name, command) for name, command in commands()]
    return "\n\n".join(parts) + "\n"


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _below(f"{name} {child_name}", child)


def _section(name: str, command: Any) -> str:
    text, _, examples = (command.help or "").partition("\b\n")
    usage = " ".join([name, "[OPTIONS]", *(_argument(one) for one in command.params if _is_argument(one))])
    rows = [
        f"| `{_name(one).replace('|', chr(92) + '|')}` | {_meaning(one).replace('|', chr(92) + '|')} |"
        for one in command.params
        if one.help
    ]
    title, _, code = examples.partition("\n")
    return "\n\n".join(
        [
            f"## {name}",
            text.strip(),
            f"```\n{usage}\n```",
            "\n".join(["| | |", "|---|---|", *rows]),
            f"{title}\n\n```sh\n" + "\n".join(line[2:] for line in code.rstrip().splitlines()) + "\n```",
        ]
    )


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _argument(parameter: Any) -> str:
    name = f"{parameter.metavar}{'...' if parameter.nargs != 1 else ''}"
    return name if parameter.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if _is_argument(parameter):
        return str(parameter.metavar)
    return ", ".join(parameter.opts) + (f" {parameter.metavar}" if parameter.metavar else "")


def _meaning(parameter: Any) -> str:
    default = parameter.default
    shown = default if isinstance(default, str | int | float) and not isinstance(default, bool) and default else None
    extras = [
        *([f"default: {shown}"] if shown is not None else []),
        *([f"environment: `{parameter.envvar}`"] if parameter.envvar else []),
    ]
    return f"{parameter.help} ({'; '.join(extras)})" if extras else str(parameter.help)


if __name__ == "__main__":
    sys.stdout.write(reference())
