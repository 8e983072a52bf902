"""Who runs the jobs of a sweep: processes of this machine, or the workers of a Dask cluster.

Both are executors of `concurrent.futures`. A process pool of the standard library is
not one of them: when one of its processes dies it fails all calls, and does not know
whose fault it was.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from gossipconf.model.errors import GossipconfError, InvalidInput

if TYPE_CHECKING:
    from distributed import Client

Given = ParamSpec("Given")
Returned = TypeVar("Returned")

CONNECT_S: Final = 10.0
"""A scheduler in another region answers within a second; one that is just being started, within some."""

JOBS_MAX: Final = 1_000
"""Processes at once; beyond any machine."""

SPAWN: Final = multiprocessing.get_context("spawn")
"""A fork would copy this process's threads' locks, and on some systems there is none."""


class ProcessDied(GossipconfError):
    """A process ended without a result."""


class ClusterUnreachable(GossipconfError):
    """No Dask scheduler answers at the address."""


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int) -> None:
    """Raise InvalidInput unless so many processes make sense."""
    if not 1 <= jobs <= JOBS_MAX:
        raise InvalidInput(f"jobs {jobs} is out of range; give 1 to {JOBS_MAX}")


# -- processes ------------------------------------------------------------------------------------


class Processes(ThreadPoolExecutor):
    """Runs each call in a new process, ``jobs`` at once.

    A process dies alone then, its peak memory is that of one run, and its start (a
    third of a second) is little beside a run. Calls, results and exceptions are
    pickled. Raises InvalidInput for jobs that are out of range.
    """

    def __init__(self, jobs: int) -> None:
        check_jobs(jobs)
        super().__init__(jobs, thread_name_prefix="sweep", initializer=_hold_interrupts)
        self._lock = threading.Lock()
        self._running: dict[int, SpawnProcess] = {}
        self._stopped = False

    def submit(self, fn: Callable[Given, Returned], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Returned]:
        """Run ``fn`` in a process; its future raises ProcessDied if that ends without a result."""
        return super().submit(self._in_process, partial(fn, *args, **kwargs))

    def stop(self) -> None:
        """End every process now, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._running.values():
                process.terminate()
        self.shutdown(cancel_futures=True)

    def _in_process(self, call: Callable[[], Returned]) -> Returned:
        reader, writer = SPAWN.Pipe(duplex=False)
        with reader:
            with writer:
                process = self._start(_child, writer, call)
            try:
                answer = reader.recv()
            except (EOFError, OSError):  # nothing, or half an answer
                answer = None
            finally:
                exit_code = self._end(process)
        if answer is None:
            raise ProcessDied(_cause(exit_code))
        returned, value = answer
        if not returned:
            raise value
        result: Returned = value
        return result

    def _start(self, target: Callable[..., None], *arguments: Any) -> SpawnProcess:
        with self._lock:
            if self._stopped:
                raise ProcessDied("the sweep was ended")
            process = SPAWN.Process(target=target, args=arguments, daemon=True)
            process.start()
            self._running[id(process)] = process
        return process

    def _end(self, process: SpawnProcess) -> int | None:
        """Wait for a process that has said its last; how it ended, if that can be known."""
        process.join()
        with self._lock:
            del self._running[id(process)]
        return process.exitcode


def _hold_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal. Those that this thread starts inherit that they do not see it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _child(writer: Connection, call: Callable[[], Any]) -> None:
    """What a process does: call, answer, end; and end at once if its parent does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = True, call()
    except Exception as error:
        answer = False, error
    writer.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _cause(exit_code: int | None) -> str:
    if exit_code is None:
        return "its process died"
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}"
    memory = "; the machine may be out of memory" if exit_code == -signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(-exit_code).name}{memory}"


@contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """Processes on this machine; whatever raises inside ends them."""
    executor = Processes(jobs)
    try:
        yield executor
    finally:
        executor.stop()


# -- Dask -----------------------------------------------------------------------------------------


class Workers(Executor):
    """Runs each call on some worker of a Dask client's cluster. Closing the client cancels what has not begun.

    Dask's own executor for a client never ends the future of a result that is lost with
    its worker before it was handed over, and that cannot be made again.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, fn: Callable[Given, Returned], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Returned]:
        """Run ``fn`` on a worker; its future raises what comes of it there, or what Dask says."""
        ours: Future[Returned] = Future()
        # Not pure: a result that the cluster remembers must not stand in for a run.
        theirs = self._client.submit(fn, *args, pure=False, **kwargs)
        assert self._client.loop is not None
        self._client.loop.add_callback(_pass_on, theirs, ours)
        return ours


async def _pass_on(theirs: Awaitable[Returned], ours: Future[Returned]) -> None:
    try:
        result = await theirs
    except (CancelledError, asyncio.CancelledError):
        ours.cancel()
        ours.set_running_or_notify_cancel()
    except Exception as error:
        ours.set_exception(error)
    else:
        ours.set_result(result)


@contextmanager
def cluster(address: str, tell: Callable[[str], None]) -> Iterator[Executor]:
    """The workers of the Dask cluster whose scheduler is at ``address``; whatever raises inside cancels the runs.

    ``tell`` is given what the user should know. Raises ClusterUnreachable, and
    ModuleNotFoundError where `distributed` is not installed.
    """
    from distributed import Client  # noqa: PLC0415 - an extra, and slow to import

    _probe(address)
    # Its log is for Dask's own developers; what goes wrong with a run comes with its future.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with Client(address, timeout=CONNECT_S, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        if not client.nthreads():
            tell(f"the cluster at {address} has no workers yet; the sweep waits for them")
        yield Workers(client)


def _probe(address: str) -> None:
    """Raise ClusterUnreachable unless a scheduler answers: a `Client` that meets another service ends in noise."""
    from distributed.core import rpc  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    async def ask() -> Any:
        connection = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        async with asyncio.timeout(CONNECT_S):
            async with rpc(address, connection_args=connection) as scheduler:  # type: ignore[no-untyped-call]
                return await scheduler.identity()

    try:
        kind = asyncio.run(ask())["type"]
    except TimeoutError:
        raise ClusterUnreachable(f"no Dask scheduler answers at {address} within {CONNECT_S:g} s") from None
    except Exception as error:  # whatever comes of taking another protocol for Dask's
        raise ClusterUnreachable(f"no Dask scheduler answers at {address}: {error}") from None
    if kind != "Scheduler":
        raise ClusterUnreachable(f"at {address} is a Dask {kind.lower()}; give the scheduler's address")
