"""The report: its figures are those of the result, it needs nothing from elsewhere, and every kind of run has one."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

import gossipconf
from gossipconf_sim.report import palette
from gossipconf_sim.report.figures import CLASSES, VALUES, shown
from gossipconf_sim.report.overlay import LINKS_MAX, Overlay
from gossipconf_sim.report.page import VIOLATIONS_MAX, report
from gossipconf_sim.report.plots import overview, save, styled
from gossipconf_sim.report.quantities import duration, number, share, size
from gossipconf_sim.run.play import Run
from gossipconf_sim.run.result import Result
from gossipconf_sim.scenario.scenario import from_values
from tests.sim.report.runs import PARTITION, UNHEALED, ZONES, play

COMMAND = "gossipconf-sim run small --seed 0 --set 'a=\"<b>\"'"
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}
"""Attributes that name something to load."""


class Page(HTMLParser):
    """What a browser sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.rows: list[list[str]] = []
        self.tiles: list[list[str]] = []
        self.headings: list[str] = []
        self.pres: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in {"meta", "br"}:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag in {"h1", "h2"}:
            self.headings.append("")
        elif tag == "pre":
            self.pres.append("")
        elif tag == "div" and dict(attributes).get("class", "").startswith("tile "):
            self.tiles.append([])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.words += data
        if self._open and self._open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        elif self._open and self._open[-1] in {"h1", "h2"}:
            self.headings[-1] += data
        elif "pre" in self._open:
            self.pres[-1] += data
        elif self._open[-2:-1] == ["div"] and self.tiles and self._open[-1] in {"b", "span"}:
            self.tiles[-1].append(data.replace("\xa0", " "))

    def by_name(self) -> dict[str, list[str]]:
        """The tables of figures: name in JSON → the values."""
        found = {row[-1].partition(" / ")[0]: row[1:-2] for row in self.rows if len(row) in {4, 6}}
        del found["in JSON"]  # the headings
        return found


def page(run: Run) -> Page:
    return Page(report(run, COMMAND))


@pytest.fixture(scope="module")
def plain() -> Run:
    return play()


@pytest.fixture(scope="module")
def zoned() -> Run:
    return play(zones=ZONES)


@pytest.fixture(scope="module")
def partitioned() -> Run:
    return play(faults=[PARTITION])


@pytest.fixture(scope="module", params=["plain", "zoned", "partitioned"])
def run(request) -> Run:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def shown_page(run) -> Page:
    """The page of `run`, made once."""
    return page(run)


# -- figures --------------------------------------------------------------------------------------


def test_every_figure_is_that_of_the_result(run, shown_page):
    result, found = run.result, shown_page.by_name()
    for name in ("last_delivery_ms", "delivery_ms", "visible_ms"):
        spread = getattr(result, name)
        assert found[name] == [duration(value / 1000) for value in (spread.p50, spread.p99, spread.max)]
    assert found["hops"] == [number(value) for value in (result.hops.p50, result.hops.p99, result.hops.max)]
    assert found["delivered_fraction"] == [share(result.delivered_fraction)]
    assert found["payload_copies_per_node"] == [number(result.payload_copies_per_node)]
    assert found["duplicates_per_node"] == [number(result.duplicates_per_node)]
    assert found["messages_per_change_per_node"] == [number(result.messages_per_change_per_node)]
    assert found["bytes_per_node_per_change"] == [size(result.bytes_per_node_per_change)]
    for name, byte_count in result.bytes_by_class.items():
        assert found[f"bytes_by_class.{name}"] == [size(byte_count / result.nodes / result.changes)]
    assert found["idle_bytes_per_node_per_s"] == [f"{size(result.idle_bytes_per_node_per_s)}/s"]
    assert found["convergence_ms"] == [duration(result.convergence_ms / 1000)]
    assert found["violations"] == [number(len(result.violations))]
    assert found["events"] == [number(result.events)]
    assert found["virtual_s"] == [duration(result.virtual_s)]
    assert found["peak_rss_mib"] == [f"{number(result.peak_rss_mib)} MiB"]
    if result.repair is not None:
        assert found["repair.missing_bytes"] == [size(result.repair.missing_bytes)]
        assert found["repair.bytes"] == [size(result.repair.bytes)]


def test_every_field_of_a_result_is_on_the_page():
    """On that of a run that has something to say by each of them."""
    run = play(
        start="cold",
        zones=ZONES,
        faults=[PARTITION, {"kind": "staging", "at_s": 0.1, "stages": 2, "every_s": 5}],
        publish={"changes": 6, "reads_per_change": 2.0, "ask": True},
        canary={"percent": 100.0, "halt_after": 1, "notice_s": [0.1, 0.5], "for_s": 5.0},
        nodes=8,
    )
    run.result = dataclasses.replace(run.result, joined_s=1.5)
    shown_page = page(run)
    identities = {row[0] for row in shown_page.rows if len(row) == 3}
    assert {"scenario", "nodes", "seed", "changes", "unpublished", "trace", "gossipconf", "Python"} == identities
    named = {name.partition(".")[0] for name in shown_page.by_name()}
    fields = {field.name for field in dataclasses.fields(Result)}
    assert named | {"scenario", "nodes", "seed", "changes", "unpublished", "trace_sha256"} == fields
    assert set(CLASSES) == set(run.result.bytes_by_class)


def test_the_headline_is_the_result(run, shown_page):
    result, tiles = run.result, shown_page.tiles
    values = {tile[1]: tile[0] for tile in tiles}
    since = "the last fault and publish" if run.marks else "the last publish"
    assert values == {
        "violations": "0",
        "delivered": "100%",
        "until the last node has a change": duration(result.last_delivery_ms.p50 / 1000),
        f"until all nodes were equal after {since}": duration(result.convergence_ms / 1000),
        "sent by a node for a change": size(result.bytes_per_node_per_change),
        "times a change arrives at a node": number(result.payload_copies_per_node),
    }


def test_a_run_can_be_had_again(run, shown_page):
    command, toml = shown_page.pres
    assert command == COMMAND
    assert from_values("small", tomllib.loads(toml)) == run.scenario
    facts = {row[0]: row[1] for row in shown_page.rows if len(row) == 3}
    assert facts["trace"] == run.result.trace_sha256
    assert facts["seed"] == "0"
    assert facts["gossipconf"] == gossipconf.__version__
    assert "docs/simulator.md" in shown_page.words


# -- the page -------------------------------------------------------------------------------------


def test_nothing_comes_from_elsewhere(run, shown_page):
    assert not {"script", "link", "iframe", "object", "embed", "image", "img", "base"} & set(shown_page.tags)
    assert all(value.startswith("#") for _, name, value in shown_page.attributes if name in LOADING)
    assert not [name for _, name, _ in shown_page.attributes if name.startswith("on")]
    assert all(one.startswith("#") for one in re.findall(r"url\(([^)]*)\)", shown_page.text))
    assert "//" not in shown_page.text.replace(run.result.trace_sha256, "")
    assert "@import" not in shown_page.text


def test_ids_are_unique_and_what_refers_to_them_finds_them(shown_page):
    ids = [value for _, name, value in shown_page.attributes if name == "id"]
    used = {value[1:] for _, name, value in shown_page.attributes if name == "xlink:href"}
    used |= {one[1:] for one in re.findall(r"url\(([^)]*)\)", shown_page.text)}
    assert len(ids) == len(set(ids))
    assert used
    assert used <= set(ids)


def test_pictures_have_the_colours_of_the_page(shown_page):
    styles = " ".join(value for tag, name, value in shown_page.attributes if name == "style")
    variables = set(re.findall(r"var\(--([a-z0-9]+)\)", styles))
    assert {"ink", "muted", "blue", "red"} <= variables <= set(palette.NAMES.values())
    assert not re.findall("|".join(palette.NAMES), styles)
    dark = shown_page.text.partition("prefers-color-scheme: dark")[2].partition("}")[0]
    assert set(re.findall(r"--([a-z0-9]+):", dark)) == set(palette.NAMES.values())
    assert set(palette.DARK) == set(palette.NAMES)


def test_words_of_a_scenario_are_no_markup(zoned):
    shown_page = page(zoned)
    assert "Small & <quick>." in shown_page.words
    assert "us<1>" in shown_page.words
    assert "<quick>" not in shown_page.text


def test_the_same_run_has_the_same_page(plain):
    assert report(plain, COMMAND) == report(plain, COMMAND)


def test_every_picture_tells_what_it_shows(shown_page):
    labels = [value for tag, name, value in shown_page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == shown_page.tags.count("svg") == shown_page.tags.count("figcaption") == 5
    assert all(labels)


# -- kinds of runs --------------------------------------------------------------------------------


def test_violations_come_first():
    run = play(**UNHEALED)
    assert run.result.violations
    shown_page = page(run)
    assert shown_page.headings[1] == "1 violation of an invariant"
    assert run.result.violations[0] in shown_page.words
    assert shown_page.words.index("1 violation") < shown_page.words.index("delivered")
    assert shown_page.tiles[0][:2] == ["1", "invariants violated"]
    assert ["never", "all nodes equal after the last publish"] in [tile[:2] for tile in shown_page.tiles]
    assert [share(run.result.delivered_fraction), "delivered"] in [tile[:2] for tile in shown_page.tiles]


def test_who_never_got_a_change_is_told(plain):
    run = dataclasses.replace(plain, missing=[1] * len(plain.changes))
    assert "; some never got it." in page(run).words


def test_many_violations_are_counted(plain):
    found = [f"heals: <{number}>" for number in range(VIOLATIONS_MAX + 5)]
    run = dataclasses.replace(plain, result=dataclasses.replace(plain.result, violations=found))
    shown_page = page(run)
    assert shown_page.headings[1] == f"{VIOLATIONS_MAX + 5} violations of invariants"
    assert shown_page.tags.count("li") == VIOLATIONS_MAX
    assert "and 5 more, in the JSON" in shown_page.words


def test_a_run_without_violations_lists_none(plain):
    assert "li" not in page(plain).tags


def test_no_change_at_all():
    shown_page = page(play(publish={"changes": 0}))
    assert "Nothing was delivered" in shown_page.words
    assert "delivered" not in [tile[1] for tile in shown_page.tiles]
    assert "last_delivery_ms" not in shown_page.by_name()
    assert "The overlay" in shown_page.headings


def test_one_node():
    shown_page = page(play(nodes=1))
    assert "1 node ·" in shown_page.words
    assert "Nothing was delivered" in shown_page.words
    assert "The overlay" not in shown_page.headings
    assert shown_page.tiles[0][1] == "violations"


def test_one_sample():
    shown_page = page(play(measure={"idle_s": 0.0, "samples": 1, "heal_limit_s": 1.0}))
    assert "How soon nodes have a change" in shown_page.headings


def test_hostile_nodes_and_faults_are_named():
    run = play(nodes=10, hostile=[{"behaviour": "suppress", "share": 0.2}], faults=[{"kind": "fork", "at_s": 0.1}])
    words = page(run).words
    assert "2 of them hostile" in words
    assert "hostile" in words
    assert "· forks ·" in words


def test_a_stretched_axis_is_told(run, shown_page):
    said = "each stretch between two of its marks has a scale of its own"
    assert (said in shown_page.words) is bool(run.marks)


def test_the_bound_is_named(run, shown_page):
    what = "physics" if run.scenario.zones else "the shape of the overlay"
    assert f"{what} allows" in shown_page.words


def test_of_many_links_a_sample_is_drawn(plain):
    chords = [(one, (one + step) % 1000) for one in range(1000) for step in (1, 7, 40)]
    run = dataclasses.replace(plain, edges=chords, zones=[""] * 1000, hostile=[False] * 1000)
    overlay = Overlay.of(run)
    assert overlay.is_sampled
    assert len(overlay.links) == LINKS_MAX
    assert {host for pair in overlay.links for host in pair} <= set(overlay.hosts)
    assert f"A sample: 1,200 of 3,000 links, and at their ends {len(overlay.hosts):,} of 1,000" in page(run).words
    assert not Overlay.of(plain).is_sampled


# -- a picture alone ------------------------------------------------------------------------------


def drawn(run: Run, target: Path) -> bytes:
    with styled():
        save(overview(run), target)
    return target.read_bytes()


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_pictures_are_what_their_name_says(plain, tmp_path, suffix, begins):
    assert drawn(plain, tmp_path / f"picture{suffix}").startswith(begins)


def test_the_same_run_has_the_same_picture(plain, tmp_path):
    assert drawn(plain, tmp_path / "one.svg") == drawn(plain, tmp_path / "two.svg")


def test_a_picture_of_next_to_nothing(tmp_path):
    assert drawn(play(nodes=1, publish={"changes": 0}), tmp_path / "none.svg")


def test_what_is_not_known_is_shown_as_such():
    by_name = {figure.name: figure for figure in VALUES}
    assert shown(by_name["convergence_ms"], None) == "never"
    assert shown(by_name["delivered_fraction"], None) == "–"
