"""Rules: a policy as text that people read and edit, and what differs between two of them in words.

The text is YAML, read by ``syntax``; keys are lines of OpenSSH public key files, which end
in the names of their holders, with their fingerprints as comments. What `_revoked` has as
keys are certificates: they are written as `pki show` writes their fingerprints. Whatever is
wrong is an InvalidInput that names the file and the line. Knows nothing of signing, of
agents or of drafts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ...model.errors import InvalidInput, LimitExceeded
from ...model.key import check_prefix
from ...model.limits import VALUE_BYTES_MAX
from ...trust.floor import Floor
from ...trust.keys import fingerprint, public_line
from ...trust.membership import FINGERPRINT_BYTES, is_membership
from ...trust.parameter import fault, meaning_of
from ...trust.policy import OPERATIONS, Policy, Role, check_name
from ..output import count, short

if TYPE_CHECKING:
    from ...runtime.syntax import Tree

PARTS: Final = ("roots", "roles", "parameters")
ROOT_FIELDS: Final = ("threshold", "keys")
ROLE_FIELDS: Final = ("keys", "prefixes", "operations", "approvals")

UNKNOWN_PARAMETER: Final = "unknown to this release"

CERTIFICATE_SIGN: Final = "SHA256:"
"""Before the 64 hexadecimal digits of a certificate's fingerprint."""

HELP: Final = """\
# roots:  who signs the next policy; the threshold must be above half of them.
# keys:   lines of .pub files; what follows the key there is its holder's name.
# roles:  keys, prefixes ("" is every key but the system's), operations
#         (put, delete, stage, snapshot; default put and delete), approvals: signatures needed (default 1).
#         _revoked: prefixes _nodes/NAME, and as keys the fingerprints of certificates that `pki show` prints.
#         _issuers: prefixes _nodes/NAME.
# parameters:  value_bytes_max: bytes of a value at most; strict/PREFIX: 1: values there change in epochs.
"""


def to_text(policy: Policy, cluster_name: str) -> str:
    """A policy as YAML. Its number is a comment: the successor's follows from what is in force."""
    lines = [f"# Policy {policy.version} of {json.dumps(cluster_name)}", *HELP.splitlines(), ""]
    lines += ["roots:", f"  threshold: {policy.threshold}", *_keys_in_lines(policy.roots, "  ", policy), ""]
    lines += ["roles:" if policy.roles else "roles: {}"]
    for role in policy.roles:
        prefixes = ", ".join(json.dumps(prefix, ensure_ascii=False) for prefix in role.prefixes)
        lines += [
            f"  {json.dumps(role.name, ensure_ascii=False)}:",
            *_keys_in_lines(role.keys, "    ", None if is_membership(role.name) else policy),
            f"    prefixes: [{prefixes}]",
            f"    operations: [{', '.join(role.operations)}]",
            f"    approvals: {role.approvals}",
        ]
    lines += ["", "parameters:" if policy.parameters else "parameters: {}"]
    lines += [
        f"  {json.dumps(name, ensure_ascii=False)}: {number} # {meaning_of(name) or UNKNOWN_PARAMETER}"
        for name, number in policy.parameters
    ]
    return "\n".join(lines) + "\n"


def from_text(text: str, name: str, head: Policy) -> Policy:
    """The successor of ``head`` that a text describes. ``name`` is the file's, for errors. Raises InvalidInput."""
    from ...runtime.syntax import TREE_READERS  # noqa: PLC0415 - the parsers of YAML and the rest, which `show` needs not

    tree = TREE_READERS[".yaml"](text, name)
    reader = _Reader(name, text.splitlines(), tree)
    policy = reader.policy(head)
    try:
        return Policy.decode(policy.encode())
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None


def from_bytes(data: bytes, name: str, head: Policy) -> Policy:
    """The same from a file's bytes. Raises LimitExceeded, too."""
    from ...runtime.syntax import decode_text  # noqa: PLC0415 - as above

    if len(data) > VALUE_BYTES_MAX:
        raise LimitExceeded(f"{name} is larger than {VALUE_BYTES_MAX} bytes, the limit of a policy")
    return from_text(decode_text(data, name), name, head)


def to_json(policy: Policy) -> dict[str, Any]:
    """A policy for programs."""
    return {
        "version": policy.version,
        "roots": {"threshold": policy.threshold, "keys": [key_in_json(key, policy) for key in policy.roots]},
        "roles": [
            {
                "name": role.name,
                "keys": [
                    {"certificate": certificate_line(key)} if is_membership(role.name) else key_in_json(key, policy)
                    for key in role.keys
                ],
                "prefixes": list(role.prefixes),
                "operations": list(role.operations),
                "approvals": role.approvals,
            }
            for role in policy.roles
        ],
        "parameters": dict(policy.parameters),
        "unknown_parameters": [name for name, _ in policy.parameters if meaning_of(name) is None],
    }


def key_in_json(key: bytes, policy: Policy) -> dict[str, str | None]:
    """A public key by its fingerprint and as OpenSSH writes it, and the name that ``policy`` has for it."""
    return {"fingerprint": fingerprint(key), "key": public_line(key), "name": policy.name(key)}


def certificate_line(digest: bytes) -> str:
    """The SHA-256 of a certificate as `pki show` writes it."""
    return f"{CERTIFICATE_SIGN}{digest.hex()}"


# -- what differs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One difference: a sign (+ - ~), words, and whether it takes a right away from somebody."""

    sign: str
    words: str
    narrows: bool = False


def differences(before: Policy, after: Policy) -> list[Step]:
    """What ``after`` says otherwise than ``before``, roots first."""
    steps = [*_key_steps("root", before.roots, after.roots)]
    if before.threshold != after.threshold:
        steps.append(Step("~", f"root threshold {before.threshold} → {after.threshold}"))
    old, new = ({role.name: role for role in policy.roles} for policy in (before, after))
    for name in [*old, *(name for name in new if name not in old)]:
        steps += _role_steps(name, old.get(name), new.get(name))
    numbers, other = dict(before.parameters), dict(after.parameters)
    for name in sorted({*numbers, *other}):
        if numbers.get(name) != other.get(name):
            words = f"parameter {name!r} {numbers.get(name, '(none)')} → {other.get(name, '(none)')}"
            steps.append(Step("~", words))
    for key in sorted(dict(before.names) | dict(after.names)):
        if before.name(key) != after.name(key):
            steps.append(Step("~", f"name of {fingerprint(key)} {_name(before, key)} → {_name(after, key)}"))
    steps += [Step("-", _floor_in_words(floor)) for floor in after.floors]
    if after.settles:
        steps.append(Step("~", f"in force: policy {after.version - 1} of change {short(after.settles[0])}"))
    return steps


def _name(policy: Policy, key: bytes) -> str:
    name = policy.name(key)
    return "(none)" if name is None else repr(name)


def _role_steps(name: str, before: Role | None, after: Role | None) -> Iterator[Step]:
    what = f"role {name!r}"
    if after is None:
        yield Step("-", what, narrows=True)
        return
    if before is None:
        yield Step("+", f"{what}: {_role_in_words(after)}")
        before = replace(after, keys=())
    if is_membership(after.name):
        yield from _key_steps(f"{what} certificate", before.keys, after.keys, certificate_line)
    else:
        yield from _key_steps(f"{what} key", before.keys, after.keys)
    for noun, old, new in (
        ("prefix", before.prefixes, after.prefixes),
        ("operation", before.operations, after.operations),
    ):
        yield from (Step("-", f"{what} {noun} {_quoted(one)}", narrows=True) for one in old if one not in new)
        yield from (Step("+", f"{what} {noun} {_quoted(one)}") for one in new if one not in old)
    if before.approvals != after.approvals:
        words = f"{what} approvals {before.approvals} → {after.approvals}"
        yield Step("~", words, narrows=after.approvals > before.approvals)


def _floor_in_words(floor: Floor) -> str:
    """A floor for people."""
    whose = fingerprint(floor.signer) if floor.signer else "anybody"
    where = f" under {floor.prefix!r}" if floor.prefix else ""
    return (
        f"void: what {whose} has signed{where} under policy {floor.policy_max} or earlier, "
        f"but for {count(len(floor.kept), 'change')}"
    )


def _role_in_words(role: Role) -> str:
    prefixes = ", ".join(map(_quoted, role.prefixes)) or "nothing"
    if is_membership(role.name) and not role.operations:
        return prefixes if role.prefixes else "no nodes"
    return f"{', '.join(role.operations) or 'nothing'} under {prefixes}, signatures needed: {role.approvals}"


def _key_steps(
    what: str, before: Sequence[bytes], after: Sequence[bytes], in_words: Callable[[bytes], str] = fingerprint
) -> Iterator[Step]:
    yield from (Step("-", f"{what} {in_words(key)}", narrows=True) for key in before if key not in after)
    yield from (Step("+", f"{what} {in_words(key)}") for key in after if key not in before)


def _quoted(text: str) -> str:
    return repr(text) if text else '"" (all keys)'


# -- reading --------------------------------------------------------------------------------------


class _Reader:
    """One text; every complaint names its line."""

    def __init__(self, name: str, lines: Sequence[str], tree: Tree) -> None:
        self._name = name
        self._lines = lines
        self._tree = tree
        self._met: dict[bytes, str | None] = {}  # key of a person -> name, once one is given

    def policy(self, head: Policy) -> Policy:
        root = self._mapping(self._tree.root, (), PARTS)
        roots = self._mapping(root.get("roots"), ("roots",), ROOT_FIELDS)
        keys = self._keys(roots.get("keys"), ("roots", "keys"))
        threshold = self._number(roots.get("threshold"), ("roots", "threshold"), 1, len(keys))
        if 2 * threshold <= len(keys):
            raise self._wrong(("roots", "threshold"), f"must be above half of the {len(keys)} roots, not {threshold}")
        roles = self._mapping(root.get("roles", {}), ("roles",), None)
        parameters = self._mapping(root.get("parameters", {}), ("parameters",), None)
        made = tuple(self._role(name, role) for name, role in roles.items())
        # A key that is gone keeps its name: histories show it.
        names = {key: name for key, name in head.names if key not in self._met} | self._met
        return replace(
            head,
            version=head.version + 1,
            roots=keys,
            threshold=threshold,
            roles=made,
            parameters=tuple(self._parameter(name, number, head) for name, number in sorted(parameters.items())),
            names=tuple(sorted((key, name) for key, name in names.items() if name is not None)),
            settles=(),
            floors=(),  # they belong to the policy that brought them, which stays in the chain
        )

    def _parameter(self, name: str, value: object, head: Policy) -> tuple[str, int]:
        """A parameter that this release knows, or that stays as it is: a later release may have set it."""
        path = ("parameters", name)
        number = self._number(value, path, 0, None)
        problem = None if (name, number) in head.parameters else fault(name, number)
        if problem:
            raise self._wrong(path, problem)
        return name, number

    def _role(self, name: str, value: object) -> Role:
        path = ("roles", name)
        fields = self._mapping(value, path, ROLE_FIELDS)
        may_be_certificates = is_membership(name)
        default: list[str] | None = [] if may_be_certificates else None
        keys = self._keys(fields.get("keys", default), (*path, "keys"), may_be_certificates=may_be_certificates)
        prefixes = self._texts(fields.get("prefixes", default), (*path, "prefixes"))
        for prefix in prefixes:
            try:
                check_prefix(prefix)
            except InvalidInput as error:
                raise self._wrong((*path, "prefixes"), f"{prefix!r}: {error}", item=prefix) from None
        operations = self._texts(
            fields.get("operations", [] if may_be_certificates else ["put", "delete"]), (*path, "operations")
        )
        for operation in operations:
            if operation not in OPERATIONS:
                words = f"{operation!r} is no operation; operations are {', '.join(OPERATIONS)}"
                raise self._wrong((*path, "operations"), words, item=operation)
        return Role(
            name,
            keys,
            tuple(sorted(prefixes)),
            tuple(one for one in OPERATIONS if one in operations),
            self._number(fields.get("approvals", 1), (*path, "approvals"), 1, max(1, len(keys))),
        )

    def _mapping(self, value: object, path: tuple[str, ...], allowed: Sequence[str] | None) -> Mapping[str, object]:
        if not isinstance(value, dict):
            what = "must be a mapping" if value is not None else "is missing or empty"
            raise self._wrong(path, f"{what}{f' with {chr(44).join(allowed)}' if allowed else ''}")
        for key in value:
            if allowed is not None and key not in allowed:
                raise self._wrong((*path, key), f"is unknown here; there may be {', '.join(allowed)}")
        return value

    def _texts(self, value: object, path: tuple[str, ...]) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(path, "must be a list of texts" if value is not None else "is missing")
        for place, one in enumerate(value):
            if one in value[:place]:
                raise self._wrong(path, f"{one!r} is there twice; keep one", item=one)
        return value

    def _number(self, value: object, path: tuple[str, ...], least: int, most: int | None) -> int:
        if type(value) is not int or value < least or (most is not None and value > most):
            limits = f"{least} to {most}" if most is not None else f"{least} or more"
            raise self._wrong(path, f"must be a whole number, {limits}")
        return value

    def _keys(self, value: object, path: tuple[str, ...], *, may_be_certificates: bool = False) -> tuple[bytes, ...]:
        keys: dict[bytes, str] = {}
        for line in self._texts(value, path):
            raw = digest_of(line) if may_be_certificates else None
            if raw is None:
                raw = self._key(line, path, may_be_certificates=may_be_certificates)
            if raw in keys:
                raise self._wrong(path, f"{fingerprint(raw)} is there twice; keep one", item=line)
            keys[raw] = line
        return tuple(sorted(keys))

    def _key(self, line: str, path: tuple[str, ...], *, may_be_certificates: bool) -> bytes:
        try:
            public = serialization.load_ssh_public_key(line.encode())
        except (ValueError, UnsupportedAlgorithm):
            public = None
        if isinstance(public, Ed25519PublicKey):
            raw = public.public_bytes_raw()
            self._note_name(raw, line, path)
            return raw
        if may_be_certificates:
            words = (
                f"this is no certificate's fingerprint ({CERTIFICATE_SIGN} and 64 digits, as `pki show FILE` has it)"
            )
        else:
            words = "this is no line of an Ed25519 .pub file (ssh-ed25519 AAAA…)"
        raise self._wrong(path, words, item=line)

    def _note_name(self, key: bytes, line: str, path: tuple[str, ...]) -> None:
        """Note the name that a line gives to a key, in one place or in several alike."""
        _, _, name = (*line.split(None, 2), "")[:3]
        name = name.strip()
        known = self._met.setdefault(key, None)
        if not name:
            return
        try:
            check_name(name)
        except InvalidInput as error:
            raise self._wrong(path, f"what follows the key is its holder's name: {error}", item=line) from None
        if known not in (None, name):
            raise self._wrong(path, f"the key is named {name!r} here and {known!r} above; keep one", item=line)
        self._met[key] = name

    def _wrong(self, path: tuple[str, ...], problem: str, *, item: str | None = None) -> InvalidInput:
        """A complaint about what is at ``path``, or about ``item`` of the list there."""
        at = path
        while at and at not in self._tree.lines:
            at = at[:-1]
        line = self._tree.lines.get(at, 1)
        if item:
            found = [number for number, text in enumerate(self._lines, 1) if number >= line and item in text]
            line = found[0] if found else line
        return InvalidInput(f"{self._name}:{line}: {'/'.join(path) or 'the text'}: {problem}")


def digest_of(line: str) -> bytes | None:
    """What ``certificate_line`` has written, or None."""
    if not line.startswith(CERTIFICATE_SIGN):
        return None
    try:
        raw = bytes.fromhex(line.removeprefix(CERTIFICATE_SIGN))
    except ValueError:
        return None
    return raw if len(raw) == FINGERPRINT_BYTES else None


def _keys_in_lines(keys: Sequence[bytes], indent: str, policy: Policy | None) -> list[str]:
    """Keys with the names that ``policy`` has for them; certificates, which have none, without one."""
    if not keys:
        return [f"{indent}keys: []"]
    if policy is None:
        return [f"{indent}keys:", *(f"{indent}  - {certificate_line(key)}" for key in keys)]
    lines = [(key, public_line(key, policy.name(key) or "")) for key in keys]
    return [
        f"{indent}keys:",
        *(
            f"{indent}  - {json.dumps(line, ensure_ascii=False) if policy.name(key) else line} # {fingerprint(key)}"
            for key, line in lines
        ),
    ]
