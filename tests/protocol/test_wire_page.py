"""docs/wire.md: its table of messages is that of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

from gossipconf.protocol.messages import VERSION_MAX, VERSION_MIN, Message

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")


def test_every_message_is_in_the_table_as_it_is() -> None:
    written = re.findall(r"^\| (\d+) \| (\w+) \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
    kinds = sorted(get_args(Message), key=lambda kind: kind.TYPE)
    assert written == [
        (
            str(kind.TYPE),
            kind.__name__,
            kind.CLASS.name.lower(),
            ", ".join(one.name for one in dataclasses.fields(kind)),
        )
        for kind in kinds
    ]


def test_the_page_is_about_the_version_that_is_spoken() -> None:
    assert (VERSION_MIN, VERSION_MAX) == (1, 1), "describe the new version in docs/wire.md"
    assert "\nVersion 1. " in PAGE
