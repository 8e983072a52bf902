"""docs/guide.md: pasted from top to bottom against `gossipconf demo --keep`, it works as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gossipconf.cli.reference import commands
from tests.cli.test_demo import processes_of, started

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.S | re.M)
DIRECTORY = "/tmp/shop"
"""Where the page has the demo's cluster."""
PASTE_LIMIT_S = 600
"""For all of it, which takes half a minute on a machine at rest."""


def test_every_command_and_option_of_the_page_exists():
    known = {name.removeprefix("gossipconf "): command for name, command in commands()}
    lines = re.findall(r"gossipconf ([^|)\n]*)", "\n".join(BLOCKS))
    assert len(lines) > 30
    for line in lines:
        words = line.split()
        name = next((one for one in (" ".join(words[:2]), words[0]) if one in known), None)
        assert name is not None, line
        options = {option for one in known[name].params for option in one.opts}
        assert {word for word in words if re.fullmatch(r"--[a-z-]+", word)} <= options, line


def test_every_link_leads_somewhere():
    for path in re.findall(r"\]\(([^)#]*)", PAGE):
        assert (ROOT / "docs" / path).exists(), path


@pytest.mark.slow
def test_the_page_can_be_pasted(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("gossipconf", path=path) is None:
        pytest.skip("the command gossipconf is not installed beside this Python")
    shop = tmp_path / "shop"
    start, *rest = (block.replace(DIRECTORY, str(shop)) for block in BLOCKS)
    assert start.split() == ["gossipconf", "demo", "--keep", "--dir", str(shop)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPCONF_")}
    with started(*start.split()[2:], temporary=tmp_path) as demo:
        assert demo.stdout is not None
        assert any(line.startswith("Processes:") for line in demo.stdout), demo.stderr and demo.stderr.read()
        pasted = subprocess.run(
            ["bash", "-eux", "-o", "pipefail", "-c", "\n".join(rest)],
            cwd=tmp_path,
            env={**environment, "PATH": path, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PASTE_LIMIT_S,
            check=False,
        )
        said = pasted.stdout + pasted.stderr
        assert pasted.returncode == 0, said
        demo.communicate()
    assert demo.returncode == 0
    assert processes_of(shop) == []
    for words in (
        "all of 5 agents have applied it",
        "exit code 2: the file differs",
        "exit code 7: refused",
        "hello from the west",
        "1 key in conflict",
        "no conflicts",
        "exit code 8: there is no epoch yet",
        "is committed; 5 members serve it",
    ):
        assert words in said
