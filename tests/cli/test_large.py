"""Large changes, against two real agents: 10,000 keys are one change, and spread."""

from __future__ import annotations

import pytest

from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target

from .conftest import wait_at

KEYS = 10_000


@pytest.mark.slow  # 20 to 60 s
def test_an_apply_of_10_000_keys_is_one_change_and_spreads(agents, run, tmp_path):
    agents.add("a")
    where = ("--cluster", agents.directory, "--agent")
    at_a, at_b = ((*where, agents.directory / "nodes" / name) for name in ("a", "b"))
    with open_session(Target.find(agents.directory, agents.directory / "nodes" / "a")) as session:
        agents.settle_address("a", session.info["address"])
    agents.add("b")
    file = tmp_path / "many.properties"
    for value in ("one", "two"):  # created, then all of them changed
        file.write_text("".join(f"k{number}.x={value}\n" for number in range(KEYS)))
        result = run("apply", file, "--yes", "--wait", "all", "--timeout", "5m", *at_a)
        assert result.code == 0, result.err
        assert f"published {KEYS:,} keys at a" in result.out
        last = f"many/k{KEYS - 1}/x"
        wait_at(
            agents.directory,
            "b",
            last,
            lambda item, value=value: item.default is not None and item.default.entry.value == value.encode(),
        )
        with open_session(Target.find(agents.directory, agents.directory / "nodes" / "b")) as session:
            found = [item.default for item in session.items("many")]
        assert len(found) == KEYS
        assert len({version.change_id for version in found}) == 1
        assert {version.entry.value for version in found} == {value.encode()}
    assert run("apply", file, "--dry-run", *at_b).out == f"nothing to do: {KEYS:,} keys as in {file}\n"
    change = found[0].change_id.hex()
    assert run("rollback", change, "--yes", *at_b).code == 0
    assert run("get", last, *at_b).out == "one"
