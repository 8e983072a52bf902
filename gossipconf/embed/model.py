"""Models: classes whose fields are keys. Dataclasses, msgspec Structs and pydantic models.

The field ``per_minute`` of a model under ``shop/limits`` is the key ``shop/limits/per_minute``. A
field that is itself a model is the keys below its own, or one value, a tree, at it. A field
whose key has no value takes its default. pydantic and msgspec check by their own rules, with text
that may stand for a number; a dataclass's fields are checked here by their annotations.

pydantic and msgspec are never imported unless a model of theirs is there already.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

from ..model.errors import InvalidInput
from .snapshot import Cell, Snapshot
from .value import TYPES, Content, Unfit, as_type, is_text

M = TypeVar("M")
NONE: Final = type(None)


class Unmade(Exception):
    """A model cannot be made: ``path`` are the names of the field, ``reason`` is why."""

    def __init__(self, path: Sequence[str], reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = tuple(path), reason


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field: the name by which it is given, its annotation, whether it has no default."""

    name: str
    annotation: Any
    is_required: bool


def is_model(model: object) -> bool:
    """Whether ``model`` is a class of one of the three kinds."""
    return isinstance(model, type) and (dataclasses.is_dataclass(model) or _is_struct(model) or _is_pydantic(model))


def check_model(model: type[Any]) -> None:
    """Raise InvalidInput unless ``model`` can be bound."""
    if not is_model(model):
        raise InvalidInput(f"{model!r} is no model: bind a dataclass, a msgspec Struct or a pydantic model")
    if _is_plain_dataclass(model):
        for field in _fields_of(model):
            _check_annotation(field.annotation, f"{model.__name__}.{field.name}")


def make(model: type[M], prefix: str, snapshot: Snapshot) -> M:
    """The model that the values under ``prefix`` make. Raises Unmade, Fenced, NotAMember or SealError."""
    tree = _collect(model, prefix, snapshot, ())
    return cast(M, _built(model, tree, ()))


def cells_of(model: type[Any], prefix: str, snapshot: Snapshot) -> list[Cell]:
    """What is read for a model, as far as it can be."""
    found = []
    for field in _fields_of(model):
        key = _key(prefix, field.name)
        cell, nested = snapshot.find(key), _nested(field.annotation)
        if cell is not None:
            found.append(cell)
        elif nested is not None:
            found += cells_of(nested, key, snapshot)
    return found


# -- keys to a tree -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Text:
    """Text that may stand for what is written in it; only for dataclasses, the others take a str for that."""

    text: str


def _collect(model: type[Any], prefix: str, snapshot: Snapshot, path: tuple[str, ...]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for field in _fields_of(model):
        key, inner = _key(prefix, field.name), (*path, field.name)
        cell, nested = snapshot.find(key), _nested(field.annotation)
        if cell is not None:
            tree[field.name] = _given(model, field, cell, inner)
        elif nested is not None:
            below = _collect(nested, key, snapshot, inner)
            if below or (field.is_required and field.annotation is nested):
                tree[field.name] = below
    return tree


def _given(model: type[Any], field: Field, cell: Cell, path: tuple[str, ...]) -> Any:
    if field.annotation is bytes:
        return cell.content().data
    try:
        value = cell.plain()
    except Unfit as error:
        raise Unmade(path, f"it is {error}") from None
    content: Content = cell.content()
    return _Text(value) if is_text(content) and _is_plain_dataclass(model) else value


def _key(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _fields_of(model: type[Any]) -> list[Field]:
    if _is_pydantic(model):
        return [
            Field(_alias(name, info), info.annotation, info.is_required()) for name, info in model.model_fields.items()
        ]
    hints = typing.get_type_hints(model)
    if _is_struct(model):
        from msgspec.structs import fields  # noqa: PLC0415 - of whoever has made the Struct

        return [Field(one.encode_name, hints[one.name], one.required) for one in fields(model)]
    return [
        Field(
            one.name, hints[one.name], one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        )
        for one in dataclasses.fields(model)
        if one.init
    ]


def _alias(name: str, info: Any) -> str:
    alias = info.validation_alias
    return alias if isinstance(alias, str) else name


def _nested(annotation: Any) -> type[Any] | None:
    """The model that an annotation is, or may be."""
    options = [one for one in _options(annotation) if is_model(one)]
    return options[0] if len(options) == 1 else None


def _options(annotation: Any) -> tuple[Any, ...]:
    """What an annotation allows: the parts of a union, or itself alone."""
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _is_plain_dataclass(model: type[Any]) -> bool:
    return dataclasses.is_dataclass(model) and not _is_pydantic(model)


def _is_struct(model: type[Any]) -> bool:
    return hasattr(model, "__struct_config__")


def _is_pydantic(model: type[Any]) -> bool:
    return hasattr(model, "__pydantic_validator__") and hasattr(model, "model_fields")


# -- a tree to a model ----------------------------------------------------------------------------


def _built(model: type[Any], tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    if _is_pydantic(model):
        return _pydantic(model, tree, path)
    if _is_struct(model):
        return _struct(model, tree, path)
    fields = _fields_of(model)
    missing = next((field.name for field in fields if field.is_required and field.name not in tree), None)
    if missing is not None:
        raise Unmade((*path, missing), "it has no value, and the field has no default")
    given = {
        field.name: _as_annotated(field.annotation, tree[field.name], (*path, field.name))
        for field in fields
        if field.name in tree
    }
    try:
        return model(**given)
    except Exception as error:  # whatever the user's __post_init__ raises
        raise Unmade(path, f"{model.__name__} refuses its values: {_told(error)}") from error


def _pydantic(model: type[Any], tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    from pydantic import ValidationError  # noqa: PLC0415 - of whoever has made the model

    try:
        return model.model_validate(dict(tree))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Unmade((*path, *map(str, first["loc"])), first["msg"]) from None
    except Exception as error:  # a validator that raises what is none of pydantic's
        raise Unmade(path, f"{model.__name__} refuses its values: {_told(error)}") from error


def _struct(model: type[Any], tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    import msgspec  # noqa: PLC0415 - of whoever has made the Struct

    try:
        return msgspec.convert(dict(tree), model, strict=False)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$.")
        raise Unmade((*path, *at.rstrip("`").split(".")) if at else path, reason) from None
    except Exception as error:  # whatever the user's __post_init__ raises
        raise Unmade(path, f"{model.__name__} refuses its values: {_told(error)}") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


# -- annotations of dataclasses -------------------------------------------------------------------


def _check_annotation(annotation: Any, where: str) -> None:
    """Raise InvalidInput for what `_as_annotated` does not know."""
    origin = get_origin(annotation)
    if annotation in (Any, NONE, *TYPES) or origin is Literal:
        return
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return
    if is_model(annotation):
        check_model(annotation)
        return
    inner = get_args(annotation)
    if origin in {Union, types.UnionType, list} or (origin is dict and inner[0] is str):
        for one in inner[1:] if origin is dict else inner:
            _check_annotation(one, where)
        return
    raise InvalidInput(
        f"{where}: the annotation {annotation!r} is not known; a dataclass can have "
        f"{', '.join(one.__name__ for one in TYPES)}, Any, Literal, enums, unions, list[X], dict[str, X], dataclasses"
    )


def _as_annotated(annotation: Any, value: Any, path: tuple[str, ...]) -> Any:
    """``value`` as a dataclass's annotation says. Raises Unmade."""
    origin = get_origin(annotation)
    plain = value.text if isinstance(value, _Text) else value
    if annotation is Any:
        return plain
    if origin in {Union, types.UnionType}:
        return _as_one_of(get_args(annotation), value, path)
    if annotation is NONE:
        return _expect(plain is None, None, path, "it is not null")
    if origin is Literal:
        options = get_args(annotation)
        found = [one for one in options if one == plain and type(one) is type(plain)]
        found += [one for one in options if isinstance(value, _Text) and str(one) == plain]
        return _expect(bool(found), found[0] if found else None, path, f"it is none of {options!r}")
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        members = [
            one for one in annotation if one.value == plain or (isinstance(value, _Text) and str(one.value) == plain)
        ]
        names = ", ".join(str(one.value) for one in annotation)
        return _expect(bool(members), members[0] if members else None, path, f"it is none of {names}")
    if is_model(annotation):
        return plain if isinstance(plain, annotation) else _built(annotation, _as_type(dict, value, path), path)
    wanted = origin or annotation
    found_value = _as_type(wanted, value, path)
    inner = get_args(annotation)
    if wanted is list and inner:
        return [_as_annotated(inner[0], one, (*path, str(place))) for place, one in enumerate(found_value)]
    if wanted is dict and inner:
        return {key: _as_annotated(inner[1], one, (*path, key)) for key, one in found_value.items()}
    return found_value


def _as_one_of(options: Sequence[Any], value: Any, path: tuple[str, ...]) -> Any:
    """The first of a union that fits; text is a str only if nothing before that in the union takes it."""
    problems = []
    for option in options:
        try:
            return _as_annotated(option, value, path)
        except Unmade as error:
            if option is not NONE:
                problems.append(error)
    raise problems[0] if len(problems) == 1 else Unmade(path, "; ".join(error.reason for error in problems))


def _as_type(wanted: type, value: Any, path: tuple[str, ...]) -> Any:
    try:
        if isinstance(value, _Text):
            return as_type(value.text, wanted, is_text=True)
        return as_type(value, wanted, is_text=False)
    except Unfit as error:
        raise Unmade(path, f"{wanted.__name__} is wanted, and the value is {error}") from None


def _expect(is_so: bool, value: Any, path: tuple[str, ...], reason: str) -> Any:
    if not is_so:
        raise Unmade(path, reason)
    return value
