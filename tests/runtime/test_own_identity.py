"""A running agent's certificate: exchanged without a restart, refused if it is broken, told of before it ends."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipconf.model.errors import ConfigError
from gossipconf.runtime import pki
from gossipconf.runtime.credentials import DAY_MS, Credentials, load_credentials, version_of
from gossipconf.runtime.event_log import EventLog
from gossipconf.runtime.node_files import NodeFiles
from gossipconf.runtime.own_identity import (
    ENDING_EVERY_S,
    LOOK_S,
    RENEWAL_PATIENCE_S,
    SETTLE_S,
    CertificateEnding,
    CertificateRefused,
    CertificateReloaded,
    IdentityEvent,
    OwnIdentity,
)
from gossipconf.runtime.pki import create_ca, issue_node
from gossipconf.runtime.ticket import create_ticket
from gossipconf.trust.recipient import load_recipient_key

from .cluster import HANG_S, Site, asking, fleet_of, publish

LOOKS_MAX = 50
"""Only ends a hang: a look takes place in a thread, whose end no clock tells."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


class Watched:
    """An identity, what it has told, and a wall clock that is set by hand."""

    def __init__(self, site: Site, *, renew: Callable[[bool], bool] = lambda is_due: False) -> None:
        self.files = site.certificate("a")
        self.told: list[IdentityEvent] = []
        self.used: list[Credentials] = []
        self.now_ms = int(datetime.now(UTC).timestamp() * 1000)
        self._news = trio.Event()
        self.identity = OwnIdentity(
            self.files,
            "a",
            site.cluster_id,
            use=self.used.append,
            tell=self._tell,
            renew=renew,
            wall_ms=lambda: self.now_ms,
        )

    def _tell(self, event: IdentityEvent) -> None:
        self.told.append(event)
        self._news.set()
        self._news = trio.Event()

    async def until_told(self, count: int) -> None:
        with trio.fail_after(HANG_S * 10_000):  # by the mock clock, which jumps by hours
            while len(self.told) < count:
                await self._news.wait()


def put(source: NodeFiles, target: NodeFiles) -> None:
    """Replace keys and certificate, the mode kept."""
    for one, other in (
        (source.key, target.key),
        (source.certificate, target.certificate),
        (source.seal_key, target.seal_key),
    ):
        shutil.copy2(one, other.with_suffix(".new"))
        os.replace(other.with_suffix(".new"), other)


def issued(site: Site, directory: str, node: str = "a", days: int = 365) -> NodeFiles:
    return issue_node(site.directory / "ca", node, site.directory / directory, days=days)


async def test_changed_files_are_found_and_used_once_they_rest(
    site: Site, mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    watched = Watched(site)
    nursery.start_soon(watched.identity.run)
    await trio.testing.wait_all_tasks_blocked()
    fresh = issued(site, "fresh", days=200)
    shutil.copy2(fresh.key, watched.files.key)  # half of the change
    mock_clock.jump(LOOK_S)
    await settled()
    assert watched.told == []
    put(fresh, watched.files)
    for _ in range(LOOKS_MAX):  # it has changed meanwhile, so it is waited for again
        mock_clock.jump(SETTLE_S)
        await settled()
        if watched.told:
            break
    assert watched.told == [CertificateReloaded(watched.identity.credentials.lifetime.ends_ms)]
    assert watched.used == [watched.identity.credentials]
    assert watched.identity.credentials.lifetime.days_left(watched.now_ms) == 199


async def test_the_key_that_opens_sealed_values_is_exchanged_too(site: Site) -> None:
    watched = Watched(site)
    fresh = issued(site, "fresh")
    before = version_of(watched.files)
    shutil.copy2(fresh.seal_key, watched.files.seal_key)
    assert version_of(watched.files) != before, "a look would find it"
    put(fresh, watched.files)
    await watched.identity.reload()
    key = watched.identity.credentials.recipient
    assert key is not None
    assert key.public == load_recipient_key(fresh.seal_key).public == watched.identity.credentials.identity.recipient
    watched.files.seal_key.unlink()
    await watched.identity.reload()
    assert watched.identity.credentials.recipient is None


async def settled() -> None:
    """Wait until a look has ended: its thread's work too."""
    for _ in range(3):
        await trio.to_thread.run_sync(lambda: None)
        await trio.testing.wait_all_tasks_blocked(0.02)


def spoil_other_node(site: Site, files: NodeFiles) -> None:
    put(issued(site, "other", "b"), files)


def spoil_key(site: Site, files: NodeFiles) -> None:
    shutil.copy2(issued(site, "other").key, files.key)


def spoil_seal_key(site: Site, files: NodeFiles) -> None:
    shutil.copy2(issued(site, "other").seal_key, files.seal_key)


def spoil_expired(site: Site, files: NodeFiles) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pki, "now", lambda: datetime.now(UTC) - timedelta(days=9))
        create_ca(site.directory / "old-ca", site.cluster_id)
        old = issue_node(site.directory / "old-ca", "a", site.directory / "old", days=1)
    files.ca.write_bytes(old.ca.read_bytes())
    put(old, files)


def spoil_garbage(site: Site, files: NodeFiles) -> None:
    files.certificate.write_bytes(b"nothing")


def spoil_mode(site: Site, files: NodeFiles) -> None:
    files.key.chmod(0o644)


def spoil_missing(site: Site, files: NodeFiles) -> None:
    files.certificate.unlink()


def spoil_ticket(site: Site, files: NodeFiles) -> None:
    """Only peers would find this one out."""
    ticket = create_ticket(site.directory / "ca", site.directory / "t", site.cluster, node="b", days=9)
    put(ticket.issuer.issue_node("a", site.directory / "by-ticket"), files)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_other_node, "option 'node' is 'a', but .* names 'b'"),
        (spoil_key, r"node\.key is not the key of"),
        (spoil_seal_key, r"seal\.key is not the key that .*node\.crt names"),
        (spoil_expired, r"node\.crt: expired on"),
        (spoil_garbage, "not a PEM certificate"),
        (spoil_mode, "others may read this private key"),
        (spoil_missing, "No such file"),
        (spoil_ticket, "peers would refuse it: .*permitted subtree violation"),
    ],
)
async def test_broken_files_are_refused_once_and_the_old_stay(site: Site, spoil, words: str) -> None:
    watched = Watched(site)
    before = watched.identity.credentials
    spoil(site, watched.files)
    await watched.identity.reload()
    await watched.identity.reload()
    (event,) = watched.told
    assert isinstance(event, CertificateRefused)
    assert re.search(words, event.reason)
    assert watched.identity.credentials is before
    assert watched.used == []


async def test_what_is_mended_is_used(site: Site) -> None:
    watched = Watched(site)
    whole = watched.files.certificate.read_bytes()
    spoil_garbage(site, watched.files)
    await watched.identity.reload()
    watched.files.certificate.write_bytes(whole)
    await watched.identity.reload()
    assert [type(event) for event in watched.told] == [CertificateRefused, CertificateReloaded]


async def test_who_ends_is_told_of_once_a_day_from_a_third_on(
    site: Site, mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    watched = Watched(site)
    watched.now_ms += 243 * DAY_MS
    nursery.start_soon(watched.identity.run)
    await settled()
    assert watched.told == []
    watched.now_ms += DAY_MS
    mock_clock.jump(LOOK_S)
    await watched.until_told(1)
    mock_clock.jump(LOOK_S)
    await settled()
    assert watched.told == [CertificateEnding(120, is_chain=False)]
    watched.now_ms += DAY_MS
    mock_clock.jump(ENDING_EVERY_S)
    await watched.until_told(2)
    assert watched.told[-1] == CertificateEnding(119, is_chain=False)


async def test_the_chain_that_ends_is_told_of_too(site: Site, nursery: trio.Nursery) -> None:
    """A CA of ten years lives on for three and a third when it is told of."""
    watched = Watched(site)
    watched.now_ms += 2434 * DAY_MS
    nursery.start_soon(watched.identity.run)
    await watched.until_told(2)
    assert watched.told[1] == CertificateEnding(1215, is_chain=True)


async def test_who_is_being_renewed_is_told_of_only_if_it_takes_long(
    site: Site, mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    asked: list[bool] = []

    def renew(is_due: bool) -> bool:
        asked.append(is_due)
        return True

    watched = Watched(site, renew=renew)
    watched.now_ms = watched.identity.credentials.renewal_ms - 1
    nursery.start_soon(watched.identity.run)
    await settled()
    assert asked == [False]
    mock_clock.jump(RENEWAL_PATIENCE_S)
    await settled()
    assert True not in asked
    watched.now_ms += 1
    for _ in range(LOOKS_MAX):
        mock_clock.jump(LOOK_S)
        await settled()
        if True in asked:
            break
    assert watched.told == []
    mock_clock.jump(RENEWAL_PATIENCE_S)
    await watched.until_told(1)


def test_renewals_are_spread_between_two_thirds_and_three_quarters(site: Site) -> None:
    moments = set()
    for name in "abcdefgh":
        credentials = load_credentials(site.certificate(name), name, site.cluster_id)
        own = credentials.lifetime
        share = (credentials.renewal_ms - own.starts_ms) / (own.ends_ms - own.starts_ms)
        assert 0.666 <= share <= 0.751
        moments.add(share)
    assert len(moments) == 8


async def test_new_connections_use_the_new_certificate_and_open_ones_stay(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a, b = await fleet.start("a"), await fleet.start("b")
        c = await fleet.start("c", a)
        await fleet.linked(a, c)
        (link,) = a.node.links()
        put(issued(site, "fresh", days=100), a.settings.files)
        await a.reload()
        assert [one.id for one in a.node.links()] == [link.id]
        d = await fleet.start("d", a)
        await fleet.linked(a, d)
        peers = {one.peer.node_id: one.peer for one in d._links.values()}
        assert peers["a"].expires_ms == a.credentials.lifetime.ends_ms
        old = next(one.peer for one in c._links.values() if one.peer.node_id == "a")
        assert old.expires_ms > peers["a"].expires_ms
        await fleet.stop(b)
        await publish(d, "key", b"x")
        await fleet.settled(a, c, d)


async def test_a_new_ca_is_taken_over_without_a_restart(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        create_ca(tmp_path / "next", site.cluster_id)
        new = issue_node(tmp_path / "next", "b", site.directory / "b")
        both = new.ca.read_bytes() + a.settings.files.ca.read_bytes()
        new.ca.write_bytes(both)
        a.settings.files.ca.write_bytes(both)
        await a.reload()
        b = await fleet.start("b", a)
        await fleet.linked(a, b)


async def test_status_tells_how_long_both_hold(site: Site, tmp_path: Path) -> None:
    async with fleet_of(site, tmp_path) as fleet:
        a = await fleet.start("a")
        async with asking(a) as asker:
            told = (await asker.ask("status"))["certificate"]
        assert told == {
            "ends_ms": a.credentials.lifetime.ends_ms,
            "days_left": 364,
            "chain_ends_ms": a.credentials.chain.ends_ms,
            "chain_days_left": 3649,
            "ending": False,
        }


def test_the_rehearsal_sees_what_peers_see(site: Site) -> None:
    credentials = load_credentials(site.certificate("a"), "a", site.cluster_id)
    assert len(credentials.identity.certificates) == 3, "its own in both forms, and the CA's"
    with pytest.raises(ConfigError, match="option 'node' is 'b'"):
        load_credentials(site.certificate("a"), "b", site.cluster_id)


def test_each_event_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gossipconf")
    log = EventLog()
    for event in (
        CertificateReloaded(0),
        CertificateRefused("node.crt: expired"),
        CertificateEnding(3, is_chain=False),
        CertificateEnding(-1, is_chain=True),
    ):
        log.write(event, 0.0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "new connections use the certificate that is valid until 1970-01-01 00:00 UTC"),
        ("ERROR", "the changed certificate files are refused, those before stay in use: node.crt: expired"),
        ("WARNING", "this agent's certificate ends in 3 days, less than a third of its life"),
        ("ERROR", "a certificate above this agent's has ended: peers refuse new connections"),
    ]
