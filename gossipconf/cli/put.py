"""The command `put`: publish one value.

The private key is used here, or by an ssh-agent, and never reaches an agent of ours. What is shown before a
publish is what happens, or the publish is refused.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..model import entry as entries
from ..model.entry import ValueType
from ..model.errors import InvalidInput
from ..trust.sealed import Opened, Place
from .delivery import Delivery, DryRunOption, ProposeOption, ProposeToOption
from .expectation import IfVersionOption, check_versions
from .opener import is_sealed
from .output import acknowledged, before_after, note, print_step, say, value_in_line, version_in_line
from .passphrase import PassphraseFileOption
from .reason import CommentOption, TicketOption, reason
from .recipients import CaOption, SealToOption, recipients_named, sealed_value
from .session import open_session
from .target import AgentOption, ClusterOption, KeyOption, Target
from .value import check_own_key, check_secret, check_syntax, default_type, read_value, type_named
from .wait import TIMEOUT, TimeoutOption, Wait, WaitOption


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
    comment: CommentOption = "",
    ticket: TicketOption = None,
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = TIMEOUT,
    force: Annotated[bool, typer.Option("--force", help="Publish even if the value is the same.")] = False,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Publish one value, or propose it.

    JSON, YAML and TOML are checked before anything is signed. A value that begins
    with a dash follows `--`.

    With --seal-to only those named can read the value; all see its key and its
    size. Give a secret by stdin or file: a command's words are seen by others on
    the machine, and kept by the shell.

    \b
    Examples:
      gossipconf put shop/checkout/timeout_ms 1200 --ticket OPS-17 --comment "slow bank"
      gossipconf put shop/checkout/timeout_ms 1300 --if-version 3f9a2c1b77
      gossipconf put shop/banner @banner.json
      gossipconf put shop/limit 20 --wait 95% --timeout 1m
      gossipconf put shop/offset -- -5
      printf %s "$TEMPLATE" | gossipconf put shop/mail/template -
      gossipconf put shop/db/password @password --seal-to checkout-1 --seal-to me.pub
    """
    check_own_key(key)
    chosen = None if type_name is None else type_named(type_name)
    content = read_value(value)
    delivery = Delivery(dry_run, propose, propose_to, Wait.of(wait, timeout), if_version or ())
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        item = session.get(key)
        value_type = default_type(value, item, is_sealing=bool(seal_to)) if chosen is None else chosen
        if value_type is ValueType.SEALED:
            raise InvalidInput(
                f"{key!r} is a sealed value; seal the new one with --seal-to, or name its type with --type "
                "to let everybody read it"
            )
        if seal_to:
            check_secret(key, value_type, content)
            recipients = recipients_named(seal_to, target, ca, session.chain)
            content = sealed_value(Opened(value_type, content), Place(session.chain.cluster_id, key), recipients)
            value_type = ValueType.SEALED
        else:
            check_syntax(key, value_type, content, is_told=chosen is not None)
        wanted = entries.put(key, content, value_type)
        check_versions((wanted.slot,), item.versions, delivery.if_version)
        before = item.default
        if (
            not force
            and not item.is_conflict
            and before is not None
            and (before.entry.type, before.entry.value) == (value_type, content)
        ):
            say(f"{key} has this value already; nothing to publish")
            return
        change = delivery.send(session, [wanted], signer, reason(comment, ticket))
        with acknowledged():
            print_step(
                "+" if before is None else "~",
                key,
                before_after(None if before is None else version_in_line(before), value_in_line(value_type, content)),
            )
            if seal_to and any(not is_sealed(one) and one.entry.value is not None for one in item.versions):
                note(
                    "note: the value until now was not sealed, and histories keep it readable; change the secret itself"
                )
            delivery.tell(session, change, 1)
