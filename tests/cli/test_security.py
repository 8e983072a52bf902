"""docs/security.md: its drills work as they stand there, against real agents, and its tests of attacks exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gossipconf.trust.keys import load_public, public_line
from tests.cli.conftest import Agents, wait_at

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
COMMAND_LIMIT_S = 60
"""For one command, which waits 30 s at most by itself."""
DRILL_LIMIT_S = 240
"""For a whole drill, which takes 6 s on a machine at rest: then its agents stop, and whoever waits for them fails."""
DIFFERENCES = 2
"""The exit code of a dry run that would change something."""
ATTACKS = (
    "arbitrary install",
    "endless data",
    "fast-forward: seq, seen, time",
    "indefinite freeze",
    "rollback by the network",
    "rollback by a restored disk",
    "mix-and-match of parts",
    "key compromise",
    "replay in another cluster",
    "approval reuse on another change",
    "signature stripping",
    "signature malleability",
    "algorithm or domain confusion",
    "unauthorised policy",
    "policy rollback",
    "old-root signatures",
    "fork flooding",
)
"""Those that must have a test."""


# -- the table of attacks -------------------------------------------------------------------------


def test_every_attack_has_its_tests():
    table = PAGE[PAGE.index("## Attacks") : PAGE.index("## When it has happened")]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ") and "tests/" in line]
    linked = {row[1].strip(): re.findall(r"`(tests/[^`]+)`", row[3]) for row in rows}
    assert [attack for attack in ATTACKS if not linked.get(attack)] == []
    for name in (name for names in linked.values() for name in names):
        file, _, function = name.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(), re.M), f"there is no {name}"


def test_every_test_of_attacks_is_linked():
    names = re.findall(r"^def (test_\w+)\(", (ROOT / "tests" / "test_attacks.py").read_text(), re.M)
    assert [name for name in names if f"`tests/test_attacks.py::{name}`" not in PAGE] == []


def test_every_link_leads_somewhere():
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE):
        assert not path or (ROOT / "docs" / path).exists(), path
        assert path or anchor in anchors, anchor


# -- the drills -----------------------------------------------------------------------------------


class Drill:
    """A section of the page, whose blocks are run one after another; between them somebody acts.

    The page's examples stand for what a real incident has: ``meant`` says what each stands for.
    """

    def __init__(self, title: str, directory: Path) -> None:
        section = PAGE[PAGE.index(f"\n### {title}\n") + 1 :]
        section = section[: section.index("\n### ", 1)]
        blocks = re.findall(r"^( *)```(\w+)\n(.*?)^ *```", section, re.S | re.M)
        self._blocks = [(kind, re.sub(f"^{indent}", "", text, flags=re.M)) for indent, kind, text in blocks]
        self._directory = directory
        self.meant: dict[str, str] = {}

    def run(self) -> str:
        """Run the next block, and return what it printed. Each command must succeed; a dry run may find something."""
        kind, text = self._blocks.pop(0)
        assert kind == "sh"
        said = [self._command(line) for line in self._with_what_is_meant(text).splitlines()]
        return "".join(said)

    def text(self) -> str:
        """The next block, which somebody types into a file."""
        kind, text = self._blocks.pop(0)
        assert kind != "sh"
        return self._with_what_is_meant(text)

    @property
    def is_over(self) -> bool:
        return not self._blocks

    def _with_what_is_meant(self, text: str) -> str:
        for example, real in self.meant.items():
            text = text.replace(example, real)
        return text

    def _command(self, line: str) -> str:
        result = subprocess.run(
            ["bash", "-uc", line],
            cwd=self._directory,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        expected = DIFFERENCES if "--dry-run" in line else 0
        assert result.returncode == expected, f"{line}\n{result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture
def agents(tmp_path, monkeypatch, run):
    """Agents `a` and `b`; commands ask `a`, as the page says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("gossipconf", path=path) is None:
        pytest.skip("the command gossipconf is not installed beside this Python")
    made = Agents(tmp_path / "shop")
    monkeypatch.chdir(made.directory)
    monkeypatch.setenv("GOSSIPCONF_AGENT", "nodes/a")
    limit = threading.Timer(DRILL_LIMIT_S, made.stop_all)
    limit.start()
    try:
        made.add("a")
        made.settle_address("a", json.loads(run("status", "--json").out)["members"][0]["address"])
        made.add("b")
        yield made
    finally:
        limit.cancel()
        made.stop_all()


def well(run, *arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.code == 0, result.err
    return result.out


def put(run, node: str, key: str, value: str, signer: str = "admin") -> str:
    """Publish one value at ``node``; the id of the change."""
    agent = ("--agent", f"nodes/{node}")
    well(run, "put", key, value, "--key", f"keys/{signer}", *agent)
    (found,) = (one for one in json.loads(well(run, "list", key, "--json", *agent)) if one["key"] == key)
    return str(found["change"])


def get(run, node: str, key: str) -> str | None:
    result = run("get", key, "--agent", f"nodes/{node}")
    return result.out.removesuffix("\n") if result.code == 0 else None


def with_roles(text: str, lines: str) -> str:
    assert "\nroles:\n" in text
    return text.replace("\nroles:\n", f"\nroles:\n{lines}")


def decree(run, draft: Path, text: str, node: str = "a", key: str = "keys/root") -> None:
    """Put a policy in force."""
    agent = ("--agent", f"nodes/{node}")
    draft.with_suffix(".yaml").write_text(text)
    well(run, "policy", "edit", draft, "--from", draft.with_suffix(".yaml"), *agent)
    well(run, "policy", "sign", draft, "--key", key, "--yes")
    well(run, "policy", "publish", draft, *agent)


def role(name: str, key: Path, prefix: str) -> str:
    return f'  {name}:\n    keys: ["{public_line(load_public(key))}"]\n    prefixes: [{prefix}]\n'


def test_drill_of_a_stolen_admin_key(agents, run, tmp_path, monkeypatch):
    """Held: carol's key, and agent b, which is apart while the root acts at a."""
    drill = Drill("A stolen admin key", agents.directory)
    well(run, "key", "new", "keys/carol")
    carol = Path("keys/carol.pub")
    decree(run, tmp_path / "d2", with_roles(well(run, "policy", "show"), role("shop", carol, "shop")))
    put(run, "a", "shop/limit", "10")
    put(run, "a", "shop/good", "1", "carol")
    theft = put(run, "a", "shop/limit", "999", "carol")
    agents.wait("b", "shop/limit", b"999")
    agents.stop("b")

    assert theft[:8] in drill.run()
    drill.meant["3f9a2c1b"] = theft[:8]
    assert "comes back: 10" in drill.run()
    agents.stop("a")
    agents.start("b")
    late = put(run, "b", "shop/late", "7", "carol")  # which carol had published herself, before she missed her key
    put(run, "b", "shop/evil", "x", "carol")
    agents.start("a")
    agents.wait("b", "_policy/3")
    agents.wait("b", "shop/limit", b"10")
    listed = json.loads(well(run, "void", "list", "--json", "--agent", "nodes/b"))
    assert {one["key"] for one in listed} == {"shop/limit", "shop/late", "shop/evil"}
    well(run, "void", "list", "--agent", "nodes/b")

    drill.run()
    drill.meant["77ab01c9"] = late[:8]
    monkeypatch.setenv("GOSSIPCONF_AGENT", "nodes/b")  # it has what was published there
    drill.run()
    monkeypatch.setenv("GOSSIPCONF_AGENT", "nodes/a")
    agents.wait("a", "shop/late", b"7")
    for node in "ab":
        assert [get(run, node, f"shop/{key}") for key in ("limit", "good", "late", "evil")] == ["10", "1", "7", None]

    drill.run()
    text = Path("next.yaml").read_text()
    assert "keys: []" in text
    Path("next.yaml").write_text(text.replace("keys: []", f'keys: ["{Path("keys/carol-2.pub").read_text().strip()}"]'))
    drill.run()
    assert drill.is_over
    put(run, "a", "shop/again", "1", "carol-2")
    assert run("put", "shop/again", "2", "--key", "keys/carol").code == 1


def test_drill_of_a_stolen_machine(agents, run):
    """Held: the directory of a node, its certificate and its keys, and its running agent."""
    drill = Drill("A stolen node certificate or machine", agents.directory)
    drill.meant["checkout-3"] = "c"
    agents.add("c")
    put(run, "a", "shop/limit", "1")
    agents.wait("c", "shop/limit", b"1")

    assert "'_nodes/c'" in drill.run()
    drill.run()
    agents.wait("b", "_policy/2")
    Path("new-password").write_text("hunter3")
    drill.run()
    assert drill.is_over
    agents.wait("b", "shop/db/password")
    assert get(run, "b", "shop/db/password") == "hunter3"
    agents.stop("c")
    agents.start("c")  # the thief tries again, from the addresses that it knows
    put(run, "a", "shop/limit", "2")
    agents.wait("b", "shop/limit", b"2")
    assert get(run, "c", "shop/limit") == "1"
    assert get(run, "c", "shop/db/password") is None


def test_drill_of_a_policy_fork(agents, run, tmp_path):
    """Nobody need attack: a copy of the root key, without its `.signed` file, has signed at b while a was away."""
    drill = Drill("A policy fork", agents.directory)
    for name in ("zoe", "yan"):
        well(run, "key", "new", f"keys/{name}")
    shutil.copy("keys/root", tmp_path / "copy")
    text = well(run, "policy", "show")
    agents.stop("b")
    decree(run, tmp_path / "one", with_roles(text, role("zoo", Path("keys/zoe.pub"), "zoo")))
    put(run, "a", "zoo/a", "1", "zoe")
    agents.stop("a")
    agents.start("b")
    decree(
        run, tmp_path / "other", with_roles(text, role("yard", Path("keys/yan.pub"), "yard")), "b", tmp_path / "copy"
    )
    put(run, "b", "yard/a", "1", "yan")
    (ours, _) = json.loads(well(run, "policy", "log", "--json", "--agent", "nodes/b"))
    assert ours["in_force"]
    agents.start("a")
    for node in "ab":
        wait_at(agents.directory, node, "_policy/2", lambda item: len(item.versions) == 2)

    said = drill.run()
    assert re.search(rf"policy 2 .*change {ours['change'][:8]}.*not in force here", said)
    assert "role 'zoo'" in said
    assert "role 'yard'" in said
    assert "POLICY FORK" in run("policy", "log").err
    drill.meant["3f9a2c1b"] = ours["change"][:8]
    assert "in force: policy 2 of change" in drill.run()
    for node in "ab":
        agents.wait(node, "_policy/3")
    agents.wait("a", "yard/a", b"1")
    said = drill.run()
    assert drill.is_over
    assert re.search(r"^zoo/a +1 +zoo ", said, re.M), "what only the other allowed can be signed anew"
    for node in "ab":
        agent = ("--agent", f"nodes/{node}")
        assert (get(run, node, "zoo/a"), get(run, node, "yard/a")) == (None, "1")
        log = json.loads(well(run, "policy", "log", "--json", *agent))
        assert [(one["version"], one["in_force"]) for one in log] == [(3, True), (2, True), (2, False), (1, True)]
        assert log[1]["change"] == ours["change"]
        assert run("policy", "log", *agent).err == ""
        assert "there is no policy fork" in run("policy", "settle", "0", *agent).err
    (past,) = json.loads(well(run, "history", "zoo/a", "--json"))
    assert (past["value"], past["void"]) == ("1", True)
    assert re.search(r" void +zoo +1\n", well(run, "history", "zoo/a"))
    put(run, "a", "yard/a", "2", "yan")
    assert run("put", "zoo/a", "2", "--key", "keys/zoe").code == 1
