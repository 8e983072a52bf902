"""Who runs the jobs of a sweep: processes that are left alone, die alone and are all ended; addresses of no cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gossipconf.model.errors import InvalidInput
from gossipconf_sim.sweep import executors as sweep_executor
from gossipconf_sim.sweep.executors import (
    JOBS_MAX,
    ClusterUnreachable,
    ProcessDied,
    Processes,
    check_jobs,
    cluster,
    processes,
    processors,
)
from tests.sim.cli.process import ENVIRONMENT

WAIT_S = 20
"""Of what comes within a second, unless the machine is busy."""


def end(kind: str) -> object:
    match kind:
        case "value":
            return os.getpid()
        case "error":
            raise OverflowError("too much")
        case "exit":
            os._exit(3)
        case "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        case "interrupts":
            return signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return None


def test_each_call_has_a_process_of_its_own():
    with processes(2) as executor:
        pids = [future.result(WAIT_S) for future in [executor.submit(end, "value") for _ in range(3)]]
        assert executor.submit(end, "nothing").result(WAIT_S) is None
    assert len({*pids, os.getpid()}) == 4


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [
        ("error", OverflowError, "too much"),
        ("exit", ProcessDied, "its process ended with exit code 3"),
        ("signal", ProcessDied, "its process was ended by SIGTERM"),
    ],
)
def test_how_a_call_ended_is_known(kind, error, told):
    with processes(1) as executor:
        assert str(executor.submit(end, kind).exception(WAIT_S)) == told
        assert type(executor.submit(end, kind).exception(WAIT_S)) is error


def test_interrupts_are_for_the_parent():
    """Ctrl-C on a terminal reaches every process of it."""
    with processes(1) as executor:
        assert signal.SIGINT in executor.submit(end, "interrupts").result(WAIT_S)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def hang(path: Path) -> None:
    """Say that it runs, and go on for ever."""
    path.write_text("runs")  # a FIFO: returns once somebody reads
    while True:
        signal.pause()


def test_all_processes_can_be_ended(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    executor = Processes(1)
    running, waiting = executor.submit(hang, fifo), executor.submit(hang, fifo)
    assert fifo.read_text() == "runs"
    executor.stop()
    assert str(running.exception(WAIT_S)) == "its process was ended by SIGTERM"
    assert waiting.cancelled()


def test_nothing_starts_once_all_are_ended():
    executor = Processes(1)
    executor.stop()
    with pytest.raises(ProcessDied, match="the sweep was ended"):
        executor._start(print)


def test_processes_end_with_their_parent(tmp_path):
    """All of them inherit the output: it ends when the last of them has."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = (
        "import sys; from pathlib import Path\n"
        "from gossipconf_sim.sweep.executors import processes\n"
        "from tests.sim.sweep.test_executors import hang\n"
        "with processes(1) as executor:\n"
        "    executor.submit(hang, Path(sys.argv[1])).result()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, fifo], stdout=subprocess.PIPE, env=ENVIRONMENT) as parent:
        assert fifo.read_text() == "runs"
        parent.kill()
        assert parent.communicate(timeout=WAIT_S) == (b"", None)


def test_the_number_of_processes_is_bounded():
    check_jobs(JOBS_MAX)
    for jobs in (0, -1, JOBS_MAX + 1):
        with pytest.raises(InvalidInput, match=f"jobs {jobs} is out of range; give 1 to {JOBS_MAX}"):
            Processes(jobs)
    assert 1 <= processors() <= (os.cpu_count() or 1)


# -- Dask -----------------------------------------------------------------------------------------


def refusal(address: str) -> str:
    with pytest.raises(ClusterUnreachable) as refused, cluster(address, pytest.fail):
        pass
    return str(refused.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nowhere", "missing port number in address 'nowhere'"),
        ("carrier-pigeon://x:1", "unknown address scheme 'carrier-pigeon'"),
        ("tls://127.0.0.1:1", "TLS expects"),
    ],
)
def test_an_address_that_makes_no_sense_is_told(address, told):
    assert refusal(address).startswith(f"no Dask scheduler answers at {address}: {told}")


def test_an_address_where_nobody_answers_is_told(monkeypatch):
    monkeypatch.setattr(sweep_executor, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert refusal(f"127.0.0.1:{port}") == f"no Dask scheduler answers at 127.0.0.1:{port} within 0.2 s"
    assert refusal(f"tcp://127.0.0.1:{port}") == f"no Dask scheduler answers at tcp://127.0.0.1:{port} within 0.2 s"


def test_another_service_is_told():
    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert refusal(address).startswith(f"no Dask scheduler answers at {address}: ")
        thread.join(WAIT_S)
