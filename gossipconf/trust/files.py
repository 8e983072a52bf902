"""Files that appear whole or not at all, in place of another only where asked for, and are read up to a limit."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ..model.errors import KeyFileError


def read_bounded(path: Path, size_max: int, *, absent: bytes | None = None) -> bytes:
    """The bytes of a file that has ``size_max`` at most; ``absent``, if given, where there is none.

    Raises KeyFileError naming it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        if absent is not None and isinstance(error, FileNotFoundError):
            return absent
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > size_max:
        raise KeyFileError(f"{path} is larger than {size_max} bytes, the limit of such a file; is it another one?")
    return data


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Create ``path`` with ``data`` and ``mode``. Raises KeyFileError if it exists or cannot be written."""
    temporary = ""
    try:
        # mkstemp creates with mode 0600, so a key is at no moment readable by others.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, mode)
        os.link(temporary, path)  # unlike a rename it fails if the name is taken meanwhile
    except FileExistsError:
        raise KeyFileError(f"{path} exists already and is not overwritten; move it away first") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def replace_file(path: Path, data: bytes, mode: int | None = None) -> None:
    """Put ``data`` in the place of the file ``path``, with ``mode``, or the one that it has. Raises KeyFileError.

    A crash leaves the one or the other, and no part of either.
    """
    temporary = ""
    try:
        path = path.resolve(strict=mode is None)  # what a link points at is replaced, and not the link
        mode = path.stat().st_mode & 0o777 if mode is None else mode
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
        temporary = ""
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
