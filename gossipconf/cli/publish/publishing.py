"""Publishing: the options that all commands have which publish a change, said once.

typer reads what a command takes from its signature, and has no groups of options. A command that
`publishing` decorates has one parameter ``how``; on the command line the fields of `Publishing`
stand in its place, after the command's own options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from ...trust.keys import Signer
from ..passphrase import PassphraseFileOption
from ..reason import CommentOption, TicketOption, reason
from ..see.wait import TIMEOUT, TimeoutOption, Wait, WaitOption
from ..target import AgentOption, ClusterOption, KeyOption, Target
from .delivery import Delivery, DryRunOption, ProposeOption, ProposeToOption
from .result import JsonResultOption, as_json


@dataclass(frozen=True, slots=True)
class Publishing:
    """What they say: why, whether at all, to whom, through which agent and with which key."""

    comment: CommentOption = ""
    ticket: TicketOption = None
    dry_run: DryRunOption = False
    propose: ProposeOption = False
    propose_to: ProposeToOption = None
    wait: WaitOption = None
    timeout: TimeoutOption = TIMEOUT
    as_json: JsonResultOption = False
    cluster: ClusterOption = None
    agent: AgentOption = None
    key_file: KeyOption = None
    passphrase_file: PassphraseFileOption = None

    def delivery(self, if_version: Sequence[str] | None = None, activation_ms: int | None = None) -> Delivery:
        """Where the change goes. Raises BadParameter or InvalidInput for what does not fit together."""
        wait = Wait.of(self.wait, self.timeout)
        return Delivery(self.dry_run, self.propose, self.propose_to, wait, if_version or (), activation_ms)

    def reason(self, otherwise: str = "") -> str:
        """The text to sign; ``otherwise``: where no comment is given. Raises InvalidInput for a ticket that is none."""
        return reason(self.comment or otherwise, self.ticket)

    def target(self) -> Target:
        """Cluster and agent. Raises as `Target.find`."""
        return Target.find(self.cluster, self.agent)

    def signer(self, target: Target) -> Signer:
        """The key to sign with. Raises as `Target.signer`."""
        return target.signer(self.key_file, self.passphrase_file)


def publishing(command: Callable[..., None]) -> Callable[..., None]:
    """The command for typer: with the options of `Publishing` in the place of its parameter ``how``."""
    hints = get_type_hints(command, include_extras=True)
    shared = get_type_hints(Publishing, include_extras=True)
    parameters = [
        one.replace(annotation=hints[name])
        for name, one in inspect.signature(command).parameters.items()
        if name != "how"
    ]
    parameters += [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=shared[one.name])
        for one in fields(Publishing)
    ]

    @functools.wraps(command)
    def run(**options: Any) -> None:
        how = Publishing(**{one.name: options.pop(one.name) for one in fields(Publishing)})
        with as_json() if how.as_json else nullcontext():
            command(**options, how=how)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
