"""A terminal on which a person types answers to what a command asks."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)  # what /dev/tty is from now on
from gossipconf.cli.main import main
main(sys.argv[1:])
"""


def on_terminal(
    *arguments: str | Path,
    answers: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    stdin: Path = Path(os.devnull),
    is_input: bool = False,
) -> tuple[int, str]:
    """The exit code of a command whose prompts, which end in ": ", are answered in turn, and all that was seen.

    It reads `stdin`, which is no terminal; with `is_input` the terminal itself, where questions end in ": " too.
    """
    master, slave = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    with stdin.open("rb") as source:
        streams = {"stdin": slave if is_input else source, "stdout": slave, "stderr": slave}
        process = subprocess.Popen(command, cwd=directory, env=environment, start_new_session=True, **streams)
    os.close(slave)
    left = list(answers)
    seen = b""
    asked = 0
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while piece := os.read(master, 4_096):
            seen += piece
            if left and seen[asked:].endswith(b": "):
                asked = len(seen)
                os.write(master, left.pop(0).encode() + b"\n")
    os.close(master)
    return process.wait(30), seen.decode()
