"""The command `import`: what another program has exported, published as one change whose plan is shown first.

Knows how names there become keys here. Knows nothing of the formats (see ``formats``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...model.errors import InvalidInput, LimitExceeded
from ...model.key import check_key
from ...model.limits import VALUE_BYTES_MAX
from ..expectation import IfVersionOption
from ..files.value import TypedValue, check_own_key
from ..output import count, note, say
from ..prefix import prefix_of
from ..session import open_session
from .publishing import Publishing, publishing
from .steps import YesOption, publish_shown

if TYPE_CHECKING:
    from ..files.formats.text import Found, Read

SOURCES: Final = ("consul", "etcd", "apollo", "env", "properties")
FILE_BYTES_MAX: Final = 64 << 20
"""Several changes' worth, and as text in base64: beyond it nobody could publish it in one."""


@dataclass(slots=True)
class Mapped:
    """Values by the keys that they get here, where each comes from, and what is told of the others."""

    values: dict[str, TypedValue] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def add(self, found: Found, prefix: str) -> None:
        """Take a value over, or note why not."""
        try:
            key = legal_key(found.name, prefix)
            if key in self.sources:
                raise InvalidInput(f"is {key!r} here, and so is what stands at {self.sources[key]}")
            if len(found.value[1]) > VALUE_BYTES_MAX:
                raise LimitExceeded(f"has {len(found.value[1]):,} bytes, and a value at most {VALUE_BYTES_MAX:,}")
        except InvalidInput as error:
            self.refused.append(f"{found.name!r} ({found.source}): {error}")
            return
        self.values[key], self.sources[key] = found.value, found.source
        plain = f"{prefix}/{found.name}" if prefix else found.name
        if key != plain:
            self.changed.append(f"{found.name!r} becomes {key!r}")
        if found.note:
            self.changed.append(f"{found.name!r}: {found.note}")


@publishing
def import_file(
    path: Annotated[Path, typer.Argument(metavar="FILE|-", help="What the other program exported, or - for stdin.")],
    source: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help=f"Where it comes from: {', '.join(SOURCES)}.")
    ],
    prefix: Annotated[str, typer.Option("--prefix", metavar="PREFIX", help="Put all of it under this key.")] = "",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what cannot be taken over, and publish the rest.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete keys under --prefix that the file does not have.")
    ] = False,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Publish what Consul, etcd, Apollo or a file has, as one change.

    Consul: `consul kv export PREFIX`. etcd: `etcdctl get --prefix PREFIX -w json`.
    Apollo: the ZIP that its portal exports; keys are app/env/cluster/namespace/item.
    env: `.env`, where __ stands for a slash. properties: a dot does.

    Every key that is written otherwise here is told, and so is all that cannot be
    taken over: then nothing is published, unless you say --skip-bad. Values are text,
    or bytes where they are not UTF-8.

    \b
    Examples:
      consul kv export shop/ | gossipconf import - --from consul --dry-run
      gossipconf import shop.json --from etcd --prefix old --ticket OPS-17
      gossipconf import apollo_config_export.zip --from apollo --prefix apollo
    """
    from .declared import compare  # noqa: PLC0415 - as the formats, which only files need

    if source not in SOURCES:
        raise typer.BadParameter(f"{source!r} is none of {', '.join(SOURCES)}", param_hint="'--from'")
    prefix = prefix_of(prefix)
    if prefix:
        check_own_key(prefix)
    if prune and not prefix:
        raise typer.BadParameter("--prune needs a --prefix: everything else would go", param_hint="'--prune'")
    delivery = how.delivery(if_version)
    mapped = _mapped(_reader(source)(_content(path), str(path)), prefix)
    _tell(mapped, skip_bad=skip_bad)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        places = (prefix,) if prefix else tuple(sorted({key.split("/")[0] for key in mapped.values}))
        made = compare(session, mapped.values, mapped.sources, places, prune=prune)
        if not made.entries:
            say(f"nothing to do: {count(made.unchanged, 'key')} as in {path}")
            return
        text = how.reason()
        publish_shown(session, delivery, signer, made.entries, made.items, text, unchanged=made.unchanged, yes=yes)


def legal_key(name: str, prefix: str) -> str:
    """The key under `prefix` for what another program calls `name`: without slashes that separate nothing.

    Raises InvalidInput if there is none.
    """
    path = "/".join(segment for segment in name.split("/") if segment)
    key = f"{prefix}/{path}" if prefix and path else path
    check_own_key(check_key(key))
    return key


def _mapped(read: Read, prefix: str) -> Mapped:
    mapped = Mapped()
    for one in read.passed_over:
        note(f"passed over: {one}")
    for found in read.found:
        mapped.add(found, prefix)
    return mapped


def _tell(mapped: Mapped, *, skip_bad: bool) -> None:
    for one in mapped.changed:
        note(f"note: {one}")
    for one in mapped.refused:
        note(f"refused: {one}")
    if mapped.refused and not skip_bad:
        raise InvalidInput(
            f"nothing is published: {count(len(mapped.refused), 'value')} cannot be taken over; mend the file, "
            "or leave out what is refused with --skip-bad"
        )
    if not mapped.values:
        raise InvalidInput("nothing is published: there is no value to take over")


def _reader(source: str) -> Callable[[bytes, str], Read]:
    from ..files.formats import apollo, flat, stores  # noqa: PLC0415 - with the parsers that they need

    readers: Mapping[str, Callable[[bytes, str], Read]] = {
        "consul": stores.consul,
        "etcd": stores.etcd,
        "apollo": apollo.apollo,
        "env": flat.env,
        "properties": flat.properties,
    }
    return readers[source]


def _content(path: Path) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise LimitExceeded(f"{path} is larger than {FILE_BYTES_MAX:,} bytes; export a prefix at a time")
    return content
