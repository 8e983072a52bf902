"""An agent as a process of its own: signals, and a trio loop around it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from .agent import Agent, Service
from .error_group import one_error
from .settings import AgentSettings


def run(
    settings: AgentSettings,
    ready: Callable[[Agent], None] = lambda agent: None,
    services: Sequence[Callable[[Agent], Service]] = (),
) -> None:
    """Run an agent until SIGTERM or SIGINT, in a trio loop of its own. Calls ``ready`` once it serves.

    SIGHUP has it read its certificate again. ``services``: see `Agent`.
    Raises GossipconfError for what is wrong at the start.
    """

    async def main() -> None:
        agent = Agent(settings, services=services)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals, one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_obey_signals, signals, agent, nursery.cancel_scope)
                await nursery.start(_run_and_cancel, agent, nursery.cancel_scope)
                ready(agent)

    trio.run(main)


async def _run_and_cancel(
    agent: Agent, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await agent.run(task_status=task_status)
    scope.cancel()


async def _obey_signals(signals: AsyncIterator[int], agent: Agent, scope: trio.CancelScope) -> None:
    """SIGHUP reads the certificate again. The first signal of another kind stops gracefully, the second at once."""
    count = 0
    async for number in signals:
        if number == signal.SIGHUP:
            await agent.reload()
            continue
        count += 1
        if count == 1:
            agent.stop()
        else:
            scope.cancel()
