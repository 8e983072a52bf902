"""A trio service whose greeting and limit come from gossipconf, and change while it runs.

    python examples/trio_service.py NODE_DIRECTORY

It answers each line that a client sends, as often as the limit says. Stop it with Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from functools import partial

import trio

import gossipconf


@dataclass(frozen=True, slots=True)
class Greeting:
    """The keys under `shop/greeting`: they are published together and seen together."""

    text: str = "hello"
    per_client: int = 3


async def answer(greeting: gossipconf.Bound[Greeting], stream: trio.SocketStream) -> None:
    """Answer one client; what is published meanwhile holds from its next line on."""
    answered = 0
    try:
        while line := await stream.receive_some(1_000):
            current = greeting.value
            if answered >= current.per_client:
                await stream.send_all(b"that is enough\n")
                return
            await stream.send_all(current.text.encode() + b", " + line)
            answered += 1
    except trio.BrokenResourceError:
        pass  # the client has gone away


async def tell(greeting: gossipconf.Bound[Greeting]) -> None:
    """Say what is new."""
    async for current in greeting:
        print(f"now {current}", flush=True)


async def main(directory: str) -> None:
    """Serve until a signal."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with gossipconf.Agent.open(directory) as agent, trio.open_nursery() as nursery:
            greeting = agent.bind(Greeting, "shop/greeting")
            nursery.start_soon(tell, greeting)
            listeners = await nursery.start(partial(trio.serve_tcp, partial(answer, greeting), 0, host="127.0.0.1"))
            print(f"serving on {listeners[0].socket.getsockname()[1]}", flush=True)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()
    print("stopped", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
