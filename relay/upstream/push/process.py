"""The push process, as the relay sees it: started, handed a message, ended; killed when it does not answer."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.detached import environment
from relay.upstream.push import frames
from relay.upstream.push.frames import Outcome

_SOURCE = Path(__file__).parents[3]
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_STARTING = 60.0  # seconds; on a small board the library alone takes ten
_ENDING = 2.0
_AT_ONCE = 256 * 1024  # octets of content between two looks at the pipe


class ProcessLost(Exception):
    """The process died or does not answer; the text says which."""


class PushProcess:
    """One process.  It has one message at a time, so that what goes wrong with it concerns that message alone."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise ProcessLost("no pipe to the push process")
        self._in, self._out = process.stdin, process.stdout

    @classmethod
    async def start(cls) -> "PushProcess":
        """Raises ProcessLost."""
        trusted = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
        extra = {"REQUESTS_CA_BUNDLE": trusted} if trusted else {}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "relay.upstream.push.child"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # a traceback may hold a URL
                env=environment(*_PROXIES, PYTHONPATH=str(_SOURCE), **extra),
                start_new_session=True,  # Ctrl-C in a terminal is for the relay, which then ends this
            )
        except OSError as error:
            raise ProcessLost(f"the push process cannot be started: {error.strerror or error}") from None
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._out.at_eof()

    async def send(
        self, job: Mapping[str, Any], content: AsyncIterator[Iterable[bytes]], go: Callable[[str, str], bool], answer_within: float
    ) -> AsyncIterator[tuple[int, Outcome]]:
        """Each URL's number and outcome.  `go(peer, tls)` is called before a request goes out; False stops it.

        Raises ProcessLost, and what reading the content raises; the process is of no more use then.
        """
        await self._write([frames.packed(job)])
        async for blocks in content:
            await self._write(map(frames.block, blocks))
        await self._write([frames.END])
        patience = _STARTING + answer_within
        for _ in job["urls"]:
            found = await self._read(patience)
            if "outcome" not in found:
                await self._write([frames.packed({"go": go(found["peer"], found["tls"])})])
                found = await self._read(10 * answer_within)
            yield int(found["url"]), Outcome.of(found["outcome"])
            patience = _STARTING + answer_within

    async def ask(self, job: Mapping[str, Any], patience: float) -> dict[str, Any]:
        """The answer to a job without a message.  Raises ProcessLost."""
        await self._write([frames.packed(job)])
        return await self._read(patience)

    async def _write(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                self._in.write(piece)
            async with asyncio.timeout(_STARTING):
                await self._in.drain()
        except TimeoutError:
            raise ProcessLost("the push process does not read") from None
        except OSError:
            raise ProcessLost("the push process has died") from None

    async def _read(self, patience: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(patience):
                [length] = frames.HEAD.unpack(await self._out.readexactly(frames.HEAD.size))
                if length > frames.LARGEST:
                    raise ProcessLost("the push process answers nonsense")
                return frames.unpacked(await self._out.readexactly(length))
        except TimeoutError:
            raise ProcessLost(f"the push process gave no answer within {patience:g} seconds") from None
        except asyncio.IncompleteReadError:
            raise ProcessLost("the push process has died") from None

    def kill(self) -> None:
        """Ends it at once; nothing more goes out."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._in.close()

    async def end(self) -> None:
        """Lets it end by itself, as it does when the pipe closes."""
        self._in.close()
        try:
            async with asyncio.timeout(_ENDING):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()


async def check(urls: Sequence[str]) -> list[str]:
    """What is wrong with each URL: "" (nothing), `unknown`, `package` or `missing` (the library itself).  Raises ProcessLost."""
    process = await PushProcess.start()
    try:
        found = await process.ask({"check": list(urls)}, _STARTING)
    finally:
        process.kill()
        await process.end()
    return [str(one) for one in found["known"]]


__all__ = ["PushProcess", "ProcessLost", "check"]
