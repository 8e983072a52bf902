"""The agent in a program's own process: opened in one block, read without waiting, closed at its end.

Wraps the agent that runs (`runtime.agent`) and adds what programs want: typed reads on a
snapshot, watches, models, publishing. All but `get` belongs to the trio thread.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, overload

import trio

from ..model.entry import Entry
from ..model.errors import AgentFailed, ControlError, GossipconfError
from ..model.key import covers
from ..runtime import agent as runtime
from ..runtime.complaint import Votes
from ..runtime.settings import AgentSettings
from ..runtime.settings import load as load_settings
from ..trust.keys import Signer
from .bound import Bound
from .cell_map import MASK
from .explanation import Explanation, explain
from .follower import Follower
from .health import Health, health_of
from .overrides import Overrides
from .overrides import load as load_overrides
from .publication import entries_of, publish
from .reading import MISSING, read
from .snapshot import Snapshot, Source
from .watch import Watch

T = TypeVar("T")
D = TypeVar("D")
M = TypeVar("M")


class Agent:
    """An agent of a cluster in this process. Make one with `open`."""

    def __init__(self, agent: runtime.Agent, overrides: Overrides) -> None:
        """Of an agent that `live` is going to run."""
        self._agent = agent
        self._follower = Follower(agent, overrides)
        self._failure: Exception | None = None
        self._is_serving = False
        self._begun = trio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: AgentSettings | str | os.PathLike[str],
        *,
        options: Mapping[str, object] | None = None,
        override_file: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Agent]:
        """Run an agent while the block runs, and stop it gracefully at its end.

        ``settings``: a settings file, a directory with an `agent.toml`, or settings that are made already;
        ``options`` override single ones of a file. ``override_file``: in the place of the setting `overrides`.
        ``environment``: in the place of the process's, for overrides.

        The block begins once everything on the disk can be read, and waits for no peer. What the block raises comes
        out as it is. If the agent fails meanwhile the block is cancelled, and the agent's error comes out. A block
        that is cancelled from outside ends the agent at once.

        Raises ConfigError, KeyFileError, JournalError or TransportError for what is wrong at the start, JournalError
        for a damaged journal, AgentFailed for a fault of the agent's own.
        """
        if not isinstance(settings, AgentSettings):
            settings = load_settings(Path(settings), options)
        path = settings.overrides if override_file is None else Path(override_file)
        overrides = load_overrides(path, os.environ if environment is None else environment)
        async with cls(runtime.Agent(settings), overrides).live() as agent:
            yield agent

    @asynccontextmanager
    async def live(self) -> AsyncIterator[Agent]:
        """Run the agent while the block runs; see `open`."""
        error_of_block: BaseException | None = None
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                nursery.start_soon(self._run, nursery.cancel_scope)
                await self._begun.wait()
                nursery.start_soon(self._follow, nursery.cancel_scope)
                try:
                    yield self
                except BaseException as error:
                    if _is_cancelled(error):
                        raise  # through the nursery, whose cancellation it may be
                    error_of_block = error
                self._agent.stop()
        except BaseExceptionGroup as group:
            error_of_block = _alone(group)
        finally:
            self._is_serving = False
        if error_of_block is not None:
            raise error_of_block
        if self._failure is not None:
            raise self._failure

    # -- reading ----------------------------------------------------------------------------------

    @overload
    def get(self, key: str) -> str: ...
    @overload
    def get(self, key: str, type: type[T]) -> T: ...
    @overload
    def get(self, key: str, type: type[T], default: D) -> T | D: ...
    @overload
    def get(self, key: str, *, default: D) -> str | D: ...
    def get(self, key: str, type: Any = str, default: Any = MISSING) -> Any:
        """The value of ``key`` as ``type``: str, int, float, bool, bytes (the bytes as published), dict or list.

        It waits for nothing, from any thread. Text is read by what is wanted; of json, yaml and toml the value must be
        of the type. A dict or list is a copy. ``default`` is for a key without a value, and for nothing else.

        Raises KeyMissing without a default; WrongType; Fenced or NotAMember for a strict prefix that cannot be read
        now, default or not; SealError for a sealed value that this agent cannot open; InvalidInput for what is no key
        or no type.
        """
        cell = self._follower.snapshot.cells.shards[hash(key) & MASK].get(key)  # no call of ours on the way
        return read(self._follower.snapshot, key, type, default) if cell is None else cell.read(type)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys under ``prefix`` that have a value, in order; not those that only the environment gives one."""
        return sorted(key for key in self.snapshot.cells if covers(prefix, key))

    @property
    def snapshot(self) -> Snapshot:
        """Everything that can be read at this moment; it never changes."""
        return self._follower.snapshot

    def source(self, key: str) -> Source:
        """Where in the fallback order the value of ``key`` comes from. Raises Fenced, NotAMember or InvalidInput."""
        cell = self.snapshot.find(key)
        return Source.DEFAULT if cell is None else cell.source

    def explain(self, key: str) -> Explanation:
        """Why ``key`` gives what it does: sources, variants, siblings. Raises InvalidInput for what is no key."""
        return explain(self._follower, key)

    async def settled(self, key: str) -> None:
        """Wait while ``key`` is fenced by a stage that lets reads wait; at once for every other key."""
        await trio.lowlevel.checkpoint()
        await self._agent.reads.strict.settled(key)
        self._follower.catch_up()

    # -- following --------------------------------------------------------------------------------

    def watch(self, prefix: str = "") -> Watch:
        """An async iterator of updates of the keys under ``prefix``, from now on. Raises InvalidInput."""
        return Watch(self._follower, prefix)

    @overload
    def bind(self, model: type[M], prefix: str) -> Bound[M]: ...
    @overload
    def bind(self, model: type[M], prefix: str, default: M) -> Bound[M]: ...
    def bind(self, model: type[M], prefix: str, default: Any = MISSING) -> Bound[M]:
        """A live object whose `value` is a ``model`` of the values under ``prefix``: a dataclass, a msgspec Struct or
        a pydantic model, each field of which is a key.

        Raises InvalidModel if no valid one can be made and no ``default`` is given; Fenced, NotAMember, InvalidInput.
        """
        return Bound(self._follower, model, prefix, default)

    # -- saying -----------------------------------------------------------------------------------

    async def publish(
        self,
        values: Mapping[str, object] | None = None,
        *,
        signer: Signer,
        comment: str = "",
        entries: Sequence[Entry] = (),
    ) -> str:
        """Publish ``values`` as one signed change; its id in hex, once it is on this agent's disk and read here.

        bytes are published as bytes, str as text, None deletes the key, everything else is json; what is json or
        yaml stays that, and numbers at a key of text stay text. ``entries``: puts and deletes of variants, with
        conditions or an expiry, as `gossipconf.model.entry` makes them.

        Raises InvalidInput, LimitExceeded, InvalidValue (a schema), NotAuthorised (the policy), JournalWriteFailed,
        ControlError once the agent stops.
        """
        self._check_serving()
        wanted = entries_of(self._agent, values or {}, entries)
        change_id = await publish(self._agent, wanted, signer, comment)
        self._follower.catch_up()
        return change_id.hex()

    async def report_unhealthy(self, key: str, reason: str = "") -> Votes:
        """Call what is read of ``key`` unhealthy: this agent's vote, for good; how votes stand, once it is on disk.

        Enough votes halt a variant that carries a limit of them. Raises Rejected for what carries none or has no
        value, LimitExceeded for a long reason, ControlError once the agent stops.
        """
        self._check_serving()
        votes = await self._agent.report_unhealthy(key, None, reason)
        self._follower.catch_up()
        return votes

    def health(self) -> Health:
        """How this agent stands now."""
        return health_of(self._agent, is_serving=self._is_serving)

    # -- life -------------------------------------------------------------------------------------

    def _check_serving(self) -> None:
        if not self._is_serving:
            raise ControlError("the agent has stopped; it publishes inside the block that has opened it")

    async def _run(self, scope: trio.CancelScope) -> None:
        """Run the agent to its end, and then end all else."""
        try:
            await self._agent.run(task_status=_Started(self._begin))
        except GossipconfError as error:
            self._failure = error
        except Exception as error:  # a fault of ours; a group if several tasks met it
            self._failure = _failed(error)
        finally:
            self._is_serving = False
            if self._begun.is_set():
                self._follower.end()
            scope.cancel()

    async def _follow(self, scope: trio.CancelScope) -> None:
        try:
            await self._follower.run()
        except Exception as error:  # a fault of ours
            self._failure = _failed(error)
            scope.cancel()

    def _begin(self) -> None:
        self._follower.begin()
        self._is_serving = True
        self._begun.set()


class _Started(trio.TaskStatus[None]):
    """Takes the agent's word that it serves, in the same step: nothing can have come from peers yet."""

    def __init__(self, begin: Any) -> None:
        self._begin = begin

    def started(self, value: None = None) -> None:
        """The agent serves."""
        self._begin()


def _failed(error: Exception) -> AgentFailed:
    failure = AgentFailed(f"the agent in this process has failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _is_cancelled(error: BaseException) -> bool:
    """Whether a cancellation is among what a block raises."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the nursery has wrapped; an interrupt before all else."""
    interrupts = group.subgroup((KeyboardInterrupt, SystemExit))
    if interrupts is not None:
        return _first(interrupts)
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
