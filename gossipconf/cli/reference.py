"""The command references, docs/cli.md and docs/simulator-cli.md, from the commands themselves.

    python -m gossipconf.cli.reference > docs/cli.md
    python -m gossipconf.cli.reference gossipconf_sim.cli.main > docs/simulator-cli.md

Written from the parameters and not from the rendered help, which differs between
versions of typer. A command is named by the module that has its `app`; the module
`exits` beside it says what its exit codes mean.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer

from .target import CLUSTER_FILE

AGENTS: Final = "gossipconf.cli.main"
SIMULATOR: Final = "gossipconf_sim.cli.main"


@dataclass(frozen=True, slots=True)
class Page:
    """A reference: its path from the root of the checkout, its title, and what holds for all commands."""

    path: str
    title: str
    introduction: str


PAGES: Final = {
    AGENTS: Page(
        "docs/cli.md",
        "Command line",
        f"""\
A command finds its cluster by `{CLUSTER_FILE}` here or in a directory above (or `--cluster`,
`GOSSIPCONF_CLUSTER`), an agent by the first control socket below `nodes/` that answers (or `--agent`,
`GOSSIPCONF_AGENT`), and the key that signs at `keys/admin` (or `--key`, `GOSSIPCONF_KEY`), which may be in
the ssh-agent or have a passphrase ([operations.md](operations.md#keys)).

Everything that is read is verified against this machine's own cluster file before it is shown; what does
not verify is not shown. `--json` on a read gives one JSON document, or with `watch` and `status --watch`
one line each; a value of type bytes is `{{"base64": …}}`.""",
    ),
    SIMULATOR: Page(
        "docs/simulator-cli.md",
        "Simulator command line",
        """\
Install with `pip install 'gossipconf[sim]'`. The same parameters and seed give the same figures.

`--json F` writes one JSON document to the file F besides what is shown; `--json -` writes it to standard
output instead.""",
    ),
}
"""By the module of the command."""


def commands(module: str = AGENTS) -> Iterator[tuple[str, Any]]:
    """Every command of a module of PAGES that does something, with its full name."""
    app = importlib.import_module(module).app
    yield from _below(app.info.name, typer.main.get_command(app))


def reference(module: str = AGENTS) -> str:
    """The page of a module of PAGES, in Markdown."""
    page = PAGES[module]
    meanings = importlib.import_module(f"{module.rpartition('.')[0]}.exits").MEANINGS
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in meanings.items())
    parts = [
        f"# {page.title}",
        f"<!-- Made by `{recipe(module)}`; a test compares. -->",
        page.introduction,
        f"## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}",
    ]
    parts += [_section(name, command) for name, command in commands(module)]
    return "\n\n".join(parts) + "\n"


def recipe(module: str = AGENTS) -> str:
    """The command that makes the page of a module of PAGES again."""
    named = "" if module == AGENTS else f" {module}"
    return f"python -m gossipconf.cli.reference{named} > {PAGES[module].path}"


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _below(f"{name} {child_name}", child)


def _section(name: str, command: Any) -> str:
    text, _, examples = (command.help or "").partition("\b\n")
    required = [f"{_name(one)}" for one in command.params if one.required and not _is_argument(one)]
    arguments = [_argument(one) for one in command.params if _is_argument(one)]
    usage = " ".join([name, "[OPTIONS]", *arguments, *required])
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
    is_shown = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    extras = [
        *([f"default: {default}"] if is_shown else []),
        *([f"environment: `{parameter.envvar}`"] if parameter.envvar else []),
    ]
    return f"{parameter.help} ({'; '.join(extras)})" if extras else str(parameter.help)


def main(arguments: Sequence[str]) -> None:
    """Write the page of the named module, or of the agents' command, to standard output."""
    module = arguments[0] if arguments else AGENTS
    if module not in PAGES or len(arguments) > 1:
        sys.exit(f"error: name one of {', '.join(PAGES)}")
    sys.stdout.write(reference(module))


if __name__ == "__main__":
    main(sys.argv[1:])
