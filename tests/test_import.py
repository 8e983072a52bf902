"""What importing gossipconf loads: the core's three dependencies and what those need, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

DEPENDENCIES = {"trio", "msgpack", "cryptography"}
THEIRS = {
    "attr",
    "attrs",
    "sortedcontainers",
    "idna",
    "outcome",
    "sniffio",
    "cffi",
    "_cffi_backend",
    "_openssl",
    "cython_runtime",
    "pycparser",
    "typing_extensions",
    "exceptiongroup",
    "bcrypt",
}
"""What trio and cryptography import for themselves; bcrypt only where it is installed, for the command line."""
PROGRAM = """
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted({{name.split(".")[0] for name in set(sys.modules) - before}})))
"""


def loaded_by(module: str) -> set[str]:
    """Top-level modules that a fresh interpreter loads for ``module``, without those of the standard library."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    names = set(json.loads(done.stdout)) - sys.stdlib_module_names - {"gossipconf"}
    return {name for name in names if not name.startswith("_cython")}  # its number is that of a version


@pytest.mark.parametrize(
    "module",
    [
        "gossipconf",
        "gossipconf.embed.agent",
        "gossipconf.runtime.agent",
        "gossipconf.protocol.node",
        "gossipconf.store.journal",
    ],
)
def test_the_core_loads_its_three_dependencies_only(module: str) -> None:
    assert loaded_by(module) - DEPENDENCIES - THEIRS == set()


def test_the_protocol_loads_no_trio() -> None:
    assert "trio" not in loaded_by("gossipconf.protocol.node")


def test_what_is_loaded_is_seen() -> None:
    assert "yaml" in loaded_by("yaml")
