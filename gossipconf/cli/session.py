"""A session: one agent's answers, each verified before anybody sees it.

An agent is trusted to deliver and not to state. Every change that it hands over is judged here
(`verification`), and which of several versions wins is computed here again.

Knows the requests of the control protocol; `replies` reads what nobody has signed. Prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from ..model.change import INCARNATION_BYTES, Change
from ..model.entry import Entry, Slot
from ..model.errors import (
    ControlError,
    InvalidValue,
    StaleReservation,
    WrongCluster,
)
from ..model.key import covers
from ..model.version import Version, versions_of
from ..protocol.epoch import Stage, values_of
from ..runtime.schema_set import SCHEMA_PREFIX, SchemaSet
from ..store.resolution import Resolution, in_order, resolve
from ..trust.cluster import Cluster
from ..trust.keys import Signer
from ..trust.policy import policy_changes
from ..trust.signing import Reservation, compose
from ..trust.snapshot import Statement, sign_snapshot
from ..trust.strict import is_stage_key, strict_over, strict_prefixes
from .client import Client
from .expectation import check_shown, check_versions
from .instant import now_ms
from .item import Item, Unfit
from .replies import Branch, Status, Tally, Votes, field_of, read_reader, read_status, read_tally, read_votes
from .target import Target
from .verification import Verifier

PAGE_KEYS: Final = 1_000
"""Keys asked for at a time; an agent sends fewer where values are large."""

PUBLISH_ATTEMPTS: Final = 5
"""How often a publish is signed again because another one through the same agent came first."""


@dataclass(frozen=True, slots=True)
class Published:
    """A change that is on an agent's disk, and the versions that it replaced."""

    change: Change
    replaced: tuple[Version, ...]


@contextmanager
def open_session(target: Target) -> Iterator[Session]:
    """Connect to an agent of `target`. Raises KeyFileError, AgentUnreachable or WrongCluster."""
    cluster = target.cluster()
    with target.connect() as client:
        yield Session(client, cluster)


class Session(Verifier):
    """A connection, and the verifier of what comes over it."""

    def __init__(self, client: Client, cluster: Cluster) -> None:
        """Learn whom we talk to, and its newer policies. Raises WrongCluster or what verifying these raises."""
        super().__init__(cluster, self._policies)
        self._client = client
        self._epochs: dict[bytes, dict[str, Version]] = {}  # by the id of the document's version
        self.unreadable: dict[str, str] = {}
        """Strict prefixes that the agent could not read when it listed keys last, and why, in its words."""
        self.info = client.request("info")
        self.node: str = field_of(self.info, "node", str)
        self.reader = read_reader(self.info)
        theirs = self.info.get("cluster")
        if theirs not in {self.chain.cluster_id, self.chain.cluster_id.hex()}:
            raise WrongCluster(
                f"the agent at {client.path} belongs to another cluster than this directory's "
                f"{cluster.genesis.name!r} ({self.chain.cluster_id.hex()[:8]}…); choose with --cluster and --agent"
            )
        self.learn(self._policies())

    def _policies(self) -> list[Any]:
        """All changes that carry policies, as the agent has them."""
        changes: list[Any] = field_of(self._client.request("policies"), "changes", list)
        return changes

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the agent booted from a checkpoint and had not compared with enough peers as this session began."""
        return self.info.get("unconfirmed") is not None

    # -- reading ----------------------------------------------------------------------------------

    def get(self, key: str) -> Item:
        """The live versions of `key`; an Item without versions if there are none. Raises Rejected."""
        return self._item(key, field_of(self._client.request("get", key=key), "versions", list))

    def strict_over(self, key: str) -> str | None:
        """The strict prefix of the newest policy that covers `key`: what is there comes in epochs."""
        return strict_over(strict_prefixes(self.chain.head.parameters), key)

    def read(self, item: Item, at_ms: int | None = None) -> Resolution:
        """What the asked agent reads of `item` now, and why: by its labels, and by this machine's clock.

        `at_ms`: what it will read at another moment, if nothing is published and nobody votes.
        """
        halted, unfit = item.halted, item.unfit.keys()
        at_ms = now_ms() if at_ms is None else at_ms
        return resolve((*item.versions, *item.last_good), self.reader, at_ms, halted, unfit)

    def items(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[Item]:
        """The keys that `prefix` covers by code point, tombstones included, fetched page by page. Raises Rejected.

        `after`: only keys behind this one. `limit`: how many are wanted, so that no more are fetched at first.
        Strict prefixes that the agent cannot read now are left out, and stand in `unreadable` then.
        """
        return self._items(prefix, after, limit)

    def ordinary_items(self, prefix: str) -> Iterator[Item]:
        """The same of what ordinary changes have put there, also where the prefix is strict by now."""
        return self._items(prefix, None, None, ordinary=True)

    def _items(self, prefix: str, after: str | None, limit: int | None, **fields: bool) -> Iterator[Item]:
        page_keys = PAGE_KEYS if limit is None else min(limit, PAGE_KEYS)
        while True:
            reply = self._client.request("list", prefix=prefix, after=after, limit=page_keys, **fields)
            self.unreadable = field_of(reply, "unreadable", dict) if "unreadable" in reply else {}
            items = field_of(reply, "items", list)
            for raw in items:
                key = field_of(raw, "key", str)
                if after is not None and key <= after:
                    raise ControlError(f"the agent lists {key!r} after {after!r}; is it of another version?")
                after = key
                if covers(prefix, key):
                    yield self._item(key, field_of(raw, "versions", list))
            if not field_of(reply, "more", bool) or not items:
                return

    def ids(self, prefix: str) -> Iterator[tuple[str, list[bytes]]]:
        """The keys that `prefix` covers and the ids of their live versions, by the agent's word: nothing is verified.

        For comparing two agents: what one of them has otherwise is asked for with `get`.
        """
        after: str | None = None
        while True:
            reply = self._client.request("ids", prefix=prefix, after=after)
            for raw in field_of(reply, "keys", list):
                match raw:
                    case [str(key), list(ids)] if (after is None or key > after) and covers(prefix, key):
                        yield key, sorted(one for one in ids if isinstance(one, bytes))
                        after = key
                    case _:
                        raise ControlError("the agent lists keys out of order; is it of another version?")
            if not field_of(reply, "more", bool):
                return

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """What the agent answers, of which nothing is verified. Raises what it says."""
        return self._client.request(op, **fields)

    def forks(self) -> tuple[list[list[Branch]], bool]:
        """The forks that the agent knows, each with its branches, and whether there are more. Raises Rejected."""
        reply = self._client.request("forks")
        found = []
        for raws in field_of(reply, "forks", list):
            branches = [
                Branch(self.verified(field_of(raw, "header", bytes)), field_of(raw, "lives", bool)) for raw in raws
            ]
            numbers = {(branch.header.writer_id, branch.header.header.seq) for branch in branches}
            if len(numbers) != 1 or len({branch.header.id for branch in branches}) < 2:
                raise ControlError("the agent calls a fork what is none; is it of another version?")
            found.append(branches)
        return found, field_of(reply, "more", bool)

    def content_key(self, version: Version) -> bytes:
        """The key that opens the sealed value of `version`, if it is sealed to the agent. Raises SealError."""
        reply = self._client.request("unwrap", key=version.entry.key, version=version.id)
        content_key: bytes = field_of(reply, "content_key", bytes)
        return content_key

    def watch(self, prefix: str) -> Iterator[Item]:
        """Keys under `prefix` as they change, for ever. The subscription stands when this returns."""
        stream = Client(self._client.path)  # of its own: this one may have to ask for a newer policy meanwhile
        return self._changes(prefix, stream, stream.watch(prefix))

    def _changes(self, prefix: str, stream: Client, events: Iterator[dict[str, Any]]) -> Iterator[Item]:
        with stream:
            for event in events:
                if event.get("event") == "change" and covers(prefix, field_of(event, "key", str)):
                    yield self._item(event["key"], field_of(event, "versions", list))

    def status(self) -> Status:
        """Who is there, and with which state, as far as the asked agent knows."""
        return read_status(self._client.request("status"))

    def report_unhealthy(self, key: str | None, change: str | None, reason: str) -> Votes:
        """Have the agent call what it reads of `key`, or of the change that `change` begins, unhealthy: its vote."""
        return read_votes(self._client.request("unhealthy", key=key, change=change, reason=reason))

    def sign_beacon(self, signer: Signer, lasts_ms: int) -> Statement:
        """State the agent's present root under the newest policy, and let the agent spread that.

        Raises ControlError if the agent cannot know that its state is everybody's, and a Rejected if it may not be
        signed or is not taken.
        """
        info = self._client.request("info")
        if info.get("unconfirmed") is not None:
            raise ControlError(f"{self.node} is unconfirmed, and its state is nothing to sign; see `gossipconf status`")
        time_ms = now_ms()
        statement = Statement(
            cluster=self.chain.cluster_id,
            policy=self.chain.head.version,
            time_ms=time_ms,
            expires_ms=time_ms + lasts_ms,
            root=field_of(info, "root", bytes),
        )
        self._client.request("beacon", snapshot=sign_snapshot(statement, signer, self.chain).encode())
        return statement

    def contents(self) -> list[Change]:
        """All that the agent holds, as it is now. Only the policies in it are judged yet, and learned."""
        parts = []
        with Client(self._client.path) as stream:
            for event in stream.stream("contents"):
                parts += [self.decode(data) for data in field_of(event, "changes", list)]
                if field_of(event, "done", bool):
                    break
        self.follow(policy_changes(parts))
        return parts

    def acks(self, change: str | None, wait_s: float) -> Generator[Tally, None, None]:
        """Who has applied the change whose id begins with `change`, or holds the asked agent's state: as it changes.

        The last tally comes when all have, or after `wait_s`.
        """
        stream = Client(self._client.path)
        try:
            events = stream.stream("acks", change=change, wait_ms=max(1, round(wait_s * 1000)))
        except BaseException:
            stream.close()
            raise
        return self._tallies(stream, events)

    def _tallies(self, stream: Client, events: Iterator[dict[str, Any]]) -> Generator[Tally, None, None]:
        with stream:
            for event in events:
                if event.get("event") == "tally":
                    yield read_tally(event)
                    if field_of(event, "done", bool):
                        return

    # -- publishing -------------------------------------------------------------------------------

    def publish(
        self,
        entries: Sequence[Entry],
        signer: Signer,
        *,
        comment: str = "",
        expected: frozenset[bytes] | None = None,
        if_version: Sequence[str] = (),
        activation_ms: int | None = None,
        dry_run: bool = False,
    ) -> Published:
        """Sign one change of `entries` over what is live now, and hand it to the agent.

        `expected`: ids of the versions that may be replaced, so that what was shown is what happens; `if_version`:
        beginnings of the ids of the changes that must be live there (see `expectation`). Anything else raises
        KeyChanged. With `dry_run` all is done but the last step. Returns when the change is on the agent's disk.
        """
        self.check(entries)
        slots = [entry.slot for entry in entries]
        for attempt in range(1, PUBLISH_ATTEMPTS + 1):
            change, replaced = self._compose(entries, slots, signer, comment, activation_ms)
            check_versions(slots, replaced, if_version)
            check_shown(replaced, expected)
            if not dry_run:
                # Against many rivals the last attempt of who expects nothing rather makes a conflict than fails.
                is_compared = attempt < PUBLISH_ATTEMPTS or expected is not None or bool(if_version)
                try:
                    self._client.request("publish", change=change.encode(), compared=is_compared)
                except StaleReservation:
                    if attempt == PUBLISH_ATTEMPTS:
                        raise
                    continue
            return Published(change, replaced)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def schemas(self) -> SchemaSet:
        """The schemas that are published: of each the version that readers see."""
        return SchemaSet.of(item.versions[0].entry for item in self.items(SCHEMA_PREFIX))

    def check(self, entries: Sequence[Entry]) -> None:
        """Raise InvalidValue or SchemaUnusable unless all values are of their types and as the schemas say."""
        has_schemas = bool(self.info.get("schemas"))  # an agent of an earlier release says nothing of them
        (self.schemas() if has_schemas else SchemaSet({})).check(entries)

    def check_secret(self, entry: Entry) -> None:
        """As `check`, before the value of `entry` is sealed: in words that say nothing of it."""
        try:
            self.check([entry])
        except InvalidValue:
            raise InvalidValue(
                f"{entry.key!r}: the value is not what a schema says (see `gossipconf schema show`); where it is wrong "
                "is not told, because it is to be sealed"
            ) from None

    def propose(
        self,
        entries: Sequence[Entry],
        signer: Signer,
        *,
        comment: str = "",
        expected: frozenset[bytes] | None = None,
        if_version: Sequence[str] = (),
        activation_ms: int | None = None,
    ) -> Published:
        """Sign what `publish` would, under a writer of its own, and hand it to nobody: others have to approve it first.

        It is published when other numbers have been used by then, so it must not take one of the agent's.
        """
        self.check(entries)
        slots = [entry.slot for entry in entries]
        own = Reservation(os.urandom(INCARNATION_BYTES), 1)
        change, replaced = self._compose(entries, slots, signer, comment, activation_ms, own)
        check_versions(slots, replaced, if_version)
        check_shown(replaced, expected)
        return Published(change, replaced)

    def send(self, change: Change) -> None:
        """Hand a change that is complete to the agent; returns when it is on its disk. Raises what the agent says."""
        self._client.request("publish", change=change.encode())

    def _compose(
        self,
        entries: Sequence[Entry],
        slots: Sequence[Slot],
        signer: Signer,
        comment: str,
        activation_ms: int | None,
        own: Reservation | None = None,
    ) -> tuple[Change, tuple[Version, ...]]:
        reply = self._client.request("reserve", signer=signer.public, slots=[list(slot) for slot in slots])
        self.learn(field_of(reply, "policies", list))
        parts = [self.decode(raw) for raw in field_of(reply, "replaced", list)]
        change = compose(
            entries,
            parts,
            chain=self.chain,
            signer=signer,
            reservation=own or Reservation(field_of(reply, "incarnation", bytes), field_of(reply, "seq", int)),
            now_ms=now_ms(),
            comment=comment,
            activation_ms=activation_ms,
            is_proposed=own is not None,
        )
        wanted = set(slots)
        return change, tuple(version for part in parts for version in versions_of(part) if version.slot in wanted)

    def _item(self, key: str, raws: Sequence[Any]) -> Item:
        versions = [self._held_by(self._version(raw), key) for raw in raws]
        stray = next((version.entry.key for version in versions if version.entry.key != key), None)
        if stray is not None:
            raise ControlError(f"the agent answers with {stray!r} where {key!r} was meant; is it another version?")
        pairs = list(zip(versions, raws, strict=True))
        votes = {
            version.change_id: replace(read_votes(raw["votes"]), change_id=version.change_id)
            for version, raw in pairs
            if "votes" in raw
        }
        unfit = {version.id: self._unfit(version, raw) for version, raw in pairs if raw.get("unfit") is not None}
        return Item(key, tuple(in_order(versions)), votes, unfit)

    def _held_by(self, version: Version, key: str) -> Version:
        """`version`; or what the epoch of a strict prefix has at `key`, if it is the document of one."""
        if is_stage_key(key) or not is_stage_key(version.entry.key):
            return version
        if version.id not in self._epochs:
            stage = Stage.decode(version.entry.value or b"")
            if str(stage.key) != version.entry.key:
                raise ControlError("the agent delivers a document of another epoch than its key names")
            self._epochs[version.id] = values_of(stage, version)
        found = self._epochs[version.id].get(key)
        if found is None:
            raise ControlError(f"the agent delivers an epoch that has no {key!r}; is it of another version?")
        return found

    def _unfit(self, version: Version, raw: dict[str, Any]) -> Unfit:
        """What the agent says of a version; what it delivers in its place is verified, and must be of the same slot."""
        good = None if raw.get("good") is None else self._version(raw["good"], is_past=True)
        if good is not None and (good.slot != version.slot or good.entry.value is None):
            raise ControlError("the agent delivers a last good value of another key; is it another version?")
        return Unfit(field_of(raw, "unfit", str), None if good is None or self.is_void(good) else good)

    def _version(self, raw: Any, *, is_past: bool = False) -> Version:
        change = self.part(field_of(raw, "change", bytes), is_past=is_past)
        index = field_of(raw, "index", int)
        found = next((version for version in versions_of(change) if version.index == index), None)
        if found is None:
            raise ControlError(f"the agent names entry {index} of a change and does not send it")
        return found
