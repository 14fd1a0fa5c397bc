"""The relay as a peer of another harness, one that knows more relays: copy or link this file into its peers/ directory.

RELAY_CHECKOUT names this repository if the file was copied (a link finds it by itself), BENCH_PYTHON the interpreter that has
requirements/runtime.txt installed (default: the checkout's .venv).  Trail, events, metrics, repair and page are on.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from . import BasePeer

CHECKOUT = Path(os.environ.get("RELAY_CHECKOUT", Path(__file__).resolve().parents[1]))
PYTHON = os.environ.get("BENCH_PYTHON", str(CHECKOUT / ".venv/bin/python"))


class Peer(BasePeer):
    name = "relay"
    durable = "SQLite commit (WAL, synchronous FULL) before 250"
    notes = "repair, trail, events, metrics and status page on"

    def available(self):
        if not (CHECKOUT / "relay/__main__.py").exists():
            return f"no relay in {CHECKOUT}: set RELAY_CHECKOUT"
        return None if Path(PYTHON).exists() else f"no {PYTHON}: `make .venv/runtime` in {CHECKOUT}, or set BENCH_PYTHON"

    def version(self):
        return self._run("version").stdout.partition("\n")[0]

    def configure(self, ctx):
        (ctx.dir / "spool").mkdir(mode=0o700)
        secret = ctx.dir / "secret"
        secret.write_text(ctx.password)
        secret.chmod(0o600)
        login = {"tls": "starttls", "ca_file": str(ctx.ca), "username": ctx.user, "password_file": str(secret)}
        config = {
            "hostname": "relay.bench.test",
            "listen": [{"address": f"127.0.0.1:{ctx.listen_port}"}],
            # All load comes from one address: what is 20 for one device at home is for all of them together.
            "limits": {"connections": 1200, "per_client": 1200, "messages_per_minute": 1_000_000},
            "spool": {"url": f"sqlite:{ctx.dir}/spool/spool.db"},
            "upstreams": {
                "sink": {
                    "host": "127.0.0.1",
                    "port": ctx.sink_port,
                    **(login if ctx.sink_tls else {"tls": "none", "auth": "none"}),
                }
            },
            "web": {"address": "127.0.0.1:0"},
            "log": {"format": "json"},
        }
        self.config = ctx.dir / "config.yaml"
        self.config.write_text(json.dumps(config))

    def start(self, ctx):
        self.process = ctx.spawn([PYTHON, "-m", "relay", "run", "--config", str(self.config)], cwd=CHECKOUT)

    def stop(self, ctx):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def flush(self, ctx):
        self._run("queue", "retry", "--all", "--config", str(self.config))

    def list_queue(self, ctx):
        words = [PYTHON, "-m", "relay", "queue", "list", "--config", str(self.config)]
        return ["env", "-C", str(CHECKOUT), *words]

    def queued(self, ctx):
        with closing(sqlite3.connect(f"file:{ctx.dir}/spool/spool.db?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM message WHERE over_at IS NULL").fetchone()[0]

    def _run(self, *words):
        return subprocess.run([PYTHON, "-m", "relay", *words], cwd=CHECKOUT, check=True, capture_output=True, text=True)
