"""Passphrases: asked on the terminal without echo, or the first line of a file.

Never an argument and never an environment variable of their own: other processes of the
machine could read these. Standard input stays what it is, the value of a `put` for one.
"""

from __future__ import annotations

import getpass
import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from ..model.errors import KeyFileError, WrongPassphrase
from ..trust.keys import PrivateKey, load_signer
from .output import escaped, note

TERMINAL: Final = "/dev/tty"
ATTEMPTS: Final = 3
"""How often a person is asked, as OpenSSH does."""
PASSPHRASE_BYTES_MAX: Final = 1_024
"""OpenSSH's own bound."""

PassphraseFileOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        envvar="GOSSIPCONF_PASSPHRASE_FILE",
        help="File whose first line is the key's passphrase. Default: asked on the terminal, if there is one.",
    ),
]
NewPassphraseOption = Annotated[
    bool, typer.Option("--passphrase", help="Protect the new key with a passphrase, which is asked on the terminal.")
]


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A private key, and the passphrase that has opened it; None if it has none. Its text form shows neither."""

    key: PrivateKey
    passphrase: bytes | None = field(repr=False)


def open_key(path: Path, passphrase_file: Path | None) -> OpenedKey:
    """The private key in `path`. Raises KeyFileError, or WrongPassphrase once a person has tried thrice."""
    for _ in range(ATTEMPTS - 1 if passphrase_file is None else 0):
        try:
            return _opened(path, passphrase_file)
        except WrongPassphrase as error:
            note(str(error))
    return _opened(path, passphrase_file)


def _opened(path: Path, passphrase_file: Path | None) -> OpenedKey:
    given: list[bytes] = []

    def ask() -> bytes:
        if passphrase_file is not None:
            given.append(read_passphrase(passphrase_file))
        else:
            given.append(_typed(f"Passphrase of {escaped(str(path))}: ", f"{path} has a passphrase"))
        return given[0]

    key = load_signer(path, ask)
    return OpenedKey(key, given[0] if given else None)


def read_passphrase(path: Path) -> bytes:
    """The first line of a file. Raises KeyFileError, also if others may read the file."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.readline(PASSPHRASE_BYTES_MAX + 3)
    except OSError as error:
        raise KeyFileError(f"passphrase file {path} cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & 0o077:  # a pipe, as <(command) makes one, is nobody else's
        raise KeyFileError(
            f"passphrase file {path} can be read by others (mode {stat.S_IMODE(mode):04o}); "
            f"run: chmod 600 {shlex.quote(str(path))}"
        )
    return _checked(line.removesuffix(b"\n").removesuffix(b"\r"), f"the first line of passphrase file {path}")


def new_secret(path: Path, is_asked: bool, passphrase_file: Path | None) -> bytes | None:
    """What will protect the new key in `path`: typed twice if it is to be asked, else from the file, else nothing.

    Raises KeyFileError.
    """
    if is_asked:
        return new_passphrase(path)
    return None if passphrase_file is None else read_passphrase(passphrase_file)


def new_passphrase(path: Path) -> bytes:
    """A passphrase for the new key in `path`, typed twice. Raises KeyFileError."""
    for _ in range(ATTEMPTS):
        first = _checked(
            _typed(f"New passphrase of {escaped(str(path))}: ", "a passphrase is wanted"), "the passphrase"
        )
        if first == _typed("The same again: ", "a passphrase is wanted"):
            return first
    raise KeyFileError(f"{path} is not written: the two passphrases differed {ATTEMPTS} times")


def _typed(prompt: str, why: str) -> bytes:
    """What a person types at the prompt, which goes to the terminal and to no pipe."""
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))  # without one getpass would read stdin, and echo
    except OSError:
        raise KeyFileError(
            f"{why}, and there is no terminal to ask on; name a file that holds it with --passphrase-file"
        ) from None
    try:
        return os.fsencode(getpass.getpass(prompt))
    except UnicodeError:
        raise KeyFileError(f"{why}, and what was typed is not text in the terminal's encoding") from None


def _checked(passphrase: bytes, what: str) -> bytes:
    if not passphrase:
        raise KeyFileError(f"{what} is empty")
    if len(passphrase) > PASSPHRASE_BYTES_MAX:
        raise KeyFileError(f"{what} has more than {PASSPHRASE_BYTES_MAX} bytes")
    return passphrase
