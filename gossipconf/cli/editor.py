"""The editor: a policy as text, changed by its user's own program."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from ..model.errors import InvalidInput
from ..model.limits import VALUE_BYTES_MAX
from ..trust.files import read_bounded
from ..trust.policy import Policy
from .rules import from_bytes

EDITOR: Final = "vi"
"""What POSIX has, where neither VISUAL nor EDITOR says otherwise."""


def edited(text: str, draft: Path, head: Policy) -> Policy:
    """What comes back from the editor: the successor of `head`.

    A text that is refused is kept beside where the draft would be. Raises InvalidInput.
    """
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to edit on; give the new text with --from FILE")
    data = _returned(text)
    kept = draft.with_name(draft.name + ".yaml")
    try:
        return from_bytes(data, str(kept), head)
    except InvalidInput as error:
        with contextlib.suppress(OSError):
            kept.write_bytes(data)
        raise type(error)(
            f"{error}. The text is kept: correct it and run: gossipconf policy edit --from {kept}"
        ) from None


def _returned(text: str) -> bytes:
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR)
    with tempfile.TemporaryDirectory(prefix="gossipconf-") as directory:
        path = Path(directory) / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*command, str(path)], check=False)  # noqa: S603 - the user's own editor
        except OSError as error:
            raise InvalidInput(f"the editor {command[0]!r} cannot be started: {error.strerror}; set EDITOR") from None
        if ended.returncode:
            raise InvalidInput(f"the editor {command[0]!r} ended with code {ended.returncode}; no draft is made")
        return read_bounded(path, VALUE_BYTES_MAX)
