"""Theft: a thief signs with an admin's key, whatever he likes, until the roots void what they have not seen.

The admin goes on with his key: what the roots void is told by the policy that a change names
and by what they had met, not by who holds the key. So what the admin publishes meanwhile
where the roots' policy has not come yet is void as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

from gossipconf.model.change import INCARNATION_BYTES, Writer
from gossipconf.model.clock import EMPTY, Clock, join
from gossipconf.model.entry import put
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.floor import Floor, keeping
from gossipconf.trust.policy import is_policy_key
from gossipconf.trust.signing import Reservation

from ..options import option
from ..world.host import Host
from ..world.stage import Stage
from .admins import ADMIN, ROOT, signed_by_admin

FAR_MS: Final = 365 * 86_400_000
"""How far ahead the thief dates some changes: so far that they win wherever they compete."""


@dataclass(frozen=True, slots=True)
class Theft:
    """A thief signs with an admin's key, and the roots void what they have not seen at some host.

    New changes, others under old numbers, some dated far ahead; before the roots act and after.
    """

    KIND: ClassVar = "theft"
    at_s: float = option(1.0, "when it begins, in s after the first publish", least=0)
    changes: int = option(5, "changes that the thief signs before the roots act, and as many after", least=1, most=1000)
    for_s: float = option(10.0, "how long until the roots act, and how long the thief goes on then, in s", least=0.001)

    def plan(self, stage: Stage) -> None:
        """Steal, void, go on stealing."""
        for number in range(2 * self.changes):
            stage.at(self.at_s + self.for_s * (number + 0.5) / self.changes, self._sign, stage, number)
        stage.at(self.at_s + self.for_s, self._void, stage)
        stage.mark("theft", self.at_s, self.at_s + 2 * self.for_s)

    def _sign(self, stage: Stage, number: int) -> None:
        """One change of the thief's, given to one host; under a number of the admin's if there is any."""
        rng, world = stage.rng, stage.world
        hosts = world.honest()
        if not hosts:
            return
        host = rng.choice(hosts)
        writer, seq = Writer(ADMIN.public, rng.randbytes(INCARNATION_BYTES)), 1
        if world.acknowledged and rng.random() < 0.5:
            _, _, theirs = rng.choice(world.acknowledged)
            writer, seq = theirs.header.writer, theirs.header.seq
        slots = sorted(slot for slot in host.running.replica.live.slots() if not is_policy_key(slot[0]))
        key = rng.choice(slots)[0] if slots and rng.random() < 0.7 else f"stolen/{number}"
        seen = EMPTY if rng.random() < 0.5 else _seen(host, key, writer, seq)
        entry = replace(put(key, b"stolen %d" % number), seen=seen)
        time_ms = world.clock_ms() + rng.choice((0, 0, FAR_MS))
        world.inject(host.name, signed_by_admin(world.cluster, entry, writer, seq, time_ms))

    def _void(self, stage: Stage) -> None:
        """The roots look at one host, keep what it has, and void all else under the policies so far."""
        hosts = stage.world.honest()
        if not hosts:
            return
        host = stage.rng.choice(hosts)
        for policy in stage.policies:  # the roots know what they have signed
            stage.world.inject(host.name, policy)
        replica = host.running.replica
        head = replica.chain.head
        kept = [
            version
            for versions in replica.live.slots().values()
            for version in versions
            if not is_policy_key(version.entry.key)
        ]
        floor = Floor(ADMIN.public, "", head.version, keeping(kept))
        change = sign_policy(
            replica.chain,
            replace(head, version=head.version + 1, floors=(floor,)),
            [ROOT],
            now_ms=stage.world.clock_ms(),
            reservation=Reservation(stage.rng.randbytes(INCARNATION_BYTES), 1),
        )
        stage.policies.append(change)
        stage.world.submit(host.name, change)


def _seen(host: Host, key: str, writer: Writer, seq: int) -> Clock:
    """What a change to ``key`` at this host replaces, as far as a valid one can say so."""
    clock = join(version.clock for version in host.running.replica.live.slot((key, "")))
    return tuple((name, place) for name, place in clock if name != writer.id or place < seq)
