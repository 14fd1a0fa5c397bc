"""The push process, as the relay sees it: started, handed a message, ended; killed when it does not answer."""

import asyncio
import contextlib
import io
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from relay.detached import environment
from relay.upstream.push import frames
from relay.upstream.push.frames import Outcome, PushJob

_SOURCE = Path(__file__).parents[3]
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_STARTING = 60.0  # seconds; on a small board the library alone takes ten
_ENDING = 2.0

_COMMAND = (sys.executable, "-P", "-m", "relay.upstream.push.child")


def _trusted() -> dict[str, str]:
    """The library trusts the authorities of its own package, unless told otherwise."""
    file = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return {"REQUESTS_CA_BUNDLE": file} if file else {}


class ProcessLost(Exception):
    """The process died or does not answer (`silent`); the text says which."""

    def __init__(self, words: str, *, silent: bool = False) -> None:
        super().__init__(words)
        self.silent = silent


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
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # a traceback may hold a URL
                env=environment(*_PROXIES, PYTHONPATH=str(_SOURCE), **_trusted()),
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
        self, job: PushJob, content: AsyncIterator[bytes], go: Callable[[str, str], bool]
    ) -> AsyncGenerator[tuple[int, Outcome], None]:
        """Each URL's number and outcome.  `go(peer, tls)` is called before a request goes out; False stops it.

        Raises ProcessLost, and what reading the content raises; the process is of no more use then.
        """
        await self._write([frames.packed(job.as_value())])
        async for block in content:
            await self._write([frames.block(block)])
        await self._write([frames.END])
        patience = _STARTING + job.timeout
        for _ in job.urls:
            found = await self._read(patience)
            if "outcome" not in found:
                await self._write([frames.packed({"go": go(found["peer"], found["tls"])})])
                found = await self._read(10 * job.timeout)
            yield int(found["url"]), Outcome.of(found["outcome"])

    async def _write(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                self._in.write(piece)
            async with asyncio.timeout(_STARTING):
                await self._in.drain()
        except TimeoutError:
            raise ProcessLost("the push process does not read", silent=True) from None
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
            words = f"the push process gave no answer within {patience:g} seconds"
            raise ProcessLost(words, silent=True) from None
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


@lru_cache(maxsize=8)  # a reload, which stops the event loop, most often has the same ones
def misunderstood(urls: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong with each URL: "" (nothing), `unknown`, `package` (it needs another one), `missing` (the library itself).

    Blocks.  Raises ProcessLost.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            _COMMAND,
            input=frames.packed({"check": urls}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_STARTING,
            check=False,
            env=environment(*_PROXIES, PYTHONPATH=str(_SOURCE), **_trusted()),
        )
    except subprocess.TimeoutExpired:
        raise ProcessLost(f"the push process gave no answer within {_STARTING:g} seconds", silent=True) from None
    except OSError as error:
        raise ProcessLost(f"the push process cannot be started: {error.strerror or error}") from None
    answer = frames.read(io.BytesIO(done.stdout))
    if answer is None:
        raise ProcessLost("the push process has died")
    return tuple(str(one) for one in frames.unpacked(answer)["known"])
