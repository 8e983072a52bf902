"""The command `put`: publish one value.

The private key is used here, or by an ssh-agent, and never reaches an agent of ours. What is shown before a
publish is what happens, or the publish is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ...model.entry import ValueType
from ...model.errors import InvalidInput
from ...trust.sealed import Opened, Place
from ..expectation import IfVersionOption, check_versions
from ..files.value import check_own_key, check_secret, check_syntax, default_type, read_value, type_named
from ..instant import now_ms
from ..item import Item
from ..opener import is_sealed
from ..output import acknowledged, note, print_step, say, slot_in_words
from ..see.activation import ActivateAtOption, removals
from ..session import Session, open_session
from .placement import is_same, matching_in_words, print_put, replaced_by, tell_end, tell_others
from .publishing import Publishing, publishing
from .reach import (
    ForOption,
    HaltAfterOption,
    MatchOption,
    OverOption,
    PercentOption,
    RankOption,
    Reach,
    SaltOption,
    TtlOption,
    UntilOption,
    VariantOption,
    reach_of,
)
from .recipients import CaOption, SealToOption, recipients_named, sealed_value
from .steps import live_in


@publishing
def put(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key to write.")],
    value: Annotated[str, typer.Argument(metavar="VALUE|-|@FILE", help="The value, or - for stdin, or @ and a file.")],
    type_name: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="text, json, yaml, toml or bytes. Default: the type the key has, else the file's by its suffix, "
            "else text.",
        ),
    ] = None,
    seal_to: SealToOption = None,
    ca: CaOption = None,
    if_version: IfVersionOption = None,
    variant: VariantOption = None,
    match: MatchOption = None,
    percent: PercentOption = None,
    salt: SaltOption = None,
    over: OverOption = None,
    halt_after: HaltAfterOption = None,
    rank: RankOption = None,
    ttl: TtlOption = None,
    until: UntilOption = None,
    override: ForOption = None,
    activate_at: ActivateAtOption = None,
    force: Annotated[bool, typer.Option("--force", help="Publish even if the value is the same.")] = False,
    *,
    how: Publishing,
) -> None:
    """Publish one value, or propose it.

    JSON, YAML and TOML are checked before anything is signed. A value that begins
    with a dash follows `--`.

    With --seal-to only those named can read the value; all see its key and its
    size. Give a secret by stdin or file: a command's words are seen by others on
    the machine, and kept by the shell.

    With --variant it is for the agents that match, and the others go on reading
    what they read; `promote` makes it everybody's, `abort` takes it back. A variant
    that is there already keeps its conditions where none are given anew. With
    --halt-after agents vote it down together, and --over lets them join one by one,
    so that it is halted before many have it (see `report-unhealthy`). A value
    with --ttl or --until expires, and agents fall back to what is left; --for is an
    override that does so. With --activate-at agents change over by their own clocks.

    \b
    Examples:
      gossipconf put shop/checkout/timeout_ms 1200 --ticket OPS-17 --comment "slow bank"
      gossipconf put shop/checkout/timeout_ms 1300 --if-version 3f9a2c1b77
      gossipconf put shop/banner @banner.json
      gossipconf put shop/limit 20 --wait 95% --timeout 1m
      gossipconf put shop/offset -- -5
      gossipconf put shop/limit 50 --variant canary --match zone=eu-* --percent 5
      gossipconf put shop/limit 50 --variant canary --percent 5 --over 30m --halt-after 3
      gossipconf put shop/limit 10 --for 2h --ticket OPS-18 --comment "queue is full"
      gossipconf put shop/limit 30 --activate-at "2026-12-01 06:00"
      printf %s "$TEMPLATE" | gossipconf put shop/mail/template -
      gossipconf put shop/db/password @password --seal-to checkout-1 --seal-to me.pub
    """
    check_own_key(key)
    chosen = None if type_name is None else type_named(type_name)
    data = read_value(value)
    reach = reach_of(
        variant=variant,
        match=match,
        percent=percent,
        salt=salt,
        rank=rank,
        ttl=ttl,
        until=until,
        override=override,
        activate_at=activate_at,
        halt_after=halt_after,
        over=over,
    )
    delivery = how.delivery(if_version, reach.activation_ms)
    target = how.target()
    with open_session(target) as session:
        signer = how.signer(target)
        item = session.get(key)
        content = Opened(_type_of(key, value, chosen, item, reach, is_sealing=bool(seal_to)), data)
        if seal_to:
            content = _sealed(session, content, item, reach, recipients_named(seal_to, target, ca, session.chain))
        else:
            check_syntax(key, content.type, content.value, is_told=chosen is not None)
        wanted = reach.entry(item, content.value, content.type)
        check_versions((wanted.slot,), item.versions, delivery.if_version)
        before = replaced_by(wanted, item, now_ms())
        is_halted = before is not None and before.change_id in item.halted
        is_settled = len(live_in({key: item}, wanted)) < 2 and not is_halted
        if not force and is_settled and before is not None and is_same(before.entry, wanted):
            say(f"{slot_in_words(wanted.slot)} has this value already; nothing to publish")
            return
        removed = () if wanted.variant else removals(item, now_ms())
        matching = matching_in_words(session, wanted)
        change = delivery.send(session, [wanted, *removed], signer, how.reason())
        with acknowledged():
            print_put(wanted, before, reach.activation_ms)
            for entry in removed:
                print_step("-", slot_in_words(entry.slot), "(its time had come; what is published now takes its place)")
            if seal_to and any(not is_sealed(one) and one.entry.value is not None for one in item.versions):
                note(
                    "note: the value until now was not sealed, and histories keep it readable; change the secret itself"
                )
            if matching:
                note(f"note: {matching}")
            tell_end(wanted, before)
            tell_others(session, item, wanted, now_ms())
            delivery.tell(session, change, 1)


def _type_of(
    key: str, argument: str, chosen: ValueType | None, item: Item, reach: Reach, *, is_sealing: bool
) -> ValueType:
    """The type of what is put, sealed or not. Raises InvalidInput where a secret would be put in the clear."""
    found = default_type(argument, item, reach.variant, is_sealing=is_sealing) if chosen is None else chosen
    if found is ValueType.SEALED:
        raise InvalidInput(
            f"{key!r} is a sealed value; seal the new one with --seal-to, or name its type with --type "
            "to let everybody read it"
        )
    return found


def _sealed(session: Session, content: Opened, item: Item, reach: Reach, recipients: Sequence[bytes]) -> Opened:
    """The envelope for ``recipients``; what is in it is checked first, in words that say nothing of it."""
    check_secret(item.key, content.type, content.value)
    session.check_secret(reach.entry(item, content.value, content.type))
    place = Place(session.chain.cluster_id, item.key, reach.variant)
    return Opened(ValueType.SEALED, sealed_value(content, place, recipients))
