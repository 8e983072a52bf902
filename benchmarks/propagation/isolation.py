"""Each system is measured by a process of its own, in a network namespace of its own where the kernel lets us.

There the loopback interface carries nothing but the system. Without a namespace (no right to make one, no
`unshare`) everything but the traffic is measured.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from typing import Any, Final

from .errors import BenchmarkError
from .plan import Plan
from .traffic import LOOPBACK

FAREWELL_S: Final = 20.0
"""How long a measuring process may take to end what it started."""
WAYS: Final = (("unshare", "--net"), ("unshare", "--user", "--map-root-user", "--net"))
"""As root, and where the kernel allows users their own namespaces."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_REQUEST: Final = struct.Struct("=16sH22x")


def namespace_prefix() -> tuple[str, ...] | None:
    """What to put before a command that shall have its own network, or None if it cannot have one."""
    if shutil.which(WAYS[0][0]) is None:
        return None
    for way in WAYS:
        if subprocess.run([*way, "true"], capture_output=True, check=False).returncode == 0:
            return way
    return None


def raise_loopback() -> None:
    """Switch this namespace's loopback interface on, as `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = _REQUEST.pack(LOOPBACK.encode(), 0)
        _, flags = _REQUEST.unpack(fcntl.ioctl(probe, _SIOCGIFFLAGS, request))
        fcntl.ioctl(probe, _SIOCSIFFLAGS, _REQUEST.pack(LOOPBACK.encode(), flags | _IFF_UP))


def measure_apart(system: str, plan: Plan) -> dict[str, Any]:
    """The figures of ``system``, from a process of its own. Raises BenchmarkError with that process's reason."""
    prefix = namespace_prefix()
    command = [*(prefix or ()), sys.executable, "-m", "benchmarks.propagation", system, plan.to_json()]
    command += [] if prefix is None else ["--own-network"]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
    try:
        output, _ = child.communicate()
    except BaseException:
        _end(child)
        raise
    if child.returncode != 0:
        raise BenchmarkError(f"measuring {system} failed, see above")
    figures: dict[str, Any] = json.loads(output)
    if prefix is None:
        figures["traffic"] = "not measured: it takes a network namespace, that is root and the program 'unshare'"
    return figures


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child by a signal upon which it ends what it has started."""
    os.kill(child.pid, signal.SIGTERM)
    try:
        child.wait(FAREWELL_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
