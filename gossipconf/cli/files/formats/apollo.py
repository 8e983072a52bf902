"""Apollo's export: the ZIP that its portal makes of all apps, or of one (`ConfigsExportService`).

    owner/app/env/app+cluster+namespace.properties    a JSON list of items, each with key and value
    owner/app/env/app+cluster+namespace.yml           one item, `content`, which is the whole file

and likewise `.yaml`, `.json`, `.xml` and `.txt`. Portals before 2.0 write each file as it is,
without the list: properties as text, and the rest whole. Beside them are `*.metadata` files, which
describe apps, clusters and namespaces. A key here is app/env/cluster/namespace/item, with a
dot in an item's key as a slash; a whole file is one value at app/env/cluster/namespace.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import Final
from zlib import error as ZlibError

from ....model.entry import ValueType
from ....model.errors import InvalidInput, LimitExceeded
from ....runtime.syntax import TREE_READERS, decode_text
from .flat import properties
from .text import Found, Read

UNPACKED_BYTES_MAX: Final = 64 << 20
"""Of all files together: several changes' worth, and no ZIP of a few KB may ask for gigabytes."""
WHOLE_FILE: Final = "content"
"""The key of the one item of a namespace that is a file."""
METADATA: Final = ".metadata"
TYPES: Final = {
    ".yml": ValueType.YAML,
    ".yaml": ValueType.YAML,
    ".json": ValueType.JSON,
    ".xml": ValueType.TEXT,
    ".txt": ValueType.TEXT,
}


def apollo(content: bytes, name: str) -> Read:
    """The values of an export. Raises InvalidInput or LimitExceeded."""
    found: list[Found] = []
    passed_over: list[str] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [one for one in archive.infolist() if not one.is_dir()]
            if sum(one.file_size for one in files) > UNPACKED_BYTES_MAX:
                raise LimitExceeded(f"{name}: larger than {UNPACKED_BYTES_MAX:,} bytes unpacked; export fewer apps")
            for one in files:
                if one.filename.endswith(METADATA):
                    passed_over.append(f"{one.filename} describes, and is no configuration")
                    continue
                with archive.open(one) as file:
                    data = file.read(UNPACKED_BYTES_MAX)  # at most what the listing says, which zipfile checks
                _read_namespace(data, one.filename, f"{name}: {one.filename}", found, passed_over)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ZlibError, EOFError):
        raise InvalidInput(f"{name}: not a ZIP file that can be read; export it from Apollo's portal again") from None
    return Read(tuple(found), tuple(passed_over))


def _read_namespace(data: bytes, path: str, where: str, found: list[Found], passed_over: list[str]) -> None:
    parts = PurePosixPath(path.replace("\\", "/")).parts  # the portal's own separator
    names = parts[-1].split("+")
    if len(parts) != 4 or len(names) != 3:
        raise InvalidInput(f"{where}: not owner/app/env/app+cluster+namespace, as Apollo's portal names them")
    app, cluster, namespace = names
    suffix = PurePosixPath(namespace).suffix
    place = f"{app}/{parts[2]}/{cluster}/{namespace.removesuffix('.properties')}"
    if _is_as_it_is(data, suffix):
        if suffix in TYPES:
            found.append(Found(place, (TYPES[suffix], data), where))
        else:
            found += [Found(f"{place}/{one.name}", one.value, one.source) for one in properties(data, where).found]
        return
    items = TREE_READERS[".json"](decode_text(data, where), where).root if data else []
    if not isinstance(items, list):
        raise InvalidInput(f"{where}: not a list of items")
    for number, item in enumerate(items, 1):
        key, value = (item.get("key"), item.get("value")) if isinstance(item, dict) else (None, None)
        if not key and not value:
            passed_over.append(f"{where}: item {number} is a comment or a blank line")
        elif not isinstance(key, str) or not isinstance(value, str):
            raise InvalidInput(f"{where}: item {number} has no key and value")
        elif suffix in TYPES and key == WHOLE_FILE:
            found.append(Found(place, (TYPES[suffix], value.encode()), where))
        else:
            found.append(Found(f"{place}/{key.replace('.', '/')}", (ValueType.TEXT, value.encode()), where))


def _is_as_it_is(data: bytes, suffix: str) -> bool:
    """Whether a file is one of a portal before 2.0: of later ones it is a JSON list of items, or empty."""
    start = data.lstrip()[:1]
    if suffix not in TYPES:
        return start not in {b"", b"[", b"{"}
    if start != b"[":
        return start != b""
    try:
        items = json.loads(data)
    except (ValueError, RecursionError):
        return True
    return not (len(items) == 1 and isinstance(items[0], dict) and items[0].get("key") == WHOLE_FILE)
