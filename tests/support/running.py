"""The real `relay run` as a process of its own: started, watched, stopped, killed.

    with running(tmp_path, {"upstreams": {...}, "routes": [...]}) as relay:
        relay.submit("nas@isp.example", "b@far.example", b"Subject: hello\r\n\r\nhello\r\n")
        relay.wait_for("relayed")

Whatever the configuration leaves out gets what a test wants: loopback listener on a free port, a spool of its own,
JSON log, short retry delays.
"""

import json
import os
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
STOP_SECONDS = 20


def defaults(directory: Path) -> dict[str, Any]:
    return {
        "hostname": "relay.test",
        "listen": [{"address": "127.0.0.1:0", "networks": ["private"]}],
        "retry": {"delays": ["1s", "2s", "5s"], "rest": ["1s", "2s"], "rest_login": "5s"},
        "spool": {"url": f"sqlite:{directory}/spool/spool.db", "keep_free": "1MB"},
        "log": {"format": "json", "level": "info"},
    }


class RelayProcess:
    """One relay, perhaps started several times over the same spool.  `log` has the events of all its lives."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.config = {**defaults(directory), **config}
        self.config_file = directory / "config.yaml"
        url = str(self.config["spool"]["url"])
        self.spool = Path(url.removeprefix("sqlite:")) if url.startswith("sqlite:") else directory / "spool" / "none"
        self.spool.parent.mkdir(parents=True, exist_ok=True)
        if not url.startswith("sqlite:"):  # else it would be the machine's own
            self.config["spool"] = {"state_dir": str(directory / "state"), **self.config["spool"]}
        self.log: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.ports: list[int] = []
        self.wrapper: list[str] = []
        """Words before the command, such as `strace -D`; the process started must stay the relay itself."""
        self.module = "relay"
        self.root, self.python = ROOT, sys.executable
        self.environment: Mapping[str, str] = {}
        self.stderr: int = subprocess.STDOUT
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.configure(self.config)

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self.ports[0]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def configure(self, config: Mapping[str, Any]) -> None:
        """Writes the configuration file anew (JSON is YAML); a running relay reads it at `reload()`."""
        self.config = dict(config)
        self.config_file.write_text(json.dumps(self.config, indent=2, ensure_ascii=False))

    def start(self, environment: Mapping[str, str] | None = None) -> "RelayProcess":
        """Starts it and returns once it listens.  Raises AssertionError with all it said if it does not."""
        self.environment = environment or {}
        before = len(self.events("started"))
        self._process = subprocess.Popen(
            [*self.wrapper, sys.executable, "-m", self.module, "run", "--config", str(self.config_file)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        self._until(lambda: len(self.events("started")) > before, START_SECONDS, "the relay did not start")
        self.ports = [int(place.rpartition(":")[2]) for place in self.events("started")[-1]["listening"]]
        return self

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Stops it cleanly by SIGTERM; its exit status.  Kills it, and fails, if it takes longer than `seconds`."""
        process = self._process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
            raise AssertionError(f"SIGTERM did not end the relay within {seconds} s\n{self.said()}") from None
        finally:
            self._closed(process)

    def kill9(self) -> None:
        """Ends it as a power failure would: no time for anything."""
        process = self._process
        assert process is not None
        process.kill()
        process.wait(10)
        self._closed(process)

    def death(self, seconds: float = 30) -> int:
        """Waits until it ends by itself; its exit status, negative for a signal."""
        process = self._process
        assert process is not None
        status = process.wait(seconds)
        self._closed(process)
        return status

    def reload(self) -> None:
        before = len(self.events("reloaded")) + len(self.events("warned"))
        os.kill(self.pid, signal.SIGHUP)
        self._until(lambda: len(self.events("reloaded")) + len(self.events("warned")) > before, 10, "no answer to SIGHUP")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event, in order."""
        return [line for line in tuple(self.log) if line.get("event") == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 30) -> list[dict[str, Any]]:
        """The log's lines of one event, once there are `count`."""
        self._until(lambda: len(self.events(name)) >= count, seconds, f"not {count} x {name!r} within {seconds} s")
        return self.events(name)

    def command(self, *words: str, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """Runs another verb of `relay` with this relay's configuration, e.g. `command("queue", "list", "--json")`."""
        line = [sys.executable, "-m", "relay", *words, "--config", str(self.config_file)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)

    def submit(self, sender: str, to: str | Sequence[str], content: bytes, helo: str = "nas") -> str:
        """Hands a message in as a device does; the queue id that it was promised under."""
        with smtplib.SMTP("127.0.0.1", self.port, helo, timeout=30) as line:
            line.mail(sender)
            for one in [to] if isinstance(to, str) else to:
                line.rcpt(one)
            code, said = line.data(content)
        assert code == 250, said
        return said.decode().split()[-1]

    def queue(self, *words: str) -> list[dict[str, Any]]:
        """What `relay queue list --json` says: the waiting messages (`--all`: finished ones too)."""
        done = self.command("queue", "list", "--json", *words)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout)["messages"])

    def show(self, queue_id: str) -> dict[str, Any]:
        """What `relay queue show ID --json` says, with the trail."""
        done = self.command("queue", "show", queue_id, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def page(self, path: str, language: str = "en") -> str:
        """What the web page answers there.  Raises HTTPError."""
        import urllib.request  # here: test_idle.py asks what a relay has loaded beside this module

        url = f"http://{self.events('started')[-1]['web']}{path}"
        asked = urllib.request.Request(url, headers={"Accept-Language": language})
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own page
            return str(answer.read().decode())

    def said(self) -> str:
        """The last lines that it printed, for a failing test's message."""
        return "\n".join(self.lines[-60:])

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("{"):
                try:
                    self.log.append(json.loads(line))
                except ValueError:
                    continue  # cut short by a kill

    def _closed(self, process: "subprocess.Popen[str]") -> None:
        if self._reader is not None:
            self._reader.join(5)
        if process.stdout is not None:
            process.stdout.close()

    def _until(self, reached: Callable[[], bool], seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            ended = not self.running
            if (ended and not reached()) or time.monotonic() > deadline:
                raise AssertionError(f"{complaint}{' (it has ended)' if ended else ''}\n{self.said()}")
            time.sleep(0.02)


@contextmanager
def running(directory: Path, config: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Iterator[RelayProcess]:
    """A relay that runs for the length of a test and is stopped cleanly after it."""
    relay = RelayProcess(directory, config)
    try:
        yield relay.start(environment)
    finally:
        if relay.running:
            relay.stop()
