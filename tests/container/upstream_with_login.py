"""An upstream that wants TLS and a login, at an address that a container reaches.

python -m tests.container.upstream_with_login HOST PORT USER PASSWORD FILE
FILE gets one line for each message: user, subject
"""

import asyncio
import re
import ssl
import sys
from pathlib import Path

from relay.cli.demo_isp import CERTIFICATE
from tests.support.upstream import ScriptedUpstream


async def main(host: str, port: str, user: str, password: str, file: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    server = ScriptedUpstream(
        host=host, port=int(port), users={user: password}, tls=context, auth_needs_tls=True, require_auth=True
    )
    async with server:
        while True:
            async with server.changed:
                await server.changed.wait()
            lines = [f"{one.user} {_subject(one.content)}\n" for one in server.messages]
            Path(file).write_text("".join(lines), encoding="utf-8")


def _subject(content: bytes) -> str:
    found = re.search(rb"(?mi)^Subject: (.*?)\r$", content)
    return found[1].decode() if found else ""


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
