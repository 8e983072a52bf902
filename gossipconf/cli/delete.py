"""The command `delete`: delete keys, all in one change."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from ..model import entry as entries
from .delivery import Delivery, DryRunOption, ProposeOption, ProposeToOption
from .exits import NotFound
from .expectation import IfVersionOption
from .output import acknowledged, print_step, version_in_line
from .passphrase import PassphraseFileOption
from .reason import CommentOption, TicketOption, reason
from .session import open_session
from .target import AgentOption, ClusterOption, KeyOption, Target
from .value import check_own_key
from .wait import TIMEOUT, TimeoutOption, Wait, WaitOption


def delete(
    keys: Annotated[list[str], typer.Argument(metavar="KEY", help="The keys to delete.")],
    if_version: IfVersionOption = None,
    comment: CommentOption = "",
    ticket: TicketOption = None,
    dry_run: DryRunOption = False,
    propose: ProposeOption = False,
    propose_to: ProposeToOption = None,
    wait: WaitOption = None,
    timeout: TimeoutOption = TIMEOUT,
    cluster: ClusterOption = None,
    agent: AgentOption = None,
    key_file: KeyOption = None,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete keys, all in one change or none, or propose it.

    The old values stay in the agents' history.

    \b
    Examples:
      gossipconf delete shop/banner
      gossipconf delete shop/a shop/b --comment "moved to shop/c"
    """
    for key in keys:
        check_own_key(key)
    keys = list(dict.fromkeys(keys))
    delivery = Delivery(dry_run, propose, propose_to, Wait.of(wait, timeout), if_version or ())
    target = Target.find(cluster, agent)
    with open_session(target) as session:
        signer = target.signer(key_file, passphrase_file)
        items = [session.get(key) for key in keys]
        missing = [item.key for item in items if item.default is None and not item.is_conflict]
        if missing:
            raise NotFound(f"nothing is deleted: no value at {', '.join(map(repr, missing))}")
        change = delivery.send(session, [entries.delete(key) for key in keys], signer, reason(comment, ticket))
        with acknowledged():
            for item in items:
                print_step("-", item.key, version_in_line(item.default) if item.default else Text())
            delivery.tell(session, change, len(items))
