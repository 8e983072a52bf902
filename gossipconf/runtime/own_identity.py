"""The identity that a running agent shows: its certificate watched, exchanged without a restart, and told of in time.

Files that have changed are taken over for new connections; open links stay as they are. What
is broken is refused with its reason, and what was there before stays in use.

Knows the credentials, two clocks and whom to tell. Knows no link; renewal is asked for by a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from ..model.errors import GossipconfError
from ..trust.statement import Notary, SignedStatement, Statement
from .credentials import Credentials, Lifetime, Version, load_credentials, version_of
from .node_files import NodeFiles

LOOK_S: Final = 30.0
"""How often the files' times are looked at: three calls of the operating system, for a change that may come once
in months."""
SETTLE_S: Final = 1.0
"""Keys and certificate are three files, which cannot be replaced at one moment: a change is read once it is so old."""
ENDING_EVERY_S: Final = 86_400.0
"""A certificate that ends is told of once a day."""
RENEWAL_PATIENCE_S: Final = 3_600.0
"""Where issuers renew certificates, people are told only if none has done so by then."""


@dataclass(frozen=True, slots=True)
class CertificateReloaded:
    """Another certificate is used from now on, until ``ends_ms``."""

    ends_ms: int


@dataclass(frozen=True, slots=True)
class CertificateRefused:
    """The files have changed and are not taken; those before are kept in use."""

    reason: str


@dataclass(frozen=True, slots=True)
class CertificateEnding:
    """Less than a third is left of the life of the certificate, or of one above it (``is_chain``)."""

    days_left: int
    is_chain: bool


@dataclass(frozen=True, slots=True)
class NodeRevoked:
    """The policy keeps this node itself out: its peers refuse it."""

    reason: str


IdentityEvent: TypeAlias = CertificateReloaded | CertificateRefused | CertificateEnding | NodeRevoked


class OwnIdentity:
    """The credentials in use. ``run`` watches them; ``reload`` reads them now.

    use:      takes over new credentials
    tell:     is told what happens
    renew:    is called at each look while the certificate is ending, with whether its renewal is due; True if the
              policy names somebody who would renew it
    wall_ms:  the wall clock
    """

    def __init__(
        self,
        files: NodeFiles,
        node_id: str,
        cluster_id: bytes,
        *,
        use: Callable[[Credentials], None],
        tell: Callable[[IdentityEvent], None],
        renew: Callable[[bool], bool] = lambda is_due: False,
        wall_ms: Callable[[], int],
    ) -> None:
        self._files = files
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._use = use
        self._tell = tell
        self._renew = renew
        self._wall_ms = wall_ms
        self._refused: tuple[Version, str] | None = None
        self._due_since_s: float | None = None
        self._told_s = {False: float("-inf"), True: float("-inf")}
        self._busy = trio.Lock()
        self.credentials = load_credentials(files, node_id, cluster_id)

    @property
    def notary(self) -> Notary:
        """Signs and verifies by the credentials that are in use at the time."""
        return Notary(self._sign, self._verify)

    def _sign(self, statement: Statement) -> SignedStatement:
        return self.credentials.notary.sign(statement)

    def _verify(self, signed: SignedStatement) -> tuple[bytes, ...]:
        return self.credentials.notary.verify(signed)

    async def run(self) -> None:
        """Look at the files and at the time, for ever."""
        while True:
            self._watch_end()
            await trio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Read the files if they have changed, once nobody writes them any more."""
        version = await trio.to_thread.run_sync(version_of, self._files)
        if version == self.credentials.version:
            return
        while True:
            await trio.sleep(SETTLE_S)
            latest = await trio.to_thread.run_sync(version_of, self._files)
            if latest == version:
                break
            version = latest
        await self.reload()

    async def reload(self) -> None:
        """Read the files now, changed or not, and use them if they are right."""
        async with self._busy:
            version = await trio.to_thread.run_sync(version_of, self._files)
            try:
                credentials = await trio.to_thread.run_sync(
                    load_credentials, self._files, self._node_id, self._cluster_id
                )
            except GossipconfError as error:
                if self._refused != (version, str(error)):  # it is tried again at each look, and told once
                    self._refused = version, str(error)
                    self._tell(CertificateRefused(str(error)))
                return
            self.credentials = credentials
            self._refused = self._due_since_s = None
            self._told_s = {False: float("-inf"), True: float("-inf")}
            self._use(credentials)
            self._tell(CertificateReloaded(credentials.lifetime.ends_ms))

    def _watch_end(self) -> None:
        """Have a certificate that is ending renewed, and tell of what is not."""
        now_s = trio.current_time()
        own, chain = self.credentials.lifetime, self.credentials.chain
        if self._is_ending(own):
            is_due = self._wall_ms() >= self.credentials.renewal_ms
            if is_due and self._due_since_s is None:
                self._due_since_s = now_s
            is_hoped_for = self._renew(is_due)
            if not is_hoped_for or self._is_late(now_s):
                self._tell_ending(own, is_chain=False)
        if self._is_ending(chain):
            self._tell_ending(chain, is_chain=True)

    def _is_late(self, now_s: float) -> bool:
        """Whether a renewal that is due has not come for too long."""
        return self._due_since_s is not None and now_s >= self._due_since_s + RENEWAL_PATIENCE_S

    def _is_ending(self, lifetime: Lifetime) -> bool:
        return self._wall_ms() >= lifetime.ending_ms

    def _tell_ending(self, lifetime: Lifetime, *, is_chain: bool) -> None:
        now_s = trio.current_time()
        if now_s >= self._told_s[is_chain] + ENDING_EVERY_S:
            self._told_s[is_chain] = now_s
            self._tell(CertificateEnding(lifetime.days_left(self._wall_ms()), is_chain))
