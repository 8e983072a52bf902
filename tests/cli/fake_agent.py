"""An agent that answers what a test wants, and changes to answer with."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import msgpack

from gossipconf.model.change import Change
from gossipconf.model.entry import put
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.keys import Signer
from gossipconf.trust.policy import Role
from gossipconf.trust.signing import Reservation, compose

ROOT, ADMIN, OTHER = (Signer.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
SALT = bytes(16)
CLUSTER = found_cluster(
    "test", [ROOT], [Role("admins", (ADMIN.public,), ("shop",))], threshold=1, now_ms=1_000, salt=SALT
)


class FakeAgent:
    """Answers each request of one connection at a time with what `replies` has for its op, the last one for ever."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[dict] = []
        self.replies: dict[str, list[object]] = {
            "info": [{"ok": True, "node": "fake", "zone": "", "cluster": CLUSTER.genesis.cluster_id.hex()}],
            "policies": [{"ok": True, "changes": [change.encode() for change in CLUSTER.policies]}],
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                while head := file.read(4):
                    request = msgpack.unpackb(file.read(int.from_bytes(head, "big")))
                    self.requests.append(request)
                    queue = self.replies.get(request["op"], [None])
                    reply = queue.pop(0) if len(queue) > 1 else queue[0]
                    if reply is None:
                        break
                    body = reply if isinstance(reply, bytes) else msgpack.packb(reply)
                    file.write(body if isinstance(reply, bytes) else len(body).to_bytes(4, "big") + body)
                    file.flush()


def change_of(*keys: str, signer: Signer = ADMIN, chain=None, seq: int = 1, value: bytes = b"1") -> Change:
    return compose(
        [put(key, value) for key in keys],
        (),
        chain=chain or CLUSTER.chain(),
        signer=signer,
        reservation=Reservation(b"incarnat", seq),
        now_ms=2_000,
    )
