"""The commands `promote` and `abort`: what becomes of a variant of one key or of all under a prefix.

Both are changes like any other: signed, atomic, in the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ...model import entry as entries
from ...model.entry import Entry
from ...model.errors import InvalidInput
from ...model.key import check_variant, is_system_key
from ...model.version import Version
from ...store.resolution import Verdict
from ...trust.keys import Signer
from ..exits import NotFound
from ..expectation import IfVersionOption
from ..instant import now_ms
from ..item import Item
from ..opener import is_sealed
from ..output import note, slot_in_words
from ..prefix import prefix_of
from ..see.activation import removals
from ..session import Session, open_session
from .delivery import Delivery
from .publishing import Publishing, publishing
from .steps import YesOption, publish_shown

PrefixArgument = Annotated[
    str, typer.Argument(metavar="KEY|PREFIX", help="A key, or a prefix: all keys under it that have the variant.")
]
NameOption = Annotated[str, typer.Option("--variant", metavar="NAME", help="Which variant.")]


@publishing
def promote(
    prefix: PrefixArgument,
    variant: NameOption,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Make a variant's value everybody's, and remove the variant.

    All keys in one change; the plan is shown first. A value with an end has none
    as everybody's. Other variants stay.

    \b
    Examples:
      gossipconf promote shop/limit --variant canary
      gossipconf promote shop --variant canary --dry-run
    """
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        items = _having(session, prefix, variant)
        for item in items:
            _warn_of_unread(session, item, _variant_of(item, variant))
        changes = [entry for item in items for entry in _promoted(item, variant)]
        _publish(session, items, changes, delivery, signer, how.reason(), yes=yes)


@publishing
def abort(
    prefix: PrefixArgument,
    variant: NameOption,
    yes: YesOption = False,
    if_version: IfVersionOption = None,
    *,
    how: Publishing,
) -> None:
    """Remove a variant: those who read it fall back to what is left.

    All keys in one change; the plan is shown first. So a canary ends, an override
    (--variant override), and what waits for its time (--variant at-…).

    \b
    Examples:
      gossipconf abort shop/limit --variant canary --ticket OPS-19 --comment "errors doubled"
      gossipconf abort shop --variant override --yes
    """
    delivery = how.delivery(if_version)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        items = _having(session, prefix, variant)
        changes = [entries.delete(item.key, variant=variant) for item in items]
        _publish(session, items, changes, delivery, signer, how.reason(), yes=yes)


def _having(session: Session, prefix: str, variant: str) -> Sequence[Item]:
    """The keys at or under `prefix` that have the variant. Raises NotFound or InvalidInput."""
    if not check_variant(variant):
        raise InvalidInput("name a variant; the default is not one that can be promoted or aborted")
    covered = session.items(prefix_of(prefix))
    items = [item for item in covered if item.holds(variant) is not None and not is_system_key(item.key)]
    if not items:
        raise NotFound(
            f"no key at or under {prefix!r} has a variant {variant!r}; see: gossipconf list --variants {prefix}"
        )
    return items


def _variant_of(item: Item, variant: str) -> Version:
    version = item.holds(variant)
    assert version is not None, "only keys that have it are asked for"
    return version


def _warn_of_unread(session: Session, item: Item, version: Version) -> None:
    verdict = session.read(item).verdict_of(version)
    if verdict in {Verdict.EXPIRED, Verdict.HALTED}:
        note(f"note: {slot_in_words(version.slot)} is {verdict.value}: nobody reads it, and all would")


def _check_open(version: Version) -> None:
    if is_sealed(version):
        raise InvalidInput(
            f"{slot_in_words(version.slot)} is sealed for this variant, and opens nowhere else; publish the secret for "
            "everybody with: gossipconf put --seal-to, and then abort the variant"
        )


def _promoted(item: Item, variant: str) -> Sequence[Entry]:
    """What makes a variant of one key the default; what was activated before would be read before that."""
    version = _variant_of(item, variant)
    _check_open(version)
    gone = {variant, *(entry.variant for entry in removals(item, now_ms()))}
    return [
        entries.put(item.key, version.entry.value or b"", version.entry.type),
        *(entries.delete(item.key, variant=name) for name in sorted(gone)),
    ]


def _publish(
    session: Session,
    items: Sequence[Item],
    changes: Sequence[Entry],
    delivery: Delivery,
    signer: Signer,
    comment: str,
    *,
    yes: bool,
) -> None:
    """Show the plan, ask, and publish that and nothing else."""
    publish_shown(session, delivery, signer, changes, {item.key: item for item in items}, comment, yes=yes)
