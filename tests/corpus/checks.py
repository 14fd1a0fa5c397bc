"""What the device corpus demands of a relayed message: the checks that its sidecars name, and those for all messages.

Words, logic and short names are those of the corpus's own runner (device-mail/README.md describes them), so that both
say the same of a message.
"""

# ruff: noqa: UP031, E741, N806

import email
import email.policy
import hashlib
import re
from datetime import UTC, datetime
from email.header import decode_header
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from tests.corpus import reading


# --------------------------------------------------------------------------- helpers
def split_msg(data):
    i = data.find(b"\r\n\r\n")
    if data.startswith(b"\r\n"):
        return b"", data[2:]
    if i < 0:
        return data, b""
    return data[: i + 2], data[i + 4 :]


def fields(data):
    """[(name, raw_value_bytes_unfolded)] plus a list of syntax complaints."""
    head, _ = split_msg(data)
    out, bad = [], []
    for l in head.split(b"\r\n"):
        if not l:
            continue
        if l[:1] in b" \t":
            if out:
                out[-1][1] += b"\r\n" + l
            else:
                bad.append("continuation line first: %r" % l[:60])
            if not l.strip():
                bad.append("whitespace-only continuation line")
            continue
        m = re.match(rb"([!-9;-~]+):(.*)$", l, re.S)
        if m:
            out.append([m[1].decode(), m[2]])
        else:
            bad.append("not a header field: %r" % l[:60])
    return [(n, re.sub(rb"\r\n(?=[ \t])", b"", v).strip()) for n, v in out], bad


def dec(raw):
    """Decode RFC 2047 in a raw (bytes) value, strictly enough to notice mojibake."""
    s = raw.decode("ascii", "surrogateescape") if isinstance(raw, bytes) else raw
    if any(ord(c) > 127 for c in s):
        return "<RAW-8BIT>" + raw.decode("latin-1")
    parts = []
    try:
        for b, cs in decode_header(s):
            parts.append(b if isinstance(b, str) else b.decode(cs or "ascii", "replace"))
    except Exception as e:
        return "<UNDECODABLE %r>" % e
    return re.sub(r"\s+", " ", "".join(parts)).strip()


def get(fs, name):
    return [v for n, v in fs if n.lower() == name.lower()]


def addrs(raw):
    """[(display, addr)], [defects] of an address header value (ASCII expected)."""
    s = raw.decode("ascii", "replace")
    h = email.policy.SMTP.header_factory("to", s)
    d = [str(x) for x in h.defects if type(x).__name__ in ("InvalidHeaderDefect",)]
    return [(a.display_name, a.addr_spec) for a in h.addresses], d


LAN_TLD = re.compile(r"(?i)(^|\.)(localhost|localdomain|local|lan|home|internal|intranet|private|corp|workgroup|arpa)\.?$")


def addr_ok(a):
    m = re.match(r"^([^@\s<>]+)@([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)$", a)
    if not m:
        return "not local@domain: %r" % a
    l, d = m[1], m[2]
    if any(ord(c) > 126 for c in a):
        return "non-ASCII: %r" % a
    if not l.startswith('"') and (l.startswith(".") or l.endswith(".") or ".." in l):
        return "bad dots in local part: %r" % a
    if "." not in d or LAN_TLD.search(d):
        return "domain not fully qualified / LAN-only: %r" % a
    return None


MON = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DATE_RE = re.compile(
    r"^(?:(Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?(\d{1,2}) (%s) (\d{4}) (\d\d):(\d\d)(?::(\d\d))?"
    r" ([+-]\d{4}|GMT|UT|EST|EDT|CST|CDT|MST|MDT|PST|PDT)(?: \([^()]*\))?$" % "|".join(MON)
)


def date_of(fs):
    v = get(fs, "Date")
    if len(v) != 1:
        return None, "%d Date fields" % len(v)
    s = re.sub(r"\s+", " ", v[0].decode("latin-1"))
    if not DATE_RE.match(s):
        return None, "Date not RFC 5322: %r" % s
    try:
        return parsedate_to_datetime(s), None
    except Exception as e:
        return None, "Date unparsable: %r %r" % (s, e)


def mime(data):
    return BytesParser(policy=email.policy.compat32).parsebytes(data)


def texts(data):
    out = []
    for p in mime(data).walk():
        if p.is_multipart() or p.get_content_maintype() != "text":
            continue
        b = p.get_payload(decode=True) or b""
        cs = p.get_content_charset() or "us-ascii"
        try:
            out.append(b.decode(cs))
        except Exception:
            out.append("<cannot decode as %s>" % cs + b.decode("latin-1"))
    return out


def nl(s):
    return s.replace("\r\n", "\n").replace("\r", "\n")


SINGLE = [
    "date",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "message-id",
    "in-reply-to",
    "references",
    "subject",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
]


def default_checks(m):
    """must-problems, should-problems for any relayed message."""
    d = m["data"]
    must, should = [], []
    if re.search(rb"(?<!\r)\n|\r(?!\n)", m["wire"]):
        must.append("crlf: bare CR or LF on the wire")
    if b"\0" in d:
        must.append("no_nul: NUL in message")
    mx = max((len(l) for l in m["wire"].split(b"\r\n")), default=0)
    if mx > 998:
        must.append("line998: %d octets in a line" % mx)
    fs, bad = fields(d)
    must += ["header_syntax: " + b for b in bad]
    head, body = split_msg(d)
    if re.search(rb"[\x80-\xff]", head) and "SMTPUTF8" not in m["params"].upper():
        must.append("ascii_headers: raw 8-bit bytes in the header")
    if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head):
        must.append("ascii_headers: control characters in the header")
    for s in SINGLE:
        if len(get(fs, s)) > 1:
            must.append("singletons: %d %s fields" % (len(get(fs, s)), s))
    _, e = date_of(fs)
    if e:
        must.append("date1: " + e)
    mid = get(fs, "Message-ID")
    if len(mid) != 1 or not re.match(rb"^<[^<>\s@]+@[^<>\s@]+>$", mid[0]):
        must.append("msgid1: %r" % mid)
    fr = get(fs, "From")
    if len(fr) != 1:
        must.append("from1: %d From fields" % len(fr))
    else:
        a, df = addrs(fr[0])
        if not a or df:
            must.append("from1: unparsable %r %s" % (fr[0], df))
        else:
            for _, x in a:
                if addr_ok(x):
                    must.append("from1: " + addr_ok(x))
    for n in ("To", "Cc", "Reply-To", "Sender"):
        for v in get(fs, n):
            try:
                a, df = addrs(v)
            except Exception as ex:
                a, df = [], [repr(ex)]
            if df or (not a and not re.search(rb":\s*;", v)):
                must.append("addr_syntax: %s: %r %s" % (n, v[:80], df))
    if m["mail_from"]:
        e = addr_ok(m["mail_from"])
        if e:
            must.append("sender_fqdn: " + e)
    for r in m["rcpts"]:
        if addr_ok(r):
            must.append("rcpt_fqdn: " + addr_ok(r))
    must += ["smtp: " + b for b in m["bad"]]
    if not get(fs, "Received"):
        should.append("received: no Received field")
    if re.search(rb"[\x80-\xff]", body) and not m["ok8"]:
        must.append("8bit_unoffered: 8-bit body although the upstream does not offer 8BITMIME")
    elif re.search(rb"[\x80-\xff]", body) and "8BITMIME" not in m["params"].upper():
        should.append("8bit_declared: 8-bit body without BODY=8BITMIME")
    if (re.search(rb"[\x80-\xff]", body) or get(fs, "Content-Type") or get(fs, "Content-Transfer-Encoding")) and not get(
        fs, "MIME-Version"
    ):
        must.append("mime_version: MIME content without MIME-Version")
    for p in mime(d).walk():
        if p.is_multipart():
            continue
        pc = str(p.get("Content-Transfer-Encoding", "7bit")).strip().lower()
        pl = p._payload  # get_payload() would decode
        raw8 = any("\udc80" <= c <= "\udcff" for c in pl) if isinstance(pl, str) else False
        if raw8 and pc in ("7bit", "quoted-printable", "base64"):
            must.append("cte: 8-bit bytes in a part labelled %s" % pc)
        if pc == "binary":
            must.append("cte: binary used without BINARYMIME")
        if raw8 and p.get_content_maintype() == "text" and p.get_content_charset("us-ascii") in ("us-ascii", "ansi_x3.4-1968"):
            must.append("charset: 8-bit text labelled us-ascii")
        for n, v in p.items():
            if p is not None and re.search("[\udc80-\udcff]", str(v) if isinstance(v, str) else "\udc80"):
                must.append("ascii_headers: raw 8-bit in part header %s" % n)
                break
    return must, should


def check(c, msgs, case, orig):
    """One property on all matched upstream messages -> list of problems."""
    ((k, v),) = [(k, v) for k, v in c.items() if k not in ("note",)][:1]
    P = []
    if k == "count":
        return [] if len(msgs) == v else ["count: %d relayed, expected %d" % (len(msgs), v)]
    if k == "count_max":
        return [] if len(msgs) <= v else ["count: %d relayed, at most %d expected" % (len(msgs), v)]
    if k == "any_of":
        all_p = []
        for alt in v:
            p = [x for a in alt for x in check(a, msgs, case, orig)]
            if not p:
                return []
            all_p.append("; ".join(p))
        return ["any_of: " + " | ".join(all_p)]
    if k == "rcpt_union":
        got = sorted({r.lower() for m in msgs for r in m["rcpts"]})
        want = sorted(x.lower() for x in v)
        return [] if got == want else ["rcpt_union: %s, expected %s" % (got, want)]
    for m in msgs:
        fs, _ = fields(m["data"])
        head, body = split_msg(m["data"])
        if k == "header_present" and not get(fs, v):
            P.append("%s missing" % v)
        elif k == "header_absent" and get(fs, v):
            P.append("%s present: %r" % (v, get(fs, v)))
        elif k == "header_count" and len(get(fs, v[0])) != v[1]:
            P.append("%s: %d fields, expected %d" % (v[0], len(get(fs, v[0])), v[1]))
        elif k == "header_equals":
            g = [dec(x) for x in get(fs, v[0])]
            if re.sub(r"\s+", " ", v[1]).strip() not in g:
                P.append("%s is %r, expected %r" % (v[0], g, v[1]))
        elif k == "header_contains":
            g = [dec(x) for x in get(fs, v[0])]
            if not any(v[1] in x for x in g):
                P.append("%s is %r, should contain %r" % (v[0], g, v[1]))
        elif k == "header_regex":
            g = [dec(x) for x in get(fs, v[0])]
            if not any(re.search(v[1], x) for x in g):
                P.append("%s is %r, should match %r" % (v[0], g, v[1]))
        elif k == "header_addrs":
            g = sorted(a.lower() for x in get(fs, v[0]) for _, a in addrs(x)[0])
            if g != sorted(x.lower() for x in v[1]):
                P.append("%s addresses %s, expected %s" % (v[0], g, v[1]))
        elif k == "header_addr_count":
            g = [a for x in get(fs, v[0]) for _, a in addrs(x)[0]]
            if len(g) != v[1]:
                P.append("%s has %d addresses %s, expected %d" % (v[0], len(g), g[:4], v[1]))
        elif k == "from_display":
            g = [dn for x in get(fs, "From") for dn, _ in addrs(x)[0]]
            if not any(v in x for x in g):
                P.append("From display %r, should contain %r" % (g, v))
        elif k == "date_recent":
            d, e = date_of(fs)
            if e:
                P.append(e)
            else:
                if d.tzinfo is None:
                    d = d.replace(tzinfo=UTC)
                if abs((datetime.now(UTC) - d).total_seconds()) > v:
                    P.append("Date %s is not now" % d)
        elif k == "date_equals":
            d, e = date_of(fs)
            if e:
                P.append(e)
            else:
                if d.tzinfo is None:
                    d = d.replace(tzinfo=UTC)
                w = datetime.fromisoformat(v)
                if d != w:
                    P.append("Date %s, expected %s" % (d, w))
        elif k == "msgid_equals":
            if get(fs, "Message-ID") != [v.encode()]:
                P.append("Message-ID %r changed from %s" % (get(fs, "Message-ID"), v))
        elif k == "text_contains":
            if not any(nl(v) in nl(t) for t in texts(m["data"])):
                P.append("no text part contains %r (have %r)" % (v, [t[:120] for t in texts(m["data"])]))
        elif k == "text_contains_unwrapped":
            if not any(v in re.sub(r"[\r\n]", "", t) for t in texts(m["data"])):
                P.append("text lost or altered (%d chars wanted)" % len(v))
        elif k == "text_lines":
            if not any(nl(t).rstrip("\n").split("\n") == v for t in texts(m["data"])):
                P.append("text lines %r, expected %r" % ([nl(t).rstrip("\n").split("\n") for t in texts(m["data"])][:2], v))
        elif k == "raw_contains" and v.encode("latin-1") not in m["data"]:
            P.append("bytes %r not found" % v[:60])
        elif k == "raw_not_contains" and v.encode("latin-1") in m["data"]:
            P.append("bytes %r found" % v[:60])
        elif k == "anywhere":
            hay = " ".join([dec(x) for _, x in fs] + texts(m["data"])) + m["data"].decode("latin-1")
            if v not in hay:
                P.append("%r lost" % v)
        elif k == "part_sha256":
            hs = [
                hashlib.sha256(p.get_payload(decode=True) or b"").hexdigest()
                for p in mime(m["data"]).walk()
                if not p.is_multipart()
            ]
            if v not in hs:
                P.append("no part has sha256 %s..." % v[:16])
        elif k == "part_filename":
            g = []
            for p in mime(m["data"]).walk():
                f = p.get_filename()
                if f:
                    g.append(dec(f) if isinstance(f, str) and f.isascii() else str(f))
            if v not in g:
                P.append("filenames %r, expected %r" % (g, v))
        elif k in reading.CHECKS:
            P += reading.CHECKS[k](m["data"], v)
        elif k == "part_header":
            P += reading.part_header(m["data"], v, dec)
        elif k == "header_strict":
            g = [reading.strict(x) for x in get(fs, v[0])]
            if g != [v[1]]:
                P.append("%s shows as %r to a strict reader, expected %r" % (v[0], g, v[1]))
        elif k == "header_raw_regex":
            g = [x.decode("latin-1") for x in get(fs, v[0])]
            if not any(re.search(v[1], x) for x in g):
                P.append("%s is %r, should match %r" % (v[0], g, v[1]))
        elif k == "body_identical":
            ob = orig
            if case.get("wire") == "raw":  # the file holds the terminator and the dot-stuffing
                ob = re.sub(rb"(^|\r\n)\.", rb"\1", ob[:-3] if ob.endswith(b"\r\n.\r\n") else ob)
            ob = split_msg(ob)[1]
            if body != ob:
                P.append("body was altered (%d -> %d bytes)" % (len(ob), len(body)))
        elif k == "headers_kept":
            of, _ = fields(re.sub(rb"\r+\n|\r|\n", b"\r\n", orig))
            for n in v:
                if get(of, n) != get(fs, n):
                    P.append("%s altered: %r -> %r" % (n, get(of, n), get(fs, n)))
        elif k == "mail_from_regex" and not re.search(v, m["mail_from"]):
            P.append("MAIL FROM <%s>, expected %s" % (m["mail_from"], v))
        elif k == "rcpt_equals" and [r.lower() for r in m["rcpts"]] != [r.lower() for r in v]:
            P.append("RCPT %s, expected %s" % (m["rcpts"], v))
        elif k == "max_header_line":
            mx = max(len(l) for l in head.split(b"\r\n"))
            if mx > v:
                P.append("header line of %d octets" % mx)
        elif k not in (
            "header_present",
            "header_absent",
            "header_count",
            "raw_contains",
            "raw_not_contains",
            "mail_from_regex",
            "rcpt_equals",
        ):
            P.append("unknown check %r" % k)
    return P
