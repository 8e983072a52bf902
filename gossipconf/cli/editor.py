"""The editor: a text, changed by its user's own program. No text is lost in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import typer

from ..model.errors import GossipconfError, InvalidInput
from ..trust.files import read_bounded
from .output import note

EDITOR: Final = "vi"
"""What POSIX has, where neither VISUAL nor EDITOR says otherwise."""

NAME_CHARACTERS_MAX: Final = 60
"""At 4 bytes each they and a suffix fit into the 255 bytes of a file's name."""

Found = TypeVar("Found")


def edit_until(content: bytes, name: str, read: Callable[[bytes], Found], limit_bytes: int) -> tuple[bytes, Found]:
    """The text that the editor returns, and what `read` makes of it; who is at a terminal may correct what it refuses.

    `name`: of the file to edit, whose suffix tells editors its kind. A line end that the editor has added is taken
    away. Raises InvalidInput that names where the text is kept.
    """
    ends_in_line = content.endswith(b"\n") or not content
    while True:
        data = returned(content, name, "nothing is published", limit_bytes)
        if not ends_in_line:
            data = data.removesuffix(b"\n")
        try:
            return data, read(data)
        except InvalidInput as error:
            if not sys.stdin.isatty():
                raise _kept(error, data, name) from None
            note(f"error: {error}")
            if not typer.confirm("Edit it again?", default=True):
                raise _kept(error, data, name) from None
            content = data


@contextlib.contextmanager
def keeping(content: bytes, name: str) -> Iterator[None]:
    """Around what is done with an edited text: if that fails the text is kept, and the error names the file."""
    try:
        yield
    except GossipconfError as error:
        raise _kept(error, content, name) from None


def file_name(key: str, suffix: str) -> str:
    """What to call the file in which the value of `key` is edited: the end of the key's last segment."""
    return key.rpartition("/")[2][-NAME_CHARACTERS_MAX:] + suffix


def returned(content: bytes, name: str, otherwise: str, limit_bytes: int) -> bytes:
    """What the editor makes of a file that holds `content`. `otherwise`: what is if it fails. Raises InvalidInput."""
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not chosen and not sys.stdin.isatty():
        raise InvalidInput(f"there is no terminal to edit on, so {otherwise}; set EDITOR to a program that needs none")
    command = shlex.split(chosen or EDITOR)
    with tempfile.TemporaryDirectory(prefix="gossipconf-") as directory:  # of mode 0700
        path = Path(directory) / name
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written: {error.strerror}; {otherwise}") from None
        try:
            ended = subprocess.run([*command, str(path)], check=False)  # noqa: S603 - the user's own editor
        except OSError as error:
            raise InvalidInput(f"the editor {command[0]!r} cannot be started: {error.strerror}; set EDITOR") from None
        if ended.returncode:
            raise InvalidInput(f"the editor {command[0]!r} ended with code {ended.returncode}; {otherwise}")
        return read_bounded(path, limit_bytes)


def _kept(error: GossipconfError, content: bytes, name: str) -> GossipconfError:
    """The error, with where the text is from now on."""
    try:
        path = Path(tempfile.mkdtemp(prefix="gossipconf-kept-")) / name
        path.write_bytes(content)
    except OSError as failure:
        return type(error)(f"{error}. The text could not be kept: {failure.strerror}")
    return type(error)(f"{error}. The text is kept in {path}")
