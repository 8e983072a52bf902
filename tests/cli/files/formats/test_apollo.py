"""Apollo's export, as its portal's ConfigsExportService and NamespaceBOUtils write it."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from gossipconf.cli.files.formats import apollo as module
from gossipconf.cli.files.formats.apollo import apollo
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput, LimitExceeded


def item(key: str, value: str, comment: str = "") -> dict:
    return {"id": 0, "namespaceId": 0, "key": key, "type": 0, "value": value, "comment": comment, "lineNum": 1}


def archive(files: dict[str, object]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return made.getvalue()


def test_an_export_of_two_namespaces():
    content = archive(
        {
            "shop+application.appnamespace.metadata": {"name": "application"},
            "apollo/shop/app.metadata": {"appId": "shop"},
            "apollo/shop/PRO/default.cluster.metadata": {"name": "default"},
            "apollo/shop/PRO/shop+default+application.properties": [
                item("db.url", "jdbc:x"),
                item("", "", "# a comment"),
                item("timeout", ""),
            ],
            "apollo/shop/PRO/shop+eu+limits.yml": [item("content", "a: 1\n")],
            "apollo/shop/PRO/shop+eu+empty.json": "",
        }
    )
    read = apollo(content, "f")
    assert [(one.name, one.value) for one in read.found] == [
        ("shop/PRO/default/application/db/url", (ValueType.TEXT, b"jdbc:x")),
        ("shop/PRO/default/application/timeout", (ValueType.TEXT, b"")),
        ("shop/PRO/eu/limits.yml", (ValueType.YAML, b"a: 1\n")),
    ]
    assert len(read.passed_over) == 4
    assert "item 2 is a comment or a blank line" in read.passed_over[3]


def test_portals_before_2_write_files_as_they_are():
    content = archive(
        {
            "apollo/shop/PRO/shop+default+application.properties": "#Tue\ndb.url = jdbc\\:x\ntimeout=\n",
            "apollo/shop/PRO/shop+eu+limits.yml": "- 1\n",
            "apollo/shop/PRO/shop+eu+list.json": '[{"key": "a"}]',
            "apollo/shop/PRO/shop+eu+object.json": '{"a": 1}',
            "apollo/shop/PRO/shop+eu+flow.yaml": "[a, b]",
            "apollo/shop/PRO/shop+eu+page.xml": "<a/>",
        }
    )
    assert [(one.name, one.value) for one in apollo(content, "f").found] == [
        ("shop/PRO/default/application/db/url", (ValueType.TEXT, b"jdbc:x")),
        ("shop/PRO/default/application/timeout", (ValueType.TEXT, b"")),
        ("shop/PRO/eu/limits.yml", (ValueType.YAML, b"- 1\n")),
        ("shop/PRO/eu/list.json", (ValueType.JSON, b'[{"key": "a"}]')),
        ("shop/PRO/eu/object.json", (ValueType.JSON, b'{"a": 1}')),
        ("shop/PRO/eu/flow.yaml", (ValueType.YAML, b"[a, b]")),
        ("shop/PRO/eu/page.xml", (ValueType.TEXT, b"<a/>")),
    ]


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({"a.properties": []}, "not owner/app/env/app+cluster+namespace"),
        ({"o/shop/PRO/shop+default.properties": []}, "not owner/app/env/app+cluster+namespace"),
        ({"o/shop/PRO/shop+default+a.properties": {"a": 1}}, "not a list of items"),
        ({"o/shop/PRO/shop+default+a.properties": "[a"}, "not JSON"),
        ({"o/shop/PRO/shop+default+a.properties": "a = \\u12"}, "a.properties:1: a \\u escape"),
        ({"o/shop/PRO/shop+default+a.properties": [{"key": "a"}]}, "item 1 has no key and value"),
        ({"o/shop/PRO/shop+default+a.properties": [1]}, "is a comment"),
    ],
)
def test_other_files_are_refused(files, part):
    if part == "is a comment":
        assert part in apollo(archive(files), "f").passed_over[0]
        return
    with pytest.raises(InvalidInput) as caught:
        apollo(archive(files), "f")
    assert part in str(caught.value)


def test_a_broken_or_huge_file_is_refused(monkeypatch):
    whole = archive({"o/shop/PRO/shop+default+a.properties": [item("a", "x" * 10_000)]})
    for content in (b"", b"PK", whole[:-30], whole[:60] + b"\xff" * 20 + whole[80:]):
        with pytest.raises(InvalidInput, match="not a ZIP file that can be read"):
            apollo(content, "f")
    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1_000)
    with pytest.raises(LimitExceeded, match="larger than 1,000 bytes unpacked"):
        apollo(whole, "f")
