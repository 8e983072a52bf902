"""Models of three kinds from the values under a prefix."""

from __future__ import annotations

import enum
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pydantic
import pytest

from gossipconf.embed.model import Unmade, check_model, make
from gossipconf.embed.overrides import Overrides
from gossipconf.model.entry import ValueType, put
from gossipconf.model.errors import InvalidInput

from .core import Core, followed, json, text


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Retry:
    attempts: int
    pause_s: float = 0.5


@dataclass(frozen=True)
class Limits:
    per_minute: int
    ratio: float
    retry: Retry
    name: str = "none"
    on: bool = False
    raw: bytes = b""
    hosts: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    colour: Colour = Colour.RED
    mode: Literal["fast", "safe"] = "safe"
    level: int | None = None
    anything: Any = None
    spare: Retry | None = None
    derived: str = field(default="", init=False)


class PydanticRetry(pydantic.BaseModel):
    attempts: int
    pause_s: float = 0.5


class PydanticLimits(pydantic.BaseModel):
    per_minute: int = pydantic.Field(gt=0, alias="per-minute")
    retry: PydanticRetry
    on: bool = False
    raw: bytes = b""
    hosts: list[str] = []

    @pydantic.field_validator("hosts")
    @classmethod
    def _no_more_than_two(cls, hosts: list[str]) -> list[str]:
        if len(hosts) > 2:
            raise RuntimeError("a validator that breaks")
        return hosts


class StructRetry(msgspec.Struct):
    attempts: int
    pause_s: float = 0.5


class StructLimits(msgspec.Struct, rename={"per_minute": "per-minute"}):
    per_minute: int
    retry: StructRetry
    on: bool = False
    raw: bytes = b""
    hosts: list[str] = []


def made(model, *entries, overrides: Overrides | None = None):
    return make(model, "shop/limits", followed(Core(*entries), overrides).snapshot)


def at(name: str, value: str):
    return text(f"shop/limits/{name}", value)


REQUIRED = (at("per_minute", "3"), at("ratio", "0.5"), json("shop/limits/retry", '{"attempts": 2}'))


def test_a_dataclass_of_keys():
    found = made(
        Limits,
        at("per_minute", "3"),
        json("shop/limits/ratio", "2"),
        at("retry/attempts", "4"),
        at("name", "x"),
        at("on", "yes"),
        at("raw", "\x80"),
        json("shop/limits/hosts", '["a", "b"]'),
        at("table", '{"a": 1}'),
        at("colour", "blue"),
        at("mode", "fast"),
        at("level", "7"),
        at("anything", "x"),
        at("unknown", "is passed over"),
        text("shop/limits-too/name", "is elsewhere"),
    )
    assert found == Limits(
        3, 2.0, Retry(4), "x", True, "\x80".encode(), ["a", "b"], {"a": 1}, Colour.BLUE, "fast", 7, "x"
    )
    assert type(found.ratio) is float


def test_defaults_and_a_part_that_is_one_value():
    assert made(Limits, *REQUIRED) == Limits(3, 0.5, Retry(2))
    assert made(Limits, *REQUIRED, json("shop/limits/level", "null")).level is None


def test_an_override_is_in_the_model():
    overrides = Overrides({"GOSSIPCONF_OVERRIDE_SHOP__LIMITS__NAME": "mine"})
    assert made(Limits, *REQUIRED, overrides=overrides).name == "mine"


@pytest.mark.parametrize(
    ("entries", "path", "reason"),
    [
        ((), ("per_minute",), "it has no value, and the field has no default"),
        ((at("per_minute", "many"),), ("per_minute",), "int is wanted, and the value is text that is no whole number"),
        ((json("shop/limits/retry", "[]"),), ("retry",), "dict is wanted, and the value is of type list"),
        ((json("shop/limits/retry", '{"attempts": "2"}'),), ("retry", "attempts"), "int is wanted"),
        ((json("shop/limits/hosts", "[1]"),), ("hosts", "0"), "str is wanted"),
        ((at("table", '{"a": true}'),), ("table", "a"), "int is wanted, and the value is of type bool"),
        ((at("colour", "green"),), ("colour",), "it is none of red, blue"),
        ((at("mode", "slow"),), ("mode",), "it is none of"),
        ((at("level", "x"),), ("level",), "int is wanted, and the value is text"),
        ((json("shop/limits/name", "{"),), ("name",), "it is broken json"),
    ],
)
def test_what_is_wrong_is_told_by_field(entries, path, reason):
    named = {entry.key for entry in entries}
    others = () if not entries else tuple(entry for entry in REQUIRED if entry.key not in named)
    with pytest.raises(Unmade) as raised:
        made(Limits, *entries, *others)
    assert raised.value.path == path
    assert reason in raised.value.reason


@pytest.mark.parametrize("model", [PydanticLimits, StructLimits])
def test_models_of_others_check_by_their_own_rules(model):
    found = made(
        model,
        at("per-minute", "3"),
        at("retry/attempts", "4"),
        at("on", "true"),
        put("shop/limits/raw", b"\xff", ValueType.BYTES),
        json("shop/limits/hosts", '["a"]'),
    )
    assert (found.per_minute, found.retry.attempts, found.on, found.raw, found.hosts) == (3, 4, True, b"\xff", ["a"])
    assert isinstance(found, model)


@pytest.mark.parametrize("model", [PydanticLimits, StructLimits])
def test_what_is_wrong_with_them_is_told_by_field(model):
    for entries, path in (
        ((at("per-minute", "many"), at("retry/attempts", "1")), ("per-minute",)),
        ((at("per-minute", "1"), at("retry/attempts", "x")), ("retry", "attempts")),
    ):
        with pytest.raises(Unmade) as raised:
            made(model, *entries)
        assert raised.value.path == path
        assert "many" not in raised.value.reason
    with pytest.raises(Unmade) as raised:
        made(model, at("per-minute", "1"))
    assert raised.value.path[:1] == ("retry",)


def test_a_validator_that_breaks_is_a_reason_and_no_crash():
    with pytest.raises(Unmade, match="RuntimeError: a validator that breaks"):
        made(
            PydanticLimits, at("per-minute", "1"), at("retry/attempts", "1"), json("shop/limits/hosts", '["a","b","c"]')
        )


@dataclass
class Refuses:
    low: int

    def __post_init__(self) -> None:
        if self.low < 0:
            raise ValueError("low must not be negative")


def test_a_dataclass_may_refuse():
    with pytest.raises(Unmade, match="Refuses refuses its values: ValueError: low must not be negative"):
        made(Refuses, at("low", "-1"))


@dataclass
class Unknown:
    pair: tuple[int, int]


@pytest.mark.parametrize(("model", "words"), [(Unknown, "Unknown.pair: the annotation"), (int, "is no model")])
def test_what_cannot_be_bound_is_refused_at_once(model, words):
    with pytest.raises(InvalidInput, match=words):
        check_model(model)


def test_nobodys_model_library_is_imported():
    program = (
        "import sys, dataclasses, gossipconf.embed.model as m\n"
        "m.check_model(dataclasses.make_dataclass('D', [('a', int)]))\n"
        "assert not {'pydantic', 'msgspec'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
