"""What peers are blamed for: hostile ones are counted, and honest ones are not."""

from __future__ import annotations

from collections import Counter

import pytest

from gossipconf_sim.run.play import simulate
from gossipconf_sim.scenario.scenario import from_values


@pytest.mark.parametrize(
    ("behaviour", "blamed_for"),
    [
        ("lie", {"unequal"}),
        ("stale", {"unequal"}),
        ("withhold", {"unanswered"}),
        ("suppress", {"unanswered"}),
        ("delay", {"unanswered"}),
        ("replay", set()),
    ],
)
def test_who_lies_or_keeps_back_is_counted_and_nobody_else(behaviour: str, blamed_for: set[str]) -> None:
    values = {
        "nodes": 30,
        "publish": {"changes": 40, "every_ms": 200.0},
        "hostile": [{"behaviour": behaviour, "share": 0.1}],
    }
    run = simulate(from_values("blame", values), 1)
    hosts = list(run.world.hosts.values())
    blamed: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for judge in hosts:
        if judge.honest and judge.node is not None:
            for judged in hosts:
                blamed[judged.honest].update(judge.node.overlay.complaints.of(judged.name))
    assert run.result.delivered_fraction == 1.0
    assert run.result.violations == []
    assert set(blamed[False]) == blamed_for
    assert 10 * blamed[True].total() <= blamed[False].total(), "a link may break before it has answered"
