"""The library Apprise, as this relay uses it: one URL, one message, one Outcome.  Runs in the push process."""

import importlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from relay.mail.readable_body import Picture, Readable
from relay.mail.reply import Fault
from relay.upstream.push.check_calls import Proof
from relay.upstream.push.frames import Outcome
from relay.upstream.push.http_watch import Examination, Stopped, Watch, watching

_CUT = " ..."
_MOST_WORDS = 5  # lines of the library that are kept
_SENDING = 5  # times the time-out for one answer
_BESIDE = 16  # characters that the library keeps free for a counter and a line end, where the title is part of the text
_CONNECTING = 20.0  # seconds at most
_CONTENT = frozenset({400, 413, 414, 415, 422, 431})
"""What a service may say of a picture: the text is tried without it."""

_TOO_LARGE, _UNSUITED = 413, 415
_SHORT = 1000  # characters; the text is tried so where even without pictures it is too large
_NTFY_OCTETS, _NTFY_JSON = 4096, 7400  # a longer text would become a file; a larger request is refused (8192 with all else)


def known(url: str) -> str:
    """ "" if a service can be made of the URL; "package" if that needs one that is not installed; else "unknown"."""
    apprise = importlib.import_module("apprise")
    if _service(url) is not None:
        return ""
    plugin = apprise.manager_plugins.NotificationManager()
    scheme = url.partition(":")[0].strip().lower()
    return "package" if scheme in plugin and not plugin[scheme].enabled else "unknown"


def send(url: str, title: str, message: Readable, timeout: float, ask: Callable[[str, str], bool], *, examine: bool) -> Outcome:
    """Sends the message by one URL.  `examine`: asks whether it could, or connects only, and `ask` says no."""
    try:
        service = _made(url, timeout)
    except ImportError as error:  # an update that is half done, or that has removed it
        return Outcome(False, fault=Fault.INTERNAL.value, words=(f"Apprise cannot be loaded: {error}",))
    if service is None:
        return Outcome(False, status=404, words=("the library does not understand the URL any more",))
    over_http = _over_http(service)
    if examine:
        return _examined(service, url, ask, timeout) if over_http else Outcome(False, service=_name(service))
    watch = Watch(ask, _SENDING * timeout)
    if not over_http and not ask("", ""):  # the library says nothing about its connection: it may go out from here on
        return Outcome(False, service=_name(service), fault=Fault.UNANSWERED.value)
    pictures, left = _fitting(service, message.pictures)
    found = _one(service, url, watch, title, message.text, pictures)
    if not found.taken and pictures and not found.fault:
        refused = f"pictures were refused: HTTP {found.status} {found.said}".rstrip()
        # some refuse by 200 and a word
        for_good = found.blocked or found.status in _CONTENT or found.status < 300
        if watch.text_taken and len(service) == 1 and for_good:
            # the text went first: it would come again at every try
            found = Outcome(True, status=found.status, said=refused, cut=found.cut, left=_not_taken(pictures, watch.taken))
        elif found.status in _CONTENT and not found.blocked:
            text = _one(_made(url, timeout), url, watch, title, message.text, ())
            found, left = replace(text, said="; ".join(filter(None, (text.said, refused)))), left + len(pictures)
    if found.status == _TOO_LARGE and not found.fault and len(message.text) > _SHORT:
        found = _one(_made(url, timeout), url, watch, title, shortened(message.text, _SHORT), ())
        found = replace(found, cut=found.cut or _SHORT)
    return replace(
        found,
        service=_name(service),
        peer=watch.peer,
        tls=watch.tls,
        left=found.left + left + message.too_large,
        others=message.others,
    )


def _not_taken(pictures: Sequence[Picture], taken: int) -> int:
    """How many pictures are not among the octets that were taken."""
    return sum(total > taken for total in accumulate(len(one.content) for one in pictures))


def _examined(service: Any, url: str, ask: Callable[[str, str], bool], timeout: float) -> Outcome:
    """What is known of one URL within `timeout` seconds."""
    service.request_rate_per_sec = 0  # between two targets of one URL
    watch = Examination(ask, timeout, service=_name(service))

    def late(*_: object) -> None:
        watch.bad = watch.bad or {"fault": Fault.TIMED_OUT.value}
        raise Stopped

    found = Outcome(False)
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout)  # the library's time-outs are for the next octet
    try:
        found = _one(service, url, watch, "Test", "Test", ())
    except Stopped:  # late, but before it has begun or after it has ended
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if watch.bad:
        found = Outcome(False, words=found.words, **{"status": 0, **watch.bad})
    elif watch.proved is not Proof.NOTHING:
        found = Outcome(False, status=watch.status, proved=watch.proved.value)
    known = replace(found, sent=False, unclear=watch.unclear, service=_name(service))
    return replace(known, peer=watch.peer, tls=watch.tls)


def _service(url: str) -> Any:
    apprise = importlib.import_module("apprise")
    asset = apprise.AppriseAsset(
        app_id="lan-mail-relay",
        app_desc="Mail relay",
        app_url="",
        image_url_mask="",  # else each phone fetches an icon from elsewhere
        image_url_logo="",
        http_redirects=False,  # a redirected POST would tell its secrets to somebody else
        async_mode=False,
    )
    with suppress(Exception):
        return apprise.Apprise.instantiate(url, asset=asset)
    return None


def _made(url: str, timeout: float) -> Any:
    """A fresh service.  The library waits for four seconds, in which a picture does not get through a slow line."""
    service, said = _service(url), parse_qs(urlsplit(url).query)
    if service is None:
        return None
    if "cto" not in said:
        service.socket_connect_timeout = min(timeout, _CONNECTING)
    if "rto" not in said:
        service.socket_read_timeout = timeout
    return service


def _over_http(service: Any) -> bool:
    return any("requests" in vars(sys.modules[kind.__module__]) for kind in type(service).__mro__[:-1] if _is_plugin(kind))


def _is_plugin(kind: type) -> bool:
    return kind.__module__.startswith("apprise.plugins.") and kind.__module__ != "apprise.plugins.base"


def _name(service: Any) -> str:
    return str(service.service_name or "")


def _fitting(service: Any, pictures: Sequence[Picture]) -> tuple[tuple[Picture, ...], int]:
    """The pictures that this service takes, and how many are left out."""
    if not service.attachment_support:
        return (), len(pictures)
    most = getattr(service, "attach_max_size_bytes", 0)
    fitting = tuple(one for one in pictures if not most or len(one.content) <= most)
    return fitting, len(pictures) - len(fitting)


def _one(service: Any, url: str, watch: Watch, title: str, text: str, pictures: Sequence[Picture]) -> Outcome:
    apprise = importlib.import_module("apprise")
    own = "overflow" in parse_qs(urlsplit(url).query)
    title, body, cut = (title, text, 0) if own else fitted(service, title, text)
    body = body or ("" if pictures else title or "(no text)")
    overflow = None if own or len(pictures) > 1 else apprise.OverflowMode.TRUNCATE  # that leaves one attachment only
    words, crash = _Words(), ""
    watch.bad, watch.octets, watch.taken, watch.text_taken, watch.word = {}, 0, 0, False, _word_of(body)
    logger = logging.getLogger("apprise")
    logger.addHandler(words)
    try:
        with watching(watch), _attached(pictures) as attach:
            taken = bool(
                service.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT, attach=attach, overflow=overflow)
            )
    except Stopped:
        return Outcome(False, fault=Fault.UNANSWERED.value)
    except Exception as error:  # a library's surprise is no reason to end
        taken, crash = False, f"the library failed: {type(error).__name__}"
        if pictures and not watch.bad:
            watch.bad = {"status": _UNSUITED, "said": crash}
    finally:
        logger.removeHandler(words)
    if taken:
        # some services take pictures, but not by every kind of URL: the library drops them then
        dropped = 0 < watch.octets < sum(len(one.content) for one in pictures)
        left = len(pictures) if dropped else 0
        return Outcome(True, status=watch.status, words=tuple(words.lines), cut=cut, left=left)
    said = (*words.lines, *([crash] if crash else []))
    return Outcome(False, words=said, cut=cut, **({"status": 0, **watch.bad} if watch.bad else {"status": watch.status}))


def _word_of(text: str) -> tuple[bytes, ...]:
    """The longest word, as JSON, forms and plain text have it; none where it could be met by accident."""
    word = max(re.findall(r"[^\W_]{4,}", text), key=len, default="")[:40]
    forms = {word, json.dumps(word)[1:-1], quote(word)} if word else ()
    return tuple(form.encode() for form in forms)


@contextmanager
def _attached(pictures: Sequence[Picture]) -> Iterator[Any]:
    """The pictures as the library takes them: files in memory, since for some services it opens them by a path."""
    if not pictures:
        yield None
        return
    file = importlib.import_module("apprise.attachment.file").AttachFile
    memory = importlib.import_module("apprise.attachment.memory").AttachMemory
    with ExitStack() as files:
        made = []
        for one in pictures:
            try:
                place = files.enter_context(os.fdopen(os.memfd_create("picture"), "wb"))
            except (AttributeError, OSError):  # kernels before 3.17, as an old NAS has
                made.append(memory(content=one.content, name=one.name, mimetype=one.kind))
                continue
            place.write(one.content)
            place.flush()
            made.append(file(path=f"/proc/self/fd/{place.fileno()}", name=one.name, mimetype=one.kind))
        yield importlib.import_module("apprise").AppriseAttachment(made)


def fitted(service: Any, title: str, text: str) -> tuple[str, str, int]:
    """Title and text as long as the service takes them; to how many characters the text was cut (0: not cut)."""
    room = int(service.body_maxlen)
    if service.title_maxlen > 0:
        title = shortened(title, int(service.title_maxlen))
    if service.title_maxlen <= 0 or service.overflow_amalgamate_title:
        title = shortened(title, room // 2)
        room -= len(title) + _BESIDE
    short = shortened(text, room)
    if service.service_name == "ntfy":
        short = _for_ntfy(title, short)
    return title, short, len(short) if short != text else 0


def _for_ntfy(title: str, text: str) -> str:
    """The library writes JSON in ASCII, where a letter of another script has six octets or twelve."""
    room = _NTFY_JSON - len(json.dumps(title))
    while len(text) > 1 and (over := max(len(text.encode()) - _NTFY_OCTETS, len(json.dumps(text)) - room)) > 0:
        text = shortened(text, len(text) - max(1, over // 12))
    return text


def shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[: max(0, most - len(_CUT))].rstrip() + _CUT if most > len(_CUT) else text[: max(0, most)]


class _Words(logging.Handler):
    """The library's warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            if len(self.lines) < _MOST_WORDS:
                self.lines.append(re.sub(r"\s+", " ", record.getMessage())[:500])
