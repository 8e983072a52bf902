"""First epochs: what a root signs of them is remembered beside its key, as with policies.

Knows the rule and the file; whether something is a first epoch is told by its key.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...model.entry import Entry, Operation
from ...model.errors import InvalidInput
from ...trust.chain import PolicyChain
from ...trust.keys import Signer
from ...trust.pledge import pledge_epoch
from ...trust.strict import StageKey, is_first
from ..ssh_agent import choice_of
from ..target import ADMIN_KEY, Target, home


def remember(target: Target, chain: PolicyChain, entries: Iterable[Entry], signer: Signer, key: str | None) -> None:
    """Before a root signs a first epoch: promise to sign no other of that prefix.

    Raises Rejected if another has been signed, InvalidInput for a key in the ssh-agent, which has no file for this, and
    KeyFileError.
    """
    if signer.public not in chain.head.roots:
        return
    for entry in entries:
        named = StageKey.parse(entry.key)
        if named is None or not is_first(named, is_put=entry.operation is Operation.PUT):
            continue
        if key is not None and choice_of(key) is not None:
            raise InvalidInput(
                f"--key is {key}, and a root key cannot sign a first epoch in the ssh-agent: what it signs is "
                "remembered beside its file; name the file"
            )
        path = home(target.directory) / ADMIN_KEY if key is None else Path(key)
        pledge_epoch(path, chain.cluster_id, named.prefix, named.epoch_id)
