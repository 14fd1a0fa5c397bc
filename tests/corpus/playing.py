"""Plays the device side of the corpus in device-mail/ against a relay, and its upstream: a strict SMTP sink.

Words, logic and short names are those of the corpus's own runner; here cases may be played side by side.
"""

# ruff: noqa: UP031, E741

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from tests.corpus.checks import MON, check, default_checks


# --------------------------------------------------------------------------- upstream sink
class Sink:
    """A strict upstream: CRLF only, CRLF.CRLF only, AUTH PLAIN/LOGIN, keeps every accepted message."""

    def __init__(self, port, caps, require_auth=True, host="127.0.0.1"):
        self.caps, self.require_auth = caps, require_auth
        self.messages, self.violations, self.lock = [], [], threading.Lock()
        self.srv = socket.socket()
        self.srv.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.srv.bind((host, port))
        self.port = self.srv.getsockname()[1]
        self.srv.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c, _ = self.srv.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def close(self):
        self.srv.shutdown(socket.SHUT_RDWR)
        self.srv.close()

    def of(self, case_id):
        """The messages in which the case's id stands, in an envelope recipient or anywhere in the octets."""
        tag = re.compile(r"(?<![a-z0-9-])%s(?![a-z0-9-])" % re.escape(case_id))
        btag = re.compile(tag.pattern.encode())
        with self.lock:
            return [
                m for m in self.messages if any(tag.search(r.lower()) for r in m["rcpts"]) or btag.search(m["data"].lower())
            ]

    def _serve(self, c):
        c.settimeout(120)
        buf = b""
        authed = not self.require_auth
        tx = None
        helo = None
        bad = []

        def say(s):
            c.sendall(s.encode() + b"\r\n")

        def line():
            nonlocal buf
            while b"\n" not in buf:
                d = c.recv(65536)
                if not d:
                    raise EOFError
                buf += d
            l, buf = buf.split(b"\n", 1)
            if not l.endswith(b"\r"):
                bad.append("command line not ended by CRLF: %r" % l[:80])
            return l.rstrip(b"\r")

        try:
            say("220 upstream.example.net ESMTP corpus sink")
            while True:
                l = line()
                u = l.upper()
                if u.startswith(b"EHLO"):
                    helo = l[5:].decode("latin-1")
                    ls = ["upstream.example.net", *self.caps]
                    for i, x in enumerate(ls):
                        say("250%s%s" % ("-" if i < len(ls) - 1 else " ", x))
                elif u.startswith(b"HELO"):
                    helo = l[5:].decode("latin-1")
                    say("250 upstream.example.net")
                elif u.startswith(b"AUTH PLAIN"):
                    if len(l.split()) < 3:
                        say("334 ")
                        line()
                    authed = True
                    say("235 2.7.0 Authentication successful")
                elif u.startswith(b"AUTH LOGIN"):
                    if len(l.split()) < 3:
                        say("334 VXNlcm5hbWU6")
                        line()
                    say("334 UGFzc3dvcmQ6")
                    line()
                    authed = True
                    say("235 2.7.0 Authentication successful")
                elif u.startswith(b"MAIL"):
                    m = re.match(rb"(?i)MAIL FROM:<([^>]*)>(.*)$", l)
                    if not authed:
                        say("530 5.7.0 Authentication required")
                    elif not m:
                        bad.append("bad MAIL syntax: %r" % l)
                        say("501 5.5.4 Syntax")
                    else:
                        tx = {
                            "ok8": "8BITMIME" in self.caps,
                            "mail_from": m[1].decode("latin-1"),
                            "params": m[2].decode("latin-1").strip(),
                            "rcpts": [],
                            "helo": helo,
                        }
                        say("250 2.1.0 Ok")
                elif u.startswith(b"RCPT"):
                    m = re.match(rb"(?i)RCPT TO:<([^>]+)>(.*)$", l)
                    if tx is None:
                        say("503 5.5.1 MAIL first")
                    elif not m:
                        bad.append("bad RCPT syntax: %r" % l)
                        say("501 5.5.4 Syntax")
                    else:
                        tx["rcpts"].append(m[1].decode("latin-1"))
                        say("250 2.1.5 Ok")
                elif u == b"DATA":
                    if tx is None or not tx["rcpts"]:
                        say("503 5.5.1 RCPT first")
                        continue
                    say("354 End data with <CR><LF>.<CR><LF>")
                    while not (buf.startswith(b".\r\n") or b"\r\n.\r\n" in buf):
                        d = c.recv(1 << 16)
                        if not d:
                            raise EOFError
                        buf += d
                    if buf.startswith(b".\r\n"):
                        raw, buf = b"", buf[3:]
                    else:
                        raw, buf = buf.split(b"\r\n.\r\n", 1)
                        raw += b"\r\n"
                    data = re.sub(rb"(^|\r\n)\.", rb"\1", raw)
                    with self.lock:
                        self.messages.append(dict(tx, data=data, wire=raw, bad=list(bad), t=time.time(), id=len(self.messages)))
                    tx = None
                    say("250 2.0.0 Ok: queued")
                elif u.startswith(b"RSET"):
                    tx = None
                    say("250 2.0.0 Ok")
                elif u.startswith(b"NOOP"):
                    say("250 2.0.0 Ok")
                elif u.startswith(b"QUIT"):
                    say("221 2.0.0 Bye")
                    return
                else:
                    bad.append("unknown command %r" % l[:80])
                    say("500 5.5.2 Unknown command")
        except (EOFError, OSError):
            pass
        finally:
            if bad:
                with self.lock:
                    self.violations += bad
            c.close()


# --------------------------------------------------------------------------- device side
class Fail(Exception):
    pass


class Client:
    def __init__(self, host, port, timeout):
        self.timeout = timeout
        self.buf = b""
        self.log = []
        self.last = ""
        self.s = socket.create_connection((host, port), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, b, chunk=0, delay=0.0):
        self.log.append("C: %r" % (b if len(b) < 200 else b[:160] + b"...(%d)" % len(b)))
        try:
            if not chunk:
                self.s.sendall(b)
            else:
                for i in range(0, len(b), chunk):
                    self.s.sendall(b[i : i + chunk])
                    time.sleep(delay)
        except OSError as e:
            raise Fail("connection broke while sending: %r" % e) from e

    def reply(self, timeout=None):
        """One complete reply; '' when the server closed."""
        end = time.time() + (timeout or self.timeout)
        lines = []
        while True:
            while b"\n" not in self.buf:
                self.s.settimeout(max(0.05, end - time.time()))
                try:
                    d = self.s.recv(65536)
                except TimeoutError:
                    raise Fail("no reply within %.0f s (log: %s)" % (timeout or self.timeout, self.log[-2:])) from None
                except OSError:
                    d = b""
                if not d:
                    self.last = ""
                    self.log.append("S: <closed>")
                    return ""
                self.buf += d
            l, self.buf = self.buf.split(b"\n", 1)
            l = l.rstrip(b"\r").decode("latin-1")
            lines.append(l)
            if not re.match(r"\d{3}-", l):
                break
        self.last = lines[-1]
        self.log.append("S: " + " / ".join(lines)[:200])
        self.lines = lines
        return self.last

    def close(self, how="fin"):
        try:
            if how == "rst":
                self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.s.close()
        except OSError:
            pass


def step_bytes(st):
    b = base64.b64decode(st["send_b64"]) if "send_b64" in st else st["send"].encode("latin-1")
    return b * st.get("repeat", 1)


def play_session(case, host, port, timeout):
    c = Client(host, port, timeout)
    fail = None
    final = ""
    try:
        for st in case["steps"]:
            if "if" in st and not re.match(st["if"], c.last):
                continue
            if "send" in st or "send_b64" in st:
                c.send(step_bytes(st), st.get("chunk", 0), st.get("delay", 0))
            elif "expect" in st:
                try:
                    r = c.reply(st.get("timeout"))
                except Fail:
                    if st.get("optional"):
                        continue
                    raise
                if not re.match(st["expect"], r) and not st.get("optional"):
                    raise Fail("expected /%s/ got %r after %s" % (st["expect"], r, c.log[-2] if len(c.log) > 1 else ""))
                if st.get("final"):
                    final = r
            elif "sleep" in st:
                time.sleep(st["sleep"])
            elif "drain" in st:  # swallow replies until quiet or closed
                t = time.time() + st["drain"]
                while time.time() < t:
                    try:
                        r = c.reply(max(0.05, t - time.time()))
                        if r == "":
                            break
                    except Fail:
                        break
            elif "starttls" in st:
                ctx = ssl._create_unverified_context()  # noqa: S323
                try:
                    c.s = ctx.wrap_socket(c.s)
                except (OSError, ssl.SSLError) as e:
                    raise Fail("TLS handshake failed: %r" % e) from e
                c.buf = b""
            elif "reconnect" in st:
                c.close()
                log = c.log
                c = Client(host, port, timeout)
                c.log = [*log, "-- reconnect --"]
            elif "close" in st:
                c.close(st["close"])
                c.log.append("C: <close %s>" % st["close"])
    except Fail as e:
        fail = str(e)
    c.close()
    return fail, final, c.log


def play_message(case, data, host, port, timeout):
    env = case["envelope"]
    c = Client(host, port, timeout)
    final = ""
    try:
        c.reply()
        c.send(("%s %s\r\n" % (env.get("hello", "EHLO"), env["helo"])).encode())
        r = c.reply()
        if not r.startswith("250"):
            raise Fail("greeting refused: %r" % r)
        c.send(
            ("MAIL FROM:<%s>%s\r\n" % (env["mail_from"], (" " + env["params"]) if env.get("params") else "")).encode("utf-8")
        )
        final = c.reply()
        if final.startswith("250"):
            for r in env["rcpt_to"]:
                c.send(("RCPT TO:<%s>\r\n" % r).encode("utf-8"))
                final = c.reply()
                if not final.startswith("25"):
                    break
        if final.startswith("25"):
            c.send(b"DATA\r\n")
            final = c.reply()
            if final.startswith("354"):
                if case.get("wire", "stuff") == "raw":
                    c.send(data)
                else:
                    w = re.sub(rb"(^|\n|\r(?!\n))\.", rb"\1..", data)
                    c.send(w + (b"" if w.endswith(b"\r\n") or not w else b"\r\n") + b".\r\n")
                final = c.reply(max(timeout, 20))
        try:
            c.send(b"QUIT\r\n")
            c.reply(2)
        except Fail:
            pass
        fail = None
    except Fail as e:
        fail = str(e)
    c.close()
    return fail, final, c.log


# --------------------------------------------------------------------------- cases
STD, STD_ISO = b"Sun, 03 Mar 2024 09:15:00 +0900", "2024-03-03T09:15:00+09:00"  # becomes now - 2 h
STD2, STD2_ISO = b"Sun, 03 Mar 2024 00:15:00 GMT", "2024-03-03T00:15:00+00:00"  # becomes now - 2 days


DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
CAPTURED = re.compile(rb"[A-Z][a-z]{2}, 2[1-3] Nov 2026 \d\d:\d\d:\d\d(?= (?:[+-]\d{4}|GMT|UTC))")
"""When the real programs were recorded: right then, stale ever after."""


def freshen(c):
    """Give the standard (correct) dates of the corpus a recent value of the same length, so that no relay has
    reason to call them stale.  All other bytes stay as they are."""
    now = datetime.now(UTC).replace(microsecond=0)
    t = now - timedelta(hours=2)
    recent = t.strftime("%a, %d %b %Y %H:%M:%S")
    c["_data"] = CAPTURED.sub(recent.encode(), c["_data"])
    for st in c.get("steps", []):
        if "send" in st:
            st["send"] = re.sub(CAPTURED.pattern.decode(), recent, st["send"])
        elif "send_b64" in st:
            st["send_b64"] = base64.b64encode(CAPTURED.sub(recent.encode(), base64.b64decode(st["send_b64"]))).decode()
    for f in c.get("fresh", []):  # dates written in a form of their own
        sign, hh, mm = re.match(r"([+-])(\d\d):(\d\d)$", f["offset"]).groups()
        zone = timezone(timedelta(minutes=int(sign + "1") * (int(hh) * 60 + int(mm))))
        old, new = datetime.strptime(f["text"], f["format"]).replace(tzinfo=zone), t.astimezone(zone)
        text = new.strftime(f["format"])
        c["_data"] = c["_data"].replace(f["text"].encode("latin-1"), text.encode("latin-1"))
        for k in ("expect", "should"):
            c[k] = json.loads(json.dumps(c.get(k, [])).replace(old.isoformat(), new.isoformat()))
    for std, iso, t in (
        (STD, STD_ISO, (now - timedelta(hours=2)).astimezone(timezone(timedelta(hours=9)))),
        (STD2, STD2_ISO, now - timedelta(days=2)),
    ):
        new = (
            "%s, %02d %s %04d %02d:%02d:%02d "
            % (DAYS[t.weekday()], t.day, MON[t.month - 1], t.year, t.hour, t.minute, t.second)
            + std.decode().split()[-1]
        ).encode()
        hit = std in c["_data"]
        if not hit:
            continue
        c["_data"] = c["_data"].replace(std, new)
        for k in ("expect", "should"):
            c[k] = json.loads(json.dumps(c.get(k, [])).replace(iso, t.isoformat()))
        for st in c.get("steps", []):
            if "send" in st:
                st["send"] = st["send"].replace(std.decode(), new.decode())
            elif "send_b64" in st:
                st["send_b64"] = base64.b64encode(base64.b64decode(st["send_b64"]).replace(std, new)).decode()


def load(dirs):
    out = []
    for d in dirs:
        for kind in ("message", "session"):
            p = os.path.join(d, kind)
            if not os.path.isdir(p):
                continue
            for f in sorted(os.listdir(p)):
                if not f.endswith(".json"):
                    continue
                c = json.loads(Path(p, f).read_text(encoding="utf-8"))
                c["_dir"] = p
                c["_data"] = Path(p, c["file"]).read_bytes()
                if hashlib.sha256(c["_data"]).hexdigest() != c["sha256"]:
                    sys.exit("%s: file does not match its sidecar's sha256" % c["id"])
                if c["kind"] == "session":
                    cat = b"".join(step_bytes(s) for s in c["steps"] if "send" in s or "send_b64" in s)
                    if cat != c["_data"]:
                        sys.exit("%s: steps do not add up to the byte file" % c["id"])
                freshen(c)
                out.append(c)
    return out


def play(c, host, port, sink, timeout=10, wait=10, quiet=1.0):
    """Plays one case and holds what arrives at the sink against it: (problems, notes)."""
    probs, warns = [], []
    try:
        if c["kind"] == "message":
            fail, final, _log = play_message(c, c["_data"], host, port, timeout)
        else:
            fail, final, _log = play_session(c, host, port, timeout)
    except OSError as e:
        fail, final = "cannot connect: %r" % e, ""
    if fail:
        probs.append("dialogue: " + fail)
    accept = c.get("accept", "yes")
    accepted = final.startswith("250")
    if c["kind"] == "message" and not fail:
        if accept == "yes" and not accepted:
            probs.append("refused: %r" % final)
        if accept == "no" and not re.match("5", final):
            probs.append("not refused with 5xx: %r" % final)
        if accept == "either" and not accepted and not re.match("5", final):
            probs.append("neither accepted nor refused with 5xx: %r" % final)
    exp = list(c.get("expect", []))
    want = next((x["count"] for x in exp if "count" in x), None)
    if want is None and c["kind"] == "message":
        want = 1 if accepted else 0
    if accept == "either" and not accepted:
        want, exp = 0, [{"count": 0}]
    elif c["kind"] == "message" and not any("count" in x for x in exp):
        exp.append({"count": want})
    end = time.monotonic() + wait
    while len(sink.of(c["id"])) < (want or 0) and time.monotonic() < end and not fail:
        time.sleep(0.05)
    if want == 0 or c["kind"] == "session" or fail or c.get("linger"):
        time.sleep(c.get("linger", quiet))
    else:
        time.sleep(0.1)
    msgs = sink.of(c["id"])
    for x in exp:
        probs += check(x, msgs, c, c["_data"])
    for m in msgs:
        mu, sh = default_checks(m)
        ex = set(c.get("skip_default", []))
        probs += [p for p in mu if p.split(":")[0] not in ex]
        warns += [p for p in sh if p.split(":")[0] not in ex]
    if msgs or not exp:
        for x in c.get("should", []):
            warns += check(x, msgs, c, c["_data"])
    return list(dict.fromkeys(probs)), list(dict.fromkeys(warns))
