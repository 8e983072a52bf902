"""The command `gossipconf-sim`, and `python -m gossipconf_sim.cli`: says what to install where an extra is missing."""

import sys
from typing import Final

EXTRAS: Final = {"distributed": "dask", "dask": "dask"}
"""Which extra brings a module; all others come with `sim`."""


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        # Here, so that a missing extra ends in one line; a subcommand imports what only it needs when it runs.
        from .main import main as run  # noqa: PLC0415

        run()
    except ModuleNotFoundError as error:
        needed = (error.name or "").partition(".")[0]
        if not needed or needed.startswith("gossipconf"):
            raise
        extra = EXTRAS.get(needed, "sim")
        sys.exit(f"error: this needs {needed}; install it with: pip install 'gossipconf[{extra}]'")


if __name__ == "__main__":
    main()
