"""The command `gossipconf`, and `python -m gossipconf.cli`: says what to install where the extra is missing."""

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from .main import main as run  # noqa: PLC0415 - so that a missing extra ends in one line
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gossipconf"):
            raise
        sys.exit(f"error: the command line needs {error.name}; install it with: pip install 'gossipconf[cli]'")
    run()


if __name__ == "__main__":
    main()
