"""`export` and `import`, against a real agent: what one writes the other or `apply` makes so again."""

from __future__ import annotations

import base64
import json

import pytest

from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import ValueType, put
from gossipconf.trust.keys import load_signer

from ..test_commands import document

STATE = {
    "checkout/timeout_ms": (ValueType.JSON, b"1200"),
    "checkout/limits": (ValueType.JSON, b'{"a": 1}'),
    "checkout/x/y/z": (ValueType.TEXT, b"no"),
    "banner": (ValueType.TEXT, b"two\nlines\n"),
    "rules": (ValueType.YAML, b"a: 1 # why\n"),
    "blob": (ValueType.BYTES, b"\xff"),
    ".hidden": (ValueType.TEXT, b"x"),
}


@pytest.fixture
def published(cluster):
    """Publish a state under a prefix of the test's own."""

    def publish(prefix, state=STATE):
        with open_session(Target.find(cluster)) as session:
            entries = [put(f"{prefix}/{key}", content, value_type) for key, (value_type, content) in state.items()]
            session.publish(entries, load_signer(cluster / "keys" / "admin"))

    return publish


def is_so(run, path, prefix=None):
    """Whether `apply` would change nothing, and delete nothing."""
    placed = () if prefix is None else ("--prefix", prefix)
    result = run("apply", path, *placed, "--prune", "--dry-run")
    return result.out if result.code else result.out.startswith("nothing to do")


def test_yaml_says_everything(run, published, tmp_path):
    published("ex")
    result = run("export", "ex", "--to", tmp_path / "ex.yaml")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"wrote 7 keys: {tmp_path / 'ex.yaml'}\n"
    assert is_so(run, tmp_path / "ex.yaml", "ex") is True
    assert run("export", "ex").stdout == (tmp_path / "ex.yaml").read_bytes()
    assert "exists already" in run("export", "ex", "--to", tmp_path / "ex.yaml").err


def test_a_directory_says_everything(run, published, tmp_path):
    published("exdir")
    result = run("export", "exdir", "--format", "dir", "--to", tmp_path / "config")
    assert (result.code, result.err) == (0, "")
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "config").rglob("*.yaml")) == [
        "config/exdir.yaml",
        "config/exdir/checkout.yaml",
    ]
    assert result.out.endswith(
        f" 2 files in {tmp_path}/config; publish them with: gossipconf apply {tmp_path}/config\n"
    )
    assert is_so(run, tmp_path / "config") is True
    assert "has files" in run("export", "exdir", "--format", "dir", "--to", tmp_path / "config").err
    assert "needs a directory" in run("export", "exdir", "--format", "dir").err


def test_what_cannot_be_said_is_told(run, published, tmp_path):
    published("exjson")
    result = run("export", "exjson", "--format", "json", "--to", tmp_path / "ex.json")
    assert result.out == f"wrote 4 keys: {tmp_path / 'ex.json'}\n"
    assert "left out, since it is of type bytes, which only YAML can say: exjson/blob\n" in result.err
    text = run("export", "exjson/checkout", "--format", "properties")
    assert text.out == 'limits={"a"\\: 1}\ntimeout_ms=1200\nx.y.z=no\n'
    assert text.err == "note: written as text, without their type: limits, timeout_ms\n"


def test_sealed_values_and_variants_are_left_out(cluster, run, published, tmp_path):
    run("seal", "key", tmp_path / "me")
    assert run("put", "exsealed/a", "secret", "--seal-to", tmp_path / "me.pub").code == 0
    with open_session(Target.find(cluster)) as session:
        session.publish([put("exsealed/b", b"x", variant="canary")], load_signer(cluster / "keys" / "admin"))
    result = run("export", "exsealed")
    assert result.code == 0
    assert "since it is sealed: exsealed/a\n" in result.err
    assert "since it is a variant: exsealed/b [canary]\n" in result.err
    assert "secret" not in result.out
    assert run("export", "no/such").code == 3


@pytest.mark.parametrize("format_name", ["consul", "etcd"])
def test_what_was_exported_is_imported(run, published, tmp_path, format_name):
    published(f"ex{format_name}", {"a": (ValueType.TEXT, b"1"), "b/c": (ValueType.BYTES, b"\xff")})
    path = tmp_path / "out.json"
    assert run("export", f"ex{format_name}", "--format", format_name, "--to", path).code == 0
    assert run("import", path, "--from", format_name).out == f"nothing to do: 2 keys as in {path}\n"
    copied = run("import", path, "--from", format_name, "--prefix", "copy", "--yes")
    assert copied.code == 0
    assert f"+ copy/ex{format_name}/a  1\n" in copied.out
    assert document(run("get", f"copy/ex{format_name}/b/c", "--json"))["type"] == "bytes"


def consul(*keys):
    return json.dumps([{"key": key, "flags": 0, "value": base64.b64encode(b"1").decode()} for key in keys]).encode()


def test_nothing_is_lost_silently(cluster, run):
    content = consul("/im//a", "im/b", "im/b/", "im/c\x07", "_policy/1")
    refused = run("import", "-", "--from", "consul", "--yes", stdin=content)
    assert refused.code == 1
    assert "note: '/im//a' becomes 'im/a'\n" in refused.err
    assert "refused: 'im/b/' (-: entry 3): is 'im/b' here, and so is what stands at -: entry 2\n" in refused.err
    assert "refused: 'im/c\\x07' (-: entry 4): key" in refused.err
    assert "the system's" in refused.err
    assert "nothing is published: 3 values cannot be taken over" in refused.err
    assert run("get", "im/a").code == 3
    skipped = run("import", "-", "--from", "consul", "--yes", "--skip-bad", stdin=content)
    assert skipped.code == 0
    assert "published 2 keys" in skipped.out
    assert document(run("get", "im/a", "--json"))["change"] == document(run("get", "im/b", "--json"))["change"]


def test_an_import_has_a_plan_and_prunes_only_under_its_prefix(cluster, run):
    assert run("put", "imp/x/old", "1").code == 0
    dry = run("import", "-", "--from", "env", "--prefix", "imp/x", "--prune", "--dry-run", stdin=b"A__B=1\n")
    assert (dry.code, dry.out) == (
        2,
        "+ imp/x/A/B  1\n- imp/x/old  1\n\n1 to create, 1 to delete, 0 unchanged\ndry run: nothing was published\n",
    )
    assert run("import", "-", "--from", "env", "--prefix", "imp/x", "--prune", "--yes", stdin=b"A__B=1\n").code == 0
    assert [one["key"] for one in document(run("list", "imp", "--json"))] == ["imp/x/A/B"]
    assert "needs a --prefix" in run("import", "-", "--from", "env", "--prune", stdin=b"A=1\n").err
    assert "is none of consul" in run("import", "-", "--from", "zookeeper", stdin=b"").err
    assert "no value to take over" in run("import", "-", "--from", "env", stdin=b"# nothing\n").err
    assert "/no/such cannot be read" in run("import", "/no/such", "--from", "env").err


def test_more_than_a_change_may_have_says_how_to_split(cluster, run):
    lines = b"".join(b"k%d=1\n" % number for number in range(16_385))
    refused = run("import", "-", "--from", "properties", "--prefix", "many", "--yes", "--dry-run", stdin=lines)
    assert refused.code == 1
    assert "publish them in 2 parts or more" in refused.err
