"""docs/format.md agrees with the code where a table or an example can be compared."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from gossipconf.model import hashing, limits
from gossipconf.model.change import CLUSTER_TAG_BYTES, Change
from gossipconf.model.errors import GossipconfError
from gossipconf.model.key import check_key
from gossipconf.store.hash_tree import LEAF_ITEMS_MAX, NODE_HASH_BYTES
from gossipconf.trust import cluster, floor, policy, sealed

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
CHANGES = json.loads((HERE / "changes.json").read_text(encoding="ascii"))
MINIMAL = CHANGES["changes"][0]


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def format_limits() -> dict[str, int]:
    """The limits above the heading of the wire, and those of policy documents, files and envelopes."""
    source = Path(limits.__file__).read_text(encoding="utf-8").split("# -- wire --")[0]
    names = re.findall(r"^([A-Z_]+): Final", source, re.MULTILINE)
    others = {
        name: getattr(policy, name)
        for name in (
            "ROLE_NAME_BYTES_MAX",
            "PARAMETERS_MAX",
            "GENESIS_BYTES_MAX",
            "SETTLED_MAX",
            "NAMES_MAX",
            "NAME_BYTES_MAX",
        )
    }
    others |= {name: getattr(floor, name) for name in ("FLOORS_MAX", "KEPT_MAX")}
    others |= {"POLICIES_MAX": cluster.POLICIES_MAX, "RECIPIENTS_MAX": sealed.RECIPIENTS_MAX}
    return {name: getattr(limits, name) for name in names} | others


def test_the_table_of_limits_is_that_of_the_code():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", section("Limits"), re.MULTILINE)
    assert {name: int(value) for name, value in rows} == format_limits()


def test_the_table_of_tags_is_that_of_the_code():
    written = {
        tag.replace("\\0", "\0").encode() for tag in re.findall(r"^\| `(\S+)` \|", section("Hashes"), re.MULTILINE)
    }
    assert written == {getattr(hashing, name) for name in dir(hashing) if name.endswith("_TAG")}


def test_the_table_of_code_points_is_that_of_the_code():
    rows = re.findall(r"^\| U\+([0-9A-F]+) \| U\+([0-9A-F]+) \|", section("Keys and variants"), re.MULTILINE)
    forbidden = {point for low, high in rows for point in range(int(low, 16), int(high, 16) + 1)}
    edges = {point + step for point in forbidden for step in (-1, 0, 1)} & set(range(0x110000))
    samples = edges | set(range(0x3100)) | set(range(0x3100, 0x110000, 61))
    for point in sorted(samples):
        try:
            check_key(f"a{chr(point)}a")
        except GossipconfError:
            assert point in forbidden, f"U+{point:04X} is refused and not in the table"
        else:
            assert point not in forbidden, f"U+{point:04X} is in the table and not refused"


def test_the_numbers_of_the_hash_tree_are_those_of_the_code():
    text = section("Hash tree")
    assert f"Up to {LEAF_ITEMS_MAX} items: the first {NODE_HASH_BYTES} bytes" in text
    assert f"the first {CLUSTER_TAG_BYTES} bytes of the cluster id" in section("Changes")


def blocks() -> list[str]:
    """The fenced blocks of the worked example."""
    return re.findall(r"```\n(.*?)\n```", section("A change, byte by byte"), re.DOTALL)


def hexadecimal(block: str) -> str:
    return "".join(re.match(r"[0-9a-f]*", line)[0] for line in block.splitlines())


def test_the_worked_example_is_the_minimal_change():
    example, leaf, header, identity = blocks()
    assert hexadecimal(example) == MINIMAL["forms"][0]["hex"]
    data, root = leaf.split("\n→\n")
    assert sha256(bytes.fromhex(hexadecimal(data))).hexdigest() == root == MINIMAL["root"]
    assert hexadecimal(header) == MINIMAL["header"]
    assert (
        hashing.tagged_hash(hashing.CHANGE_TAG, bytes.fromhex(hexadecimal(header))).hex() == identity == MINIMAL["id"]
    )
    assert f"`{CHANGES['seeds']['alice']}`" in section("A change, byte by byte")
    change = Change.decode(bytes.fromhex(hexadecimal(example)), bytes.fromhex(CHANGES["cluster"]))
    assert change.id.hex() == identity


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+\.json)`", PAGE))))
def test_every_vector_file_that_is_named_exists(name):
    assert (HERE / name).is_file()


def test_every_vector_file_is_named():
    assert {path.name for path in HERE.glob("*.json")} <= set(re.findall(r"`([a-z_]+\.json)`", PAGE))
