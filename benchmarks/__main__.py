"""`python -m benchmarks NAME`: run a benchmark and write its figures as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import admin, bootstrap, propagation, reads, reconciliation, restart, simulator

BENCHMARKS = {
    "admin": admin,
    "bootstrap": bootstrap,
    "propagation": propagation,
    "reads": reads,
    "reconciliation": reconciliation,
    "restart": restart,
    "simulator": simulator,
}
"""Modules with `DESCRIPTION`, `add_options(parser)` and `measure(options)`, which returns plain values."""


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(name, help=module.DESCRIPTION, description=module.DESCRIPTION)
        module.add_options(command)
        command.add_argument("--json", default="-", metavar="F", help="file for the figures; - for stdout (default)")
    options = parser.parse_args()
    text = json.dumps(BENCHMARKS[options.benchmark].measure(options), indent=2) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    else:
        Path(options.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
