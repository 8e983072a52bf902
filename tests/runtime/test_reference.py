"""The page of all settings: up to date and complete."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gossipconf.protocol.frames import encode_frames
from gossipconf.protocol.messages import Message, Ping, Pong, Root, encode_message
from gossipconf.protocol.tuning import PRESETS, Tunable, tunables
from gossipconf.runtime.reference import PAGE, RECIPE, page
from gossipconf.runtime.settings import OPTIONS, load

ROOT = Path(__file__).parents[2]
KNOWN = {one.name: known for one, known in tunables()}
TLS_RECORD_BYTES = 22
"""What TLS 1.3 adds to each record."""


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), f"run: {RECIPE}"


def test_make_docs_makes_the_page() -> None:
    assert f"$(BIN)/{RECIPE}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_there_with_the_default_that_is_taken(option: str, tmp_path: Path) -> None:
    (row,) = (line for line in page().splitlines() if line.startswith(f"| `{option}` |"))
    default = row.split(" | ")[1].strip("`")
    if default == "must be given":
        assert option == "node"
        return
    value = tomllib.loads(f"default = {default}")["default"]
    (tmp_path / "agent.toml").write_text('node = "a"')
    assert load(tmp_path, {option: value}) == load(tmp_path)


@pytest.mark.parametrize(("name", "known"), KNOWN.items())
def test_every_tunable_has_its_unit_formula_and_trade_off(name: str, known: Tunable) -> None:
    assert name.endswith("_s") == (known.unit == "seconds")
    assert known.formula.endswith(".")
    assert known.trade_off.count(": ") == 2, "what less gives, and what more"
    values = " | ".join(f"{getattr(tuning, name):g}" for tuning in PRESETS.values())
    assert f"| `{name}` | {values} |" in page()


@pytest.mark.parametrize(
    ("name", "message", "told_bytes"),
    [
        ("keepalive_s", Ping(1), 29),
        ("keepalive_s", Pong(1), 29),
        ("compare_s", Root(bytes(16), 1), 50),
    ],
)
def test_bytes_in_formulas_are_those_that_are_sent(name: str, message: Message, told_bytes: int) -> None:
    assert f" {told_bytes} B " in KNOWN[name].formula
    sent_bytes = len(b"".join(encode_frames(message.CLASS, encode_message(message)))) + TLS_RECORD_BYTES
    assert abs(sent_bytes - told_bytes) <= 3
