"""Staging: the roots make a prefix strict, and an admin stages one epoch of it after the other.

What the admin knows is what some host knows at that moment: he prepares what follows the last epoch
that is committed there, or asks for the end of a stage that is open there. So rivals arise where hosts
are apart, as with admins of flesh and blood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from gossipconf.model.change import INCARNATION_BYTES
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.errors import GossipconfError
from gossipconf.protocol.certificate import Outcome
from gossipconf.protocol.epoch import Stage as Proposed
from gossipconf.protocol.epoch import make_stage
from gossipconf.protocol.stages import Progress
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.keys import Signer
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Policy
from gossipconf.trust.signing import Reservation
from gossipconf.trust.strict import STRICT_PARAMETER

from ..options import option
from ..world.host import Host
from ..world.stage import Stage
from .admins import ADMIN, ROOT

PREFIX: Final = "together"
LEARNING_S: Final = 1.0
"""After which the first epoch is prepared: by then most hosts know that the prefix is strict."""


@dataclass(frozen=True, slots=True)
class Staging:
    """Values of one prefix change in epochs, for all members at the same moment."""

    KIND: ClassVar = "staging"
    at_s: float = option(0.5, "when it begins, in s after the first publish", least=0)
    stages: int = option(5, "how often the admin prepares an epoch, or ends one that is open", least=1, most=10_000)
    every_s: float = option(5.0, "time between two such acts, in s", least=0.001)
    rivals: float = option(0.0, "share of the stages that get a rival at another host at once", least=0, most=1)
    members: float = option(1.0, "share of the hosts that are members, drawn anew for each epoch", least=0, most=1)
    remove: int = option(
        0, "members that vanish for good, one after the other, and are revoked an act later", least=0, most=100
    )

    def plan(self, stage: Stage) -> None:
        """Make the prefix strict, and stage."""
        stage.at(self.at_s, self._make_strict, stage)
        begin_s = self.at_s + LEARNING_S
        for number in range(self.stages):
            stage.at(begin_s + number * self.every_s, self._act, stage)
        for number in range(self.remove):
            stage.at(begin_s + (2 * number + 1.5) * self.every_s, self._lose, stage)
        stage.mark("staging", self.at_s, begin_s + self.stages * self.every_s)

    # -- the roots ----------------------------------------------------------------------------------

    def _make_strict(self, stage: Stage) -> None:
        def alter(head: Policy) -> Policy:
            roles = tuple(replace(role, operations=("put", "delete", "stage")) for role in head.roles)
            return replace(head, roles=roles, parameters=(*head.parameters, (f"{STRICT_PARAMETER}{PREFIX}", 1)))

        self._sign(stage, alter)

    def _lose(self, stage: Stage) -> None:
        """A member's machine is gone, none that is a seed; an act later the roots revoke it.

        Who knows only a seed that is gone finds nobody, and nobody can be blamed for it.
        """
        seeds = {seed for host in stage.world.hosts.values() for seed in host.seeds}
        hosts = [host for host in stage.world.honest() if host.address not in seeds]
        if hosts and len(stage.world.honest()) > 2:
            lost = stage.rng.choice(hosts)
            stage.world.crash(lost.name, silent=True)
            lost.boot += 1  # nothing that is planned starts it again
            stage.world.schedule.later(self.every_s, self._revoke, stage, lost.name)

    def _revoke(self, stage: Stage, name: str) -> None:
        def alter(head: Policy) -> Policy:
            membership = Membership.of(head)
            nodes = tuple(sorted({*membership.nodes, name}))
            return replace(head, roles=with_membership(head.roles, replace(membership, nodes=nodes)))

        self._sign(stage, alter)

    def _sign(self, stage: Stage, alter: Callable[[Policy], Policy]) -> None:
        """Publish the next policy at some host. The roots know what they have signed, and sign what follows that."""
        hosts = stage.world.honest()
        if not hosts:
            return
        host = stage.rng.choice(hosts)
        for one in stage.policies:
            stage.world.inject(host.name, one)
        chain = host.running.replica.chain
        change = sign_policy(
            chain,
            replace(alter(chain.head), version=chain.head.version + 1, floors=(), settles=()),
            [ROOT],
            now_ms=stage.world.clock_ms(),
            reservation=Reservation(stage.rng.randbytes(INCARNATION_BYTES), 1),
        )
        stage.policies.append(change)
        stage.world.submit(host.name, change)

    # -- the admin ----------------------------------------------------------------------------------

    def _act(self, stage: Stage) -> None:
        """At some host: end what is open there, or prepare the next epoch, and perhaps a rival elsewhere."""
        hosts = stage.world.honest()
        if not hosts:
            return
        host = stage.rng.choice(hosts)
        found = host.running.stages.progress(PREFIX)
        number = max((one.stage.epoch.number for one in found if one.outcome is Outcome.COMMITTED), default=0)
        open_here = [one for one in found if one.outcome is Outcome.OPEN and one.stage.epoch.number > number]
        if open_here:
            for one in open_here:
                if not one.asked_to_end:
                    key = replace(one.stage.key, is_abort=True)
                    self._publish(stage, host, ADMIN, put(str(key), one.stage.bare().encode(), ValueType.BYTES))
            return
        before = _last(found)
        self._prepare(stage, host, before)
        if before is not None and stage.rng.random() < self.rivals:
            self._prepare(stage, stage.rng.choice(hosts), before)

    def _prepare(self, stage: Stage, host: Host, before: Proposed | None) -> None:
        stages = host.running.stages
        if PREFIX not in stages.strict:
            return
        everybody = [one.name for one in stage.some(1.0) if one.name not in stages.shut_out]
        count = max(1, round(self.members * len(everybody)))
        contents = [(f"{PREFIX}/value", ValueType.BYTES, stage.rng.randbytes(16))]
        try:
            proposed = make_stage(
                PREFIX,
                None if before is None else before.epoch,
                stage.rng.sample(everybody, count),
                stages.shut_out,
                contents,
                policy=host.running.replica.policy_version,
                waits=False,
            )
        except GossipconfError:
            return  # all members are revoked, for instance: no admin can go on there
        if before is None and not self._may_begin(stage, host):
            return
        signer = ROOT if before is None else ADMIN
        if before is None:
            stage.first_epochs.append(proposed.id)
        self._publish(stage, host, signer, put(str(proposed.key), proposed.encode(), ValueType.BYTES))

    def _may_begin(self, stage: Stage, host: Host) -> bool:
        """Whether the roots sign a first epoch: only if every one that they have signed is known to be aborted."""
        known = {one.stage.id: one.outcome for one in host.running.stages.progress(PREFIX)}
        return all(known.get(one) is Outcome.ABORTED for one in stage.first_epochs)

    def _publish(self, stage: Stage, host: Host, signer: Signer, entry: Entry) -> None:
        stage.world.publish(host.name, signer, [entry])


def _last(found: list[Progress]) -> Proposed | None:
    """The last epoch that is known to be committed."""
    committed = [one.stage for one in found if one.outcome is Outcome.COMMITTED]
    return max(committed, key=lambda one: one.epoch.number, default=None)
