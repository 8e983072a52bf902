"""Files that are written are read back to the same values, or say what they have left out."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipconf.cli.files.documents import entries_in
from gossipconf.cli.files.formats.trees import write_json, write_toml, write_yaml
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput
from gossipconf.model.key import check_key

WRITERS = {".yaml": write_yaml, ".json": write_json, ".toml": write_toml}


def is_key(text: str) -> bool:
    try:
        check_key(text)
    except InvalidInput:
        return False
    return not text.startswith("_")


SEGMENTS = st.one_of(
    st.sampled_from(["a", "b", "no", "null", "1", "0x1f", "1.5", "<<", "~", "=", "a: b", "#", "- x", "é", "a.b"]),
    st.text(min_size=1, max_size=6).filter(lambda text: "/" not in text and is_key(text)),
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join).filter(is_key)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("ab \n\t:#'\"\\-|>&*!%@`[]{},?\r\x85\u2028\ufeff", max_size=20),
    st.sampled_from(["no", "1e3", "0o17", "1_000", "~", "", "12:30", "<<", "=", ".inf", "a\n", "\n", " a\n b\n"]),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


VALUES = st.one_of(
    st.tuples(st.just(ValueType.TEXT), TEXTS.map(str.encode)),
    st.tuples(st.just(ValueType.JSON), PLAIN.map(canonical)),
    st.tuples(st.just(ValueType.JSON), PLAIN.map(lambda value: json.dumps(value, indent=1).encode())),
    st.tuples(st.just(ValueType.YAML), st.sampled_from([b"a: 1\nb: [x]\n", b"# why\na: |\n  x\n", b"", b"- 1\n"])),
    st.tuples(st.just(ValueType.TOML), st.sampled_from([b"a = 1\n[b]\nc = 'x'\n", b""])),
    st.tuples(st.just(ValueType.BYTES), st.binary(max_size=20)),
)
STATES = st.dictionaries(KEYS, VALUES, max_size=8)


@pytest.mark.parametrize("suffix", WRITERS)
@given(STATES)
@example({"a": (ValueType.TEXT, b"x\r\ny"), "b": (ValueType.TEXT, b" lead\n"), "c": (ValueType.TEXT, b"a\n\n")})
def test_what_is_written_is_read_back(suffix, state):
    written = WRITERS[suffix](state)
    read = entries_in(written.content, "f", suffix, "")
    assert read == {key: value for key, value in state.items() if key not in written.left_out}
    assert written.left_out.keys() <= state.keys()


@given(STATES)
def test_yaml_says_all_but_a_key_above_another(state):
    left_out = write_yaml(state).left_out
    assert all(any(other.startswith(key + "/") for other in state) for key in left_out)


def test_a_file_is_as_a_person_would_write_it():
    state = {
        "shop/timeout_ms": (ValueType.JSON, b"1200"),
        "shop/banner": (ValueType.TEXT, b"two\nlines\n"),
        "shop/answer": (ValueType.TEXT, b"no"),
        "shop/limits": (ValueType.JSON, b'{"a": 1}'),
        "shop/hosts": (ValueType.JSON, b'["a","b"]'),
        "shop/blob": (ValueType.BYTES, b"\x00\xff"),
    }
    assert write_yaml(state, "by gossipconf").content.decode() == (
        "# by gossipconf\n"
        "shop:\n"
        "  answer: 'no'\n"
        "  banner: |\n    two\n    lines\n"
        '  blob: !bytes "AP8="\n'
        "  hosts:\n  - a\n  - b\n"
        "  limits: !json '{\"a\": 1}'\n"
        "  timeout_ms: 1200\n"
    )
    assert write_toml(state).left_out == {
        "shop/blob": "is of type bytes, which only YAML can say",
        "shop/limits": "is a JSON string or object, or spelled in its own way, which only YAML can say",
    }


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: !json '{'", "f:1: key 'a': the json value:1: not JSON"),
        ("a: !bytes '$'", "f:1: what follows !bytes is not base64"),
        ("a: [!json '1']", "!json gives the type of a whole value"),
        ("a: !yaml {b: 1}", "tag !yaml is not one of YAML's core schema"),
        ("!json a: 1", "is not text to YAML"),
        ("a: !sealed x", "tag !sealed does not fit"),
    ],
)
def test_tags_that_say_nothing_are_refused(text, part):
    with pytest.raises(InvalidInput) as caught:
        entries_in(text.encode(), "f", ".yaml", "")
    assert part in str(caught.value)
