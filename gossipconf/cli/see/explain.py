"""`explain`: why the asked agent reads of a key what it reads, step by step.

Knows who may be asked what, and how it is told. What is read `store.resolution` decides, and who
may write the policy says; here it is only put into words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ...model.entry import MatchKind, MatchTerm, put
from ...model.errors import GossipconfError, NotRecipient, SchemaUnusable
from ...model.key import check_key
from ...model.version import Version
from ...runtime.schema import is_installed
from ...runtime.schema_set import SchemaSet
from ...runtime.syntax import ParserMissing
from ...store.resolution import Candidate, Resolution, Verdict, holds, next_moment, share_of
from ...trust.policy import Role
from ..instant import now_ms
from ..item import Item
from ..opener import is_sealed, recipients_of
from ..output import (
    count,
    escaped,
    json_time,
    json_version,
    moment_and_age,
    print_json,
    print_labelled,
    rights_in_words,
    say,
    short,
    version_in_line,
)
from ..session import Session, open_session
from ..target import AgentOption, ClusterOption, JsonOption, Target
from .outcome import (
    json_outcome,
    match_in_words,
    moment_ahead,
    outcome_in_words,
    percent_in_words,
    votes_in_words,
    whom_in_words,
    why_missing,
)
from .status import cautions, json_view

LABEL_CHARACTERS: Final = 11
VERDICT_STYLES: Final = {Verdict.READ: "bold green", Verdict.HALTED: "red", Verdict.UNFIT: "red"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A key at one agent: what there is, and what becomes of it now."""

    session: Session
    item: Item
    resolution: Resolution
    now_ms: int

    @property
    def version(self) -> Version | None:
        """What is read."""
        return self.resolution.version


def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key.")],
    as_json: JsonOption = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
) -> None:
    """Tell why the asked agent reads this value of KEY.

    What became of each live version: its variant, match and rank, its time and
    its siblings; then who signed what is read, which policy judged that, who may
    write the key now, its schemas, whether the agent can open it, what time alone
    will change, and how old the agent's view may be.

    \b
    Examples:
      gossipconf explain shop/checkout/timeout_ms
      gossipconf explain shop/checkout/timeout_ms --agent shop/nodes/b
      gossipconf explain shop/checkout/timeout_ms --json | jq .because
    """
    check_key(key)
    with open_session(Target.find(cluster, agent)) as session:
        item = session.get(key)
        now = now_ms()
        subject = Subject(session, item, session.read(item, now), now)
        if as_json:
            print_json(_in_json(subject))
        else:
            _print(subject)


# -- the reasons ----------------------------------------------------------------------------------


def because(subject: Subject) -> str:
    """Why this version is read, or none is, in a sentence."""
    item, version = subject.item, subject.version
    name = escaped(subject.session.node)
    if version is None:
        return why_missing(item, subject.resolution, subject.now_ms)
    if all(version.id != one.id for one in item.versions):
        return "what lives fails a schema, and this is the last value that readers had before"
    if (strict := subject.session.strict_over(item.key)) is not None:
        return f"the epoch of {escaped(strict)} that {name} serves has it; see: gossipconf stage status"
    verdicts = [one.verdict for one in subject.resolution.candidates]
    siblings = sum(one.slot == version.slot for one in item.versions) - 1
    last = f"; of {siblings + 1} siblings it was signed last" if siblings else ""
    if version.entry.variant:
        others = verdicts.count(Verdict.OUTRANKED)
        among = f", and of {others + 1} that are it has the highest rank" if others else ""
        return f"this variant is for {name}{among}{last}"
    if any(one.entry.variant for one in item.versions):
        if Verdict.HALTED in verdicts:
            return f"it is the value for all: votes hold a variant off, and no other is for {name} now{last}"
        return f"it is the value for all, and no variant is for {name} now{last}"
    return f"it is the only value{last}" if not last else f"it is the value for all{last}"


def conditions(subject: Subject, version: Version) -> Iterator[tuple[MatchTerm, bool, str]]:
    """Each condition of a variant, whether it holds for the agent, and what the agent has there."""
    reader = subject.session.reader
    for term in version.entry.match:
        if term.kind in {MatchKind.HALT, MatchKind.PACE}:
            continue  # of the whole variant: nothing that a reader has or has not
        if isinstance(term.operand, int):
            here = f"{reader.node_id} stands at {percent_in_words(share_of(term.label, reader.node_id))}"
        elif term.label in reader.labels:
            here = f"its {term.label} is {reader.labels[term.label]}"
        else:
            here = f"it has no label {term.label}"
        yield term, holds(term, reader), here


def writers(subject: Subject) -> Sequence[Role]:
    """The roles that may put the key under the policy in force."""
    entry = put(subject.item.key, b"")
    return [role for role in subject.session.chain.head.roles if role.governs(entry)]


def judges(subject: Subject, version: Version) -> Sequence[Role]:
    """The roles of its writer that allow what ``version`` does, under the policy that it names."""
    policy = subject.session.chain[version.header.policy]
    key = version.header.writer.key
    return [role for role in policy.roles if key in role.keys and role.governs(version.entry)]


def schemas(subject: Subject) -> Iterator[tuple[str, str]]:
    """Each prefix with a schema that covers the key, and what it says of what is read."""
    known = subject.session.schemas()
    for prefix in known.covering(subject.item.key):
        yield prefix, _schema_verdict(SchemaSet({prefix: known.texts[prefix]}), subject.version)


def _schema_verdict(schema: SchemaSet, version: Version | None) -> str:
    if version is None or version.entry.value is None:
        return "there is no value to check"
    if is_sealed(version):
        return "a sealed value is not looked into"
    if not is_installed():
        return "not checked: this command lacks jsonschema; pip install 'gossipconf[cli]'"
    try:
        problem = schema.problem(version.entry.key, version.entry.type, version.entry.value)
    except (SchemaUnusable, ParserMissing) as error:
        return f"not checked: {error}"
    return "holds" if problem is None else f"does not hold: {problem}"


def _can_open(subject: Subject, version: Version) -> bool | None:
    """Whether the agent can open a sealed value; None if it does not say."""
    try:
        subject.session.content_key(version)
    except NotRecipient:
        return False
    except GossipconfError:
        return None
    return True


def _comes_next(subject: Subject) -> tuple[int, Version | None] | None:
    """When time alone changes what is read, and to what; None if it does not."""
    at_ms: int | None = subject.now_ms
    before = subject.version
    while at_ms is not None:
        at_ms = next_moment(subject.item.versions, at_ms, subject.session.reader)
        if at_ms is not None and (then := subject.session.read(subject.item, at_ms).version) != before:
            return at_ms, then
    return None


# -- for people -----------------------------------------------------------------------------------


def _print(subject: Subject) -> None:
    version = subject.version
    what = Text("no value", style="yellow") if version is None else version_in_line(version)
    what.stylize("bold")
    say(Text.assemble((escaped(subject.item.key), "bold"), (f" at {escaped(subject.session.node)}", "dim")))
    _line("reads", what)
    _line("because", because(subject))
    for position, candidate in enumerate(subject.resolution.candidates):
        _line("candidates" if position == 0 else "", _candidate_in_words(subject, candidate))
        for words, style in _details(subject, candidate):
            _line("", Text(f"  {words}", style=style))
    _print_slot(subject)
    if version is not None:
        _print_signed(subject, version)
    who = [
        f"role {escaped(role.name)}, {role.approvals} of {count(len(role.keys), 'key')}" for role in writers(subject)
    ]
    newest = subject.session.chain.head.version
    _line("writers", f"by policy {newest}, the newest: {'; '.join(who) or 'nobody'}")
    for prefix, said in schemas(subject):
        _line("schema", f"of {escaped(prefix) or 'all keys'}: {escaped(said)}")
    following = _comes_next(subject)
    if following is not None:
        at_ms, then = following
        reads = Text("no value") if then is None else version_in_line(then)
        _line("next", Text.assemble(f"{moment_ahead(at_ms, subject.now_ms)}: reads ", reads))
    for position, said in enumerate(cautions(subject.session.node, subject.session.status())):
        _line("freshness" if position == 0 else "", said)


def _candidate_in_words(subject: Subject, candidate: Candidate) -> Text:
    version = candidate.version
    style = VERDICT_STYLES.get(candidate.verdict, "yellow")
    name = f"  variant {escaped(version.entry.variant)}" if version.entry.variant else ""
    said = outcome_in_words(candidate, subject.now_ms)
    value = Text() if candidate.verdict is Verdict.DELETED else Text("  ").append(version_in_line(version))
    return Text.assemble((said, style), value, (name, "cyan"))


def _details(subject: Subject, candidate: Candidate) -> Iterator[tuple[str, str]]:
    version = candidate.version
    if version.entry.variant and version.entry.value is not None:
        yield f"for {escaped(whom_in_words(version))}", "dim"
    all_hold = True
    for term, is_so, here in conditions(subject, version):
        all_hold &= is_so
        said = "holds" if is_so else "does not hold"
        yield f"{escaped(match_in_words([term]))} {said}: {escaped(here)}", "" if is_so else "yellow"
    if candidate.verdict is Verdict.NO_MATCH and all_hold:
        yield f"its share grows, and has not come to {escaped(subject.session.node)} yet", "yellow"
    votes = subject.item.votes.get(version.change_id)
    if votes is not None:
        yield votes_in_words(votes), "red"
    unfit = subject.item.unfit.get(version.id)
    if unfit is not None:
        yield escaped(unfit.problem), "red"


def _print_slot(subject: Subject) -> None:
    slots: dict[str, list[Version]] = {}
    for version in subject.item.versions:
        slots.setdefault(version.entry.variant, []).append(version)
    for variant, versions in slots.items():
        if len(versions) > 1:
            where = f" of variant {escaped(variant)}" if variant else ""
            changes = ", ".join(short(one.change_id) for one in versions)
            _line("conflict", f"{len(versions)} siblings{where}, in changes {changes}; the last signed wins everywhere")


def _print_signed(subject: Subject, version: Version) -> None:
    header = version.header
    role, fingerprint = subject.session.signer_of(version)
    _line("signed", f"by {escaped(role)} {fingerprint}, {moment_and_age(header.time_ms, subject.now_ms)}")
    _line("change", f"{version.change_id.hex()}" + (f", {escaped(header.comment)}" if header.comment else ""))
    roles = [f"role {escaped(one.name)} {rights_in_words(one)}" for one in judges(subject, version)]
    _line("judged", f"by policy {header.policy}: {'; '.join(roles) or 'by the roots'}; all signatures are valid")
    if is_sealed(version):
        opens = {True: "can open it", False: "is none of them", None: "does not say whether it can open it"}
        to = count(len(recipients_of(version)), "recipient")
        _line("sealed", f"to {to}; {escaped(subject.session.node)} {opens[_can_open(subject, version)]}")


def _line(label: str, text: str | Text) -> None:
    print_labelled(label, text, LABEL_CHARACTERS)


# -- JSON -----------------------------------------------------------------------------------------


def _in_json(subject: Subject) -> dict[str, Any]:
    session, version = subject.session, subject.version
    following = _comes_next(subject)
    status = session.status()
    return {
        "key": subject.item.key,
        "agent": session.node,
        "reads": None if version is None else json_version(session, version),
        "because": because(subject),
        "candidates": [_json_candidate(subject, one) for one in subject.resolution.candidates],
        "judged_by": None if version is None else _json_roles(version.header.policy, judges(subject, version)),
        "writers": _json_roles(session.chain.head.version, writers(subject)),
        "sealed": None if version is None or not is_sealed(version) else _json_sealed(subject, version),
        "schemas": [{"prefix": prefix, "says": said} for prefix, said in schemas(subject)],
        "next": None if following is None else _json_next(session, *following),
        "view": json_view(status.view),
        "cautions": cautions(session.node, status),
    }


def _json_candidate(subject: Subject, candidate: Candidate) -> dict[str, Any]:
    version = candidate.version
    unfit = subject.item.unfit.get(version.id)
    return (
        json_version(subject.session, version)
        | json_outcome(candidate, subject.item.votes)
        | {
            "conditions": [
                {"condition": match_in_words([term]), "holds": is_so, "here": here}
                for term, is_so, here in conditions(subject, version)
            ],
            "problem": None if unfit is None else unfit.problem,
        }
    )


def _json_roles(policy: int, roles: Sequence[Role]) -> dict[str, Any]:
    known = [{"role": role.name, "approvals": role.approvals, "keys": len(role.keys)} for role in roles]
    return {"policy": policy, "roles": known}


def _json_sealed(subject: Subject, version: Version) -> Mapping[str, Any]:
    ids = [one.hex() for one in recipients_of(version)]
    return {"recipients": ids, "can_open": _can_open(subject, version)}


def _json_next(session: Session, at_ms: int, then: Version | None) -> Mapping[str, Any]:
    return {"time": json_time(at_ms), "reads": None if then is None else json_version(session, then)}
