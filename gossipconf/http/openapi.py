"""The OpenAPI 3.1 document of what an agent answers. Made from tables; a test compares it with the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .. import __version__

STRING: Final = {"type": "string"}
NUMBER: Final = {"type": "integer", "minimum": 0}
MAYBE_STRING: Final = {"type": ["string", "null"]}
TIME: Final = {"description": "RFC 3339; after the year 9999 milliseconds since 1970", "type": ["string", "integer"]}
MAYBE_TIME: Final = {"type": ["string", "integer", "null"]}
BOOLEAN: Final = {"type": "boolean"}


def _object(properties: Mapping[str, Any], *, required: bool = True, **more: Any) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "object", "properties": dict(properties), **more}
    return shape | {"required": list(properties)} if required else shape


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


VERSION: Final = {
    "key": STRING,
    "variant": {"type": "string", "description": "empty for the default"},
    "match": _list({"type": "object"}),
    "rank": {"type": "integer"},
    "expires": MAYBE_TIME,
    "operation": {"enum": ["put", "delete"]},
    "type": {"enum": ["text", "json", "yaml", "toml", "bytes", "sealed", None]},
    "value": {
        "description": 'JSON of type json; a string of text, yaml and toml; {"base64": …} of bytes and sealed values'
    },
    "signer": {"type": "string", "description": "fingerprint of the key that signed it"},
    "time": TIME,
    "activation": MAYBE_TIME,
    "comment": STRING,
    "change": {"type": "string", "description": "id of its change, in hex"},
    "version": {"type": "string", "description": "its own id, in hex"},
    "writer": STRING,
    "number": NUMBER,
    "policy": NUMBER,
}
SCHEMAS: Final[dict[str, Any]] = {
    "Problem": _object({"error": STRING, "message": STRING, "fix": STRING}),
    "Published": _object({"change": STRING, "versions": NUMBER}),
    "Version": _object(VERSION),
    "Read": _object(
        {
            **VERSION,
            "conflict": _list(_ref("Version")),
            "held_back": _list({"allOf": [_ref("Version"), _object({"problem": STRING})]}),
        }
    ),
    "Keys": _object(
        {
            "items": _list(_ref("Read")),
            "next": MAYBE_STRING,
            "unreadable": {"type": "object", "additionalProperties": STRING},
        }
    ),
    "Health": _object(
        {
            "status": {"enum": ["live", "ready", "not ready"]},
            "node": STRING,
            "checks": _list(_object({"name": STRING, "ok": BOOLEAN, "reason": STRING})),
        }
    )
    | {"required": ["status", "node"]},
    "Status": _object(
        {"node": STRING, "cluster": STRING, "root": STRING, "policy": NUMBER, "keys": NUMBER, "members": NUMBER}
    ),
    "Members": _object({"members": _list(_object({"node": STRING, "state": STRING})), "crowded": BOOLEAN}),
    "Conflicts": _object(
        {"items": _list(_object({"key": STRING, "versions": _list(_ref("Version"))})), "next": MAYBE_STRING}
    ),
    "History": _object(
        {
            "items": _list(
                _object(
                    {
                        "change": STRING,
                        "time": TIME,
                        "signer": STRING,
                        "comment": STRING,
                        "policy": NUMBER,
                        "live": NUMBER,
                        "retired": NUMBER,
                        "versions": _list(
                            {"allOf": [_ref("Version"), _object({"retired": MAYBE_TIME, "void": BOOLEAN})]}
                        ),
                    }
                )
            ),
            "next": MAYBE_STRING,
        }
    ),
}


def _query(name: str, description: str, schema: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema), "required": required}


PREFIX: Final = _query("prefix", "keys at and under it; empty or absent: all but the system's own", STRING)
AFTER: Final = _query("after", "only keys behind this one: `next` of the page before", STRING)
LIMIT: Final = _query("limit", "items in the page at most", {"type": "integer", "minimum": 1, "maximum": 1_000})
HISTORY_LIMIT: Final = _query("limit", "changes in the page at most", {"type": "integer", "minimum": 1, "maximum": 100})
KEY: Final = {"name": "key", "in": "path", "required": True, "schema": STRING, "description": "slashes as they are"}
AGE: Final = _query("max_age_s", "the view may be so old", NUMBER)
EXCLUDE: Final = _query("exclude", "checks to leave out", _list({"enum": ["disk", "joined", "fresh"]}))


def _answer(description: str, schema: str | None, media_type: str = "application/json") -> dict[str, Any]:
    shape = STRING if schema is None else _ref(schema)
    return {"description": description, "content": {media_type: {"schema": shape}}}


def _get(summary: str, answer: Mapping[str, Any], *parameters: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    responses = {"200": dict(answer), "default": _answer("an error", "Problem"), **more}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    return {"get": operation | ({"parameters": list(map(dict, parameters))} if parameters else {})}


PATHS: Final[dict[str, Any]] = {
    "/health/live": _get("Whether the agent answers", _answer("it does", "Health")),
    "/health/ready": _get(
        "Whether a service may rely on it",
        _answer("it may", "Health"),
        AGE,
        EXCLUDE,
        **{"503": _answer("not now; the checks say why", "Health")},
    ),
    "/metrics": _get("Figures for Prometheus", _answer("text, version 0.0.4", None, "text/plain")),
    "/api/v1/kv": _get("Keys that have a value here, by code point", _answer("a page", "Keys"), PREFIX, AFTER, LIMIT),
    "/api/v1/kv/{key}": _get(
        "What this agent reads of a key",
        {
            "description": "the version that counts, or with `raw` the value as it is",
            "content": {"application/json": {"schema": _ref("Read")}, "*/*": {"schema": {}}},
        },
        KEY,
        _query("raw", "the value as it is, with its id as ETag", STRING) | {"allowEmptyValue": True},
        **{"304": {"description": "the version of `If-None-Match`"}, "404": _answer("no value", "Problem")},
    ),
    "/api/v1/status": _get("The agent itself", _answer("its account", "Status")),
    "/api/v1/members": _get("The agent and all others that it knows", _answer("all of them", "Members")),
    "/api/v1/conflicts": _get(
        "Keys with several live versions in a slot", _answer("a page", "Conflicts"), AFTER, LIMIT
    ),
    "/api/v1/history": _get(
        "Changes, the last signed first",
        _answer("a page", "History"),
        _query("key", "of one key; either this or `prefix`", STRING),
        PREFIX,
        _query("before", "`next` of the page before", STRING),
        HISTORY_LIMIT,
    ),
    "/api/v1/watch": _get(
        "What is read under a prefix, and each change of it, as server-sent events: change, gone, strict, ready, reset",
        _answer("events until the client goes away", None, "text/event-stream"),
        PREFIX,
        _query("list", "whether what there is is told first", {"enum": ["yes", "no"], "default": "yes"}),
        _query("last_event_id", "id of the last event, where `Last-Event-ID` cannot be sent", STRING),
    ),
    "/api/v1/changes": {
        "post": {
            "summary": "Publish a change that its sender has signed",
            "parameters": [
                _query("compared", "refuse it if what it replaces has changed meanwhile", STRING)
                | {"allowEmptyValue": True}
            ],
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}},
            "responses": {
                "201": _answer("it is on this agent's disk", "Published"),
                "default": _answer("an error; nothing is published", "Problem"),
            },
        }
    },
    "/api/v1/openapi.json": _get("This document", {"description": "it", "content": {"application/json": {}}}),
}


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gossipconf agent",
            "version": __version__,
            "description": "What one agent reads. Nothing of it is signed: it is as good as the agent that says it.",
        },
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
