"""The pages hang together: links lead somewhere, no page is without one, decisions are numbered and listed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def links(page: Path) -> set[Path]:
    """The files of ours to which a page leads."""
    found = (match[1] for match in LINK.finditer(page.read_text()))
    return {(page.parent / name).resolve() for name in found if "://" not in name and not name.startswith("mailto:")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    assert [str(one) for one in sorted(links(page)) if not one.exists()] == []


def test_every_page_can_be_reached():
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        found = {one / "README.md" if one.is_dir() else one for page in new for one in links(page)}
        new = {one for one in found - reached if one.suffix == ".md" and one.exists()}
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def test_decisions_are_numbered_and_listed():
    index = (DOCS / "decisions" / "README.md").read_text()
    assert [page.name[:3] for page in DECISIONS] == [f"{number:03}" for number in range(1, len(DECISIONS) + 1)]
    for page in DECISIONS:
        heading = page.read_text().partition("\n")[0]
        assert heading.startswith(f"# {page.name[:3]}: ")
        assert f"| [{page.name[:3]}]({page.name}) | {heading.partition(': ')[2]} |" in index


def test_every_module_has_its_place():
    """By its file, or by the directory of a few that belong together, which stands alone in its row then."""
    text = (DOCS / "architecture.md").read_text()
    package = ROOT / "gossipconf"
    names = [str(path.relative_to(package)) for path in package.rglob("*.py") if not path.name.startswith("__")]
    rows = [f"| `{Path(name).parent}/` |\n" for name in names]
    missing = [name for name, row in zip(names, rows, strict=True) if f"`{name}`" not in text and row not in text]
    assert sorted(missing) == []
