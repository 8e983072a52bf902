"""Overrides: what this machine's environment and a local file say in the place of the cluster's values.

The variable for a key is GOSSIPCONF_OVERRIDE_ and the key in upper case, with ``__`` for each
slash and ``_`` for whatever else is no letter or digit:

    shop/checkout/timeout-ms    GOSSIPCONF_OVERRIDE_SHOP__CHECKOUT__TIMEOUT_MS

Its value is text. In a file nested tables are the segments of keys, as in `gossipconf apply`:
a string is text, any other leaf is json. Both are read once, when the agent is opened.

Knows neither agents nor strict prefixes (whose values may differ on no machine: see `follower`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..model.entry import ValueType
from ..model.errors import ConfigError, InvalidInput
from ..model.key import check_key, is_system_key
from ..runtime.syntax import TREE_READERS, ParserMissing, decode_text, plain
from .value import Content

VARIABLE_PREFIX: Final = "GOSSIPCONF_OVERRIDE_"
FILE_BYTES_MAX: Final = 1 << 20
"""Overrides are for a machine that is looked into; a megabyte of them is another cluster."""
_OTHER = re.compile(r"[^A-Z0-9/]")


@dataclass(frozen=True, slots=True)
class Overrides:
    """variables: text by the name of the variable; file: content by key; path: of the file."""

    variables: Mapping[str, str] = field(default_factory=dict)
    file: Mapping[str, Content] = field(default_factory=dict)
    path: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.variables or self.file)


def variable_of(key: str) -> str:
    """The environment variable that overrides ``key``."""
    return VARIABLE_PREFIX + _OTHER.sub("_", key.upper()).replace("/", "__")


def load(path: Path | None, environment: Mapping[str, str]) -> Overrides:
    """What is overridden on this machine. Raises ConfigError that names the file, and never a value."""
    variables = {name: text for name, text in environment.items() if name.startswith(VARIABLE_PREFIX)}
    for name, text in variables.items():
        if not _is_utf8(text):
            raise ConfigError(f"environment variable {name} is not UTF-8")
    return Overrides(variables, {} if path is None else dict(_file(path)), path)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _file(path: Path) -> Iterator[tuple[str, Content]]:
    read = TREE_READERS.get(path.suffix)
    if read is None:
        raise ConfigError(f"override file {path}: its name must end in {', '.join(TREE_READERS)}")
    try:
        with path.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"override file {path} cannot be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"override file {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        tree = plain(read(decode_text(data, str(path)), str(path)).root, 0, str(path))
        if not isinstance(tree, dict | None):
            raise ConfigError(f"override file {path} must hold a table of keys")
        yield from _leaves(tree or {}, "")
    except ParserMissing as error:
        raise ConfigError(f"override file {path} needs the package {error}, which is not installed") from None
    except InvalidInput as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"override file {path}: {error}") from None


def _leaves(tree: Mapping[Any, Any], above: str) -> Iterator[tuple[str, Content]]:
    for segment, value in tree.items():
        key = f"{above}/{segment}" if above else str(segment)
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
            continue
        if is_system_key(check_key(key)):
            raise InvalidInput(f"key {key!r}: keys that begin with _ are the system's, and nothing overrides them")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        yield key, Content(ValueType.TEXT if isinstance(value, str) else ValueType.JSON, text.encode())
