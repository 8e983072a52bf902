"""Commands for sealed values: `seal key` and `seal rotate`.

`put --seal-to` seals, `get` opens. Values are opened and sealed again in this
process only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...model.clock import EMPTY
from ...model.entry import Entry, Slot
from ...model.errors import InvalidInput, SealError
from ...model.key import check_prefix, is_system_key
from ...model.version import Version
from ...trust.recipient import RecipientKey, recipient_id
from ...trust.sealed import Place
from ..exits import NotFound
from ..opener import Opener, OpenWithOption, is_sealed, recipients_of
from ..output import acknowledged, before_after, count, note, print_step, say, slot_in_words, value_in_line
from ..session import Session, open_session
from .publishing import Publishing, publishing
from .recipients import CaOption, SealToOption, recipients_named, sealed_value

app = typer.Typer(help="Values that only some may read.", no_args_is_help=True)


@app.command("key")
def make_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The new private key; FILE.pub is made beside it.")],
) -> None:
    """Make a key to which values can be sealed.

    For people and programs. A node needs none: `pki node` and `pki redeem` make one, which its certificate names.

    \b
    Example:
      gossipconf seal key ~/.config/gossipconf/seal.key
    """
    key = RecipientKey.generate()
    key.save(path)
    say(f"made {path} (SECRET: opens what is sealed to it) and {path}.pub, recipient {key.id.hex()}")


@app.command()
@publishing
def rotate(
    prefix: Annotated[
        str, typer.Argument(metavar="KEY|PREFIX", help="A key, or a prefix: all sealed values under it.")
    ],
    seal_to: SealToOption = None,
    open_with: OpenWithOption = None,
    ca: CaOption = None,
    *,
    how: Publishing,
) -> None:
    """Seal values to other recipients, all in one change or none.

    Each is opened here, by a private key or by the agent, and sealed again to
    those named now, and to nobody else. What is sealed to just those is left as it is.

    Who could read the old values may have kept them, and agents' histories keep
    them sealed to him: where somebody is to be shut out, change the secrets too.

    \b
    Examples:
      gossipconf seal rotate shop/db/password --seal-to checkout-1 --seal-to checkout-2
      gossipconf seal rotate shop/db --seal-to nodes/ --seal-to me.pub --open-with me
    """
    if not seal_to:
        raise typer.BadParameter("name those who may read the values from now on", param_hint="'--seal-to'")
    prefix = check_prefix(prefix.removesuffix("/"))
    delivery = how.delivery()
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        recipients = recipients_named(seal_to, target, ca, session.chain)
        found = _sealed_under(session, prefix)
        wanted = tuple(sorted(map(recipient_id, recipients)))
        due = [one for one in found if recipients_of(one) != wanted]
        if not due:
            say(
                f"nothing to do: {count(len(found), 'value')} sealed to these {count(len(wanted), 'recipient')} already"
            )
            return
        resealed = _resealed(due, Opener(session, open_with), session.chain.cluster_id, recipients)
        change = delivery.send(session, resealed, signer, how.reason(), frozenset(one.id for one in due))
        with acknowledged():
            for version, entry in zip(due, resealed, strict=True):
                after = value_in_line(entry.type, entry.value or b"")
                print_step("~", slot_in_words(entry.slot), before_after(Text(_in_line(version)), after))
            if any(set(recipients_of(one)) - set(wanted) for one in due):
                note("note: who is no recipient any more may have kept the values; change the secrets themselves too")
            delivery.tell(session, change, len(due))


def _sealed_under(session: Session, prefix: str) -> Sequence[Version]:
    """The winners of all slots with a sealed value at or under `prefix`. Raises NotFound or InvalidInput."""
    found: dict[Slot, Version] = {}
    items = [item for item in session.items(prefix) if not is_system_key(item.key)]
    for item in items:
        for version in item.versions:  # of each slot the winner first
            if is_sealed(version) and item.is_conflict:
                raise InvalidInput(f"{item.key!r} is in conflict; settle it first: gossipconf get --all {item.key}")
            if is_sealed(version):
                found[version.slot] = version
    if not found:
        raise NotFound(f"no sealed value at or under {prefix!r}" if prefix else "no sealed value")
    return tuple(found.values())


def _resealed(
    versions: Sequence[Version], opener: Opener, cluster_id: bytes, recipients: Sequence[bytes]
) -> Sequence[Entry]:
    """Entries like those of `versions`, sealed to `recipients`. Raises the error of the first that does not open."""
    made, refused = [], []
    for version in versions:
        entry = version.entry
        try:
            content = opener.open(version)
        except SealError as error:
            refused.append(error)
            continue
        sealed = sealed_value(content, Place(cluster_id, entry.key, entry.variant), recipients)
        made.append(replace(entry, value=sealed, seen=EMPTY))
    if refused:
        others = f" (and {count(len(refused) - 1, 'more value')})" if len(refused) > 1 else ""
        raise type(refused[0])(f"nothing is published: {refused[0]}{others}")
    return made


def _in_line(version: Version) -> str:
    return value_in_line(version.entry.type, version.entry.value or b"")
