"""A DNS server on loopback that gives out what a test puts in, over UDP, and over TCP what does not fit."""

from __future__ import annotations

from typing import Final

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import trio
from dns.asyncresolver import Resolver

UDP_BYTES_MAX: Final = 512


class NameServer:
    """``records``: (name, type) to its data, as in a zone file; ``rcodes``: what is answered to a type instead."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.rcodes: dict[str, dns.rcode.Rcode] = {}
        self.asked: list[tuple[str, str]] = []
        self.is_truncating = False
        self.port = 0

    def resolver(self) -> Resolver:
        """A resolver that asks this server."""
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        return resolver

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Answer until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
            await socket.bind(("127.0.0.1", self.port))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve_stream, listeners)
                task_status.started()
                while True:
                    data, sender = await socket.recvfrom(UDP_BYTES_MAX)
                    await socket.sendto(self._answer(data, truncate=self.is_truncating), sender)

    async def _serve_stream(self, stream: trio.SocketStream) -> None:
        data = b""
        while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
            data += await stream.receive_some()
        answer = self._answer(data[2:], truncate=False)
        await stream.send_all(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, data: bytes, *, truncate: bool) -> bytes:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        if truncate:
            answer.flags |= dns.flags.TC
        elif kind in self.rcodes:
            answer.set_rcode(self.rcodes[kind])
        elif found := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 30, "IN", kind, *found))
        elif not any(name == known for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()
