"""The rule of imports (design: a layer imports only from those before it), read from the source itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gossipconf"
LAYERS = ("model", "trust", "store", "protocol", "runtime", "embed", "http", "cli")
CLI_PACKAGES = ("files", "see", "publish", "policies", "operate", "stage", "demo")
"""Of the command line: each imports what stands above all packages, and from those before it."""
CLI_TOP = ("main.py", "__main__.py", "reference.py", "completion.py")
"""What puts commands together, or reads them all."""
SIMULATOR_MAY_IMPORT = ("model", "trust", "store", "protocol")
PURE = (
    *(PACKAGE / "model").rglob("*.py"),
    *(PACKAGE / "trust").rglob("*.py"),
    *(PACKAGE / "protocol").rglob("*.py"),
    *(PACKAGE / "store" / name for name in ("live_set.py", "resolution.py", "hash_tree.py", "journal_ops.py")),
)
"""What both the agent and the simulator run, and must therefore be a function of its inputs."""
WORLD = frozenset(
    (
        *("trio", "asyncio", "socket", "ssl", "select", "selectors"),
        *("threading", "multiprocessing", "concurrent", "subprocess"),
        *("time", "datetime", "sqlite3", "secrets", "uuid"),
    )
)
RANDOM_ALLOWED = frozenset({"Random"})
"""The type of a generator that is handed in; the module's own functions share one global state."""
REGISTRIES = ("pypi" + ".org", "pypi" + ".python.org", "pythonhosted" + ".org", "registry.npmjs" + ".org")
TEXTS = (".py", ".toml", ".md", ".cfg", ".txt", ".yml", ".yaml", ".sh")


def modules_of(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) for each import in a file, relative ones resolved; also those inside functions."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield module, alias.name


def layers_of(path: Path) -> set[str]:
    """The layers of gossipconf that a file imports from."""
    found = set()
    for module, name in modules_of(path):
        parts = (f"{module}.{name}" if module == "gossipconf" else module).split(".")
        if parts[0] == "gossipconf" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
            found.add(parts[1])
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_from_those_before_it(layer: str) -> None:
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    files = list((PACKAGE / layer).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): layers_of(path) - allowed for path in files if layers_of(path) - allowed}
    assert wrong == {}


def packages_of(path: Path) -> set[str]:
    """The packages of the command line that a file imports from."""
    found = set()
    for module, name in modules_of(path):
        parts = f"{module}.{name}".split(".")
        if parts[:2] == ["gossipconf", "cli"] and len(parts) > 2 and (PACKAGE / "cli" / parts[2]).is_dir():
            found.add(parts[2])
    return found


@pytest.mark.parametrize("name", ["", *CLI_PACKAGES])
def test_a_package_of_the_command_line_imports_only_from_those_before_it(name: str) -> None:
    cli = PACKAGE / "cli"
    allowed = set(CLI_PACKAGES[: CLI_PACKAGES.index(name) + 1]) if name else set()
    files = (
        list((cli / name).rglob("*.py")) if name else [path for path in cli.glob("*.py") if path.name not in CLI_TOP]
    )
    assert files
    wrong = {str(path.relative_to(ROOT)): packages_of(path) - allowed for path in files if packages_of(path) - allowed}
    assert wrong == {}


def test_every_package_of_the_command_line_has_its_place() -> None:
    assert {path.parent.name for path in (PACKAGE / "cli").glob("*/__init__.py")} == set(CLI_PACKAGES)


def test_every_part_of_the_package_is_a_layer() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert parts == set(LAYERS)


def test_the_simulator_never_imports_the_runtime() -> None:
    files = list((ROOT / "sim").rglob("*.py"))
    assert files
    allowed = set(SIMULATOR_MAY_IMPORT)
    wrong = {str(path.relative_to(ROOT)): layers_of(path) - allowed for path in files if layers_of(path) - allowed}
    assert wrong == {}


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_code_knows_no_world(path: Path) -> None:
    for module, name in modules_of(path):
        top = module.split(".")[0]
        assert top not in WORLD, f"{path} imports {module}"
        if top == "random":
            assert name in RANDOM_ALLOWED, f"{path} imports random.{name}: take a Random as an argument"
        assert module != "os" or name in {"", "path"}, f"{path} imports os.{name}"


def test_the_rule_is_seen_to_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of imports finds what it must, in every spelling."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "gossipconf" / "model" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import time, trio.lowlevel\nfrom ..runtime import agent\nfrom .. import cli\nfrom gossipconf.store import a\n"
        "from random import choice\ndef f():\n    import gossipconf.protocol.node\n"
    )
    assert layers_of(path) == {"runtime", "cli", "store", "protocol"}
    assert {("time", ""), ("trio.lowlevel", ""), ("random", "choice")} <= set(modules_of(path))


def test_no_file_names_a_package_registry() -> None:
    hidden = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__", "dist"}
    texts = [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix in TEXTS and not hidden & set(path.relative_to(ROOT).parts)
    ]
    assert len(texts) > 50
    named = {
        str(path.relative_to(ROOT)): registry
        for path in texts
        for registry in REGISTRIES
        if registry in path.read_text(errors="replace")
    }
    assert named == {}
