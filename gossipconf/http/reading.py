"""What this agent reads, as JSON: of a key the version that counts, of history what was.

Nothing of it is signed: it is as good as the agent that says it. A value of type json is JSON;
text, yaml and toml are strings, for a parser of YAML that takes seconds has no place beside the
gossip; bytes and sealed values are base64, and a sealed one stays sealed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.responses import JSONResponse

from ..model.entry import ValueType
from ..model.errors import InvalidInput
from ..model.version import Version
from ..runtime.handout import FENCE_WAIT_S
from ..runtime.json_form import json_reach, json_time
from ..runtime.resolver import Resolver
from ..runtime.syntax import parse_value
from ..store.resolution import Resolution
from ..trust.keys import fingerprint
from .problem import Problem

if TYPE_CHECKING:
    from ..runtime.agent import Agent

MEDIA_TYPES: Final[Mapping[ValueType, str]] = {
    ValueType.TEXT: "text/plain; charset=utf-8",
    ValueType.JSON: "application/json",
    ValueType.YAML: "application/yaml",
    ValueType.TOML: "application/toml",
}
"""Of values as they are; all others are bytes."""
BYTES: Final = "application/octet-stream"


class Json(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which JSON may hold, has no UTF-8."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


async def read(agent: Agent, key: str) -> tuple[Version, Resolution]:
    """What is read of ``key``, and why; of one that is fenced once it is not, if that takes not too long.

    Raises StrictRead, and Problem where nothing is read.
    """
    with trio.move_on_after(FENCE_WAIT_S):
        await agent.reads.strict.settled(key)
    resolution = Resolver(agent).resolution(key)
    if resolution.version is None:
        told = "; ".join(
            f"{one.version.entry.variant or 'default'}: {one.verdict.value}" for one in resolution.candidates
        )
        why = f" ({told})" if told else ""
        raise Problem(404, "NoValue", f"{key!r} has no value here{why}", "see: gossipconf explain KEY")
    return resolution.version, resolution


def json_read(agent: Agent, version: Version, resolution: Resolution) -> dict[str, Any]:
    """What is read of a key, with its siblings, and what is held back from readers here."""
    siblings = [one.version for one in resolution.candidates if one.version.slot == version.slot]
    unfit = agent.last_good.unfit
    held_back = [
        {**json_version(one.version), "problem": unfit[one.version.id].problem}
        for one in resolution.candidates
        if one.version.id in unfit
    ]
    conflict = [one for one in siblings if one.id != version.id and one.id not in unfit]
    return {**json_version(version), "conflict": list(map(json_version, conflict)), "held_back": held_back}


def json_version(version: Version) -> dict[str, Any]:
    """One version; names are those of the command line's `--json`."""
    entry, header = version.entry, version.header
    return {
        "key": entry.key,
        "variant": entry.variant,
        **json_reach(entry),
        "operation": entry.operation.name.lower(),
        "type": entry.type.name.lower() if entry.value is not None else None,
        "value": json_value(entry.type, entry.value),
        "signer": fingerprint(header.writer.key),
        "time": json_time(header.time_ms),
        "activation": None if header.activation_ms is None else json_time(header.activation_ms),
        "comment": header.comment,
        "change": version.change_id.hex(),
        "version": version.id.hex(),
        "writer": version.writer_id.hex(),
        "number": header.seq,
        "policy": header.policy,
    }


def json_value(value_type: ValueType, value: bytes | None) -> Any:
    """A value as the module's docstring says; what does not parse as its text."""
    if value is None:
        return None
    if value_type in {ValueType.BYTES, ValueType.SEALED}:
        return {"base64": base64.b64encode(value).decode()}
    if value_type is ValueType.JSON:
        try:
            return parse_value(value_type, value)
        except InvalidInput:  # published by a program that did not check
            pass
    return value.decode(errors="replace")


def json_plain(told: Any) -> Any:
    """A reply of the control interface as JSON: ids and roots in hex."""
    if isinstance(told, bytes):
        return told.hex()
    if isinstance(told, dict):
        return {name: json_plain(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [json_plain(value) for value in told]
    return told
