"""Prints one digest of all that happens in a small world: run in processes of their own by `test_node`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from gossipconf.protocol.environment import Output
from gossipconf_sim.world.world import Host
from tests.protocol.wire import Tapped


class Traced(Tapped):
    """A world that digests every output of every node, with its time."""

    def __init__(self, *names: str, seed: int) -> None:
        self.digest = sha256()
        super().__init__(*names, seed=seed)
        for kind, carry in self._carry.items():
            self._carry[kind] = partial(self._traced, carry)

    def _traced(self, carry: Callable[[Host, Output], None], host: Host, output: Output) -> None:
        self.digest.update(f"{self.now_s!r} {host.name} {output!r}\n".encode())
        carry(host, output)


def trace(seed: int) -> str:
    """Twelve nodes that publish, part, crash and come back."""
    names = [f"n{number:02d}" for number in range(12)]
    world = Traced(*names, seed=seed)
    world.run(3.0)
    for number, name in enumerate(names):
        world.publish_value(name, f"k{number % 4}", str(number))
        world.run(0.05)
    world.partition(names[:6], names[6:])
    world.crash("n03")
    world.publish_value("n01", "k1", "left")
    world.publish_value("n08", "k1", "right")
    world.hosts["n05"].disk.full = True
    world.run(5.0)
    world.hosts["n05"].disk.full = False
    world.heal()
    world.start("n03", empty_disk=True)
    world.run(20.0)
    assert world.converged()
    assert world.digest.digest() != sha256().digest()
    return f"{world.digest.hexdigest()} {world.events_run}"


if __name__ == "__main__":
    print(trace(int(sys.argv[1])))
