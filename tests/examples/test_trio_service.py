"""The example runs as a person would run it: it answers, follows what is published, and ends on SIGTERM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

from gossipconf import Agent
from tests.runtime.cluster import ADMIN, HANG_S, Site

EXAMPLE = Path(__file__).parents[2] / "examples" / "trio_service.py"


class Lines:
    """What a process says, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._text = b""

    async def next(self) -> str:
        while b"\n" not in self._text:
            chunk = await self._stream.receive_some()
            assert chunk, f"it has ended after {self._text!r}"
            self._text += chunk
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()


async def test_the_service(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with trio.fail_after(HANG_S):
        async with Agent.open(site.settings("admin", tmp_path / "admin"), environment={}) as agent:
            directory = site.certificate("service").key.parent
            (directory / "agent.toml").write_text(
                f'node = "service"\nlisten = "127.0.0.1:0"\ncluster = "{site.file}"\n'
                f'join = ["{agent._agent.node.identity.address}"]\n'
            )
            command = [sys.executable, str(EXAMPLE), str(directory)]
            async with trio.open_nursery() as nursery:
                process = await nursery.start(
                    lambda task_status: trio.run_process(
                        command, stdout=subprocess.PIPE, stderr=None, capture_stdout=False, task_status=task_status
                    )
                )
                said = Lines(process.stdout)
                port = int((await said.next()).removeprefix("serving on "))
                client = await trio.open_tcp_stream("127.0.0.1", port)
                async with client:
                    await client.send_all(b"Ann\n")
                    assert await Lines(client).next() == "hello, Ann"
                    await agent.publish({"shop/greeting/text": "good day", "shop/greeting/per_client": 2}, signer=ADMIN)
                    assert await said.next() == "now Greeting(text='good day', per_client=2)"
                    for _ in range(2):
                        await client.send_all(b"Ann\n")
                        answer = await Lines(client).next()
                    assert answer == "that is enough"
                process.terminate()
                assert await said.next() == "stopped"
                assert await process.wait() == 0
