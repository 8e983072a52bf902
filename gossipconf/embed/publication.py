"""Publishing from a program: values composed, signed with the program's own signer, and handed to the agent.

What is replaced is verified before its version vector is signed, under the policy chain that
this process follows from its own cluster file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from ..model.entry import Entry, delete, put
from ..model.errors import InvalidInput
from ..model.key import is_system_key
from ..runtime.agent import Agent
from ..trust.keys import Signer
from ..trust.signing import compose
from .value import written


def entries_of(agent: Agent, values: Mapping[str, object], entries: Sequence[Entry]) -> list[Entry]:
    """``values`` as puts to the default variants, None as a delete, and ``entries`` as they are.

    Raises InvalidInput or LimitExceeded that names the key.
    """
    found = [*entries]
    for key, value in values.items():
        if is_system_key(key):
            raise InvalidInput(f"key {key!r}: keys that begin with _ are the system's; choose another name")
        if value is None:
            found.append(delete(key))
            continue
        live = agent.node.replica.live.slot((key, ""))
        before = live[0].entry.type if live and live[0].entry.value is not None else None
        content = written(key, value, before)
        found.append(put(key, content.data, content.type))
    return found


async def publish(agent: Agent, entries: Sequence[Entry], signer: Signer, comment: str) -> bytes:
    """Sign one change of ``entries`` over what is live now, and publish it; its id, once it is on disk.

    Raises InvalidInput, LimitExceeded, InvalidValue or SchemaUnusable for what is no value, NotAuthorised if the
    policy does not let ``signer``, JournalWriteFailed, ControlError once the agent stops.
    """
    await agent.inspector.check(entries)
    slots = [entry.slot for entry in entries]
    replica = agent.node.replica
    while replica.is_publishing(slots):
        await agent.writer.flushed()  # what another task is publishing there now is to be replaced
        await trio.lowlevel.checkpoint()
    # From here to the hand-over nothing else runs on this thread, so that no number and no version is overtaken.
    change = compose(
        entries,
        replica.live.parts_in(slots),
        chain=replica.chain,
        signer=signer,
        reservation=agent.reserve(signer.public, slots),
        now_ms=agent.now().wall_ms,
        comment=comment,
    )
    await agent.publish(change, is_compared=True, is_checked=True)
    return change.id
