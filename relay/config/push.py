"""A push service of the settings: its URLs, which are secrets, and how its messages look."""

import importlib.util
import re

from relay.config.fields import Fields
from relay.config.scalars import Wrong, text
from relay.upstream.file_names import fields_in
from relay.upstream.settings import Limits, PushService

PUSH_LIMITS = Limits(connections=1)
"""Each connection is a process of 40 MB."""

_NAMES = ("device", "subject", "sender")
_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def read_push(at: Fields) -> PushService | None:
    """The push service, if the upstream is one.  No URL is shown, whatever is wrong with it."""
    title, attachments = at.get("title", _title, PushService(()).title), at.flag("attachments", True)
    if not at.said("push") and not at.said("push_file"):
        for key in ("title", "attachments"):
            if at.said(key):
                at.mistake(key, "expected push or push_file beside it, found nothing")
        return None
    found = at.secrets("push", "a notification URL such as ntfy://ntfy.example/topic")
    for key in ("push", "push_file"):
        if at.said(key) and not at.each(key):
            at.mistake(key, "expected notification URLs, found nothing")
    service = PushService(tuple(secret for *_, secret in found), title, attachments)
    key = found[0][0] if found else "push"
    if importlib.util.find_spec("apprise") is None:
        at.mistake(key, "expected the library Apprise on this machine, found none; pip install 'lan-mail-relay[push]'")
    elif found and not at.reading.quick:
        for (said, place, where, _), wrong in zip(found, _wrong(at, key, service), strict=True):
            if wrong:
                at.reading.mistake(place, at.path_of(said), f"expected {_WRONG[wrong]}, found another{where}")
    return service


_WRONG = {
    "unknown": "a notification URL that Apprise understands (https://appriseit.com/services/)",
    "package": "a service whose own Python package is installed",
}


def _wrong(at: Fields, key: str, service: PushService) -> tuple[str, ...]:
    from relay.upstream.push.process import ProcessLost, misunderstood

    urls = tuple(url.reveal() for url in service.urls)
    sound = tuple(url for url in urls if _FORM.fullmatch(url))
    try:
        found = dict(zip(sound, misunderstood(sound), strict=True)) if sound else {}
        return tuple(found.get(url, "unknown") for url in urls)
    except ProcessLost as lost:
        at.mistake(key, f"expected to have the URLs looked at, found that {lost}")
        return ("",) * len(urls)


def _title(value: str) -> str:
    if unknown := [name for name in fields_in(value) if name not in _NAMES]:
        raise Wrong(f"a title with no other names than {', '.join('{' + name + '}' for name in _NAMES)}", f"{{{unknown[0]}}}")
    return text(value)
