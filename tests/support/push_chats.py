"""More push services on loopback, which keep their documented API: Pushover, Discord, Slack, Matrix, and a plain webhook.

Pushover: https://pushover.net/api (form or multipart, one picture of 5 MB, errors with the name of the wrong field).
Discord: https://discord.com/developers/docs/resources/webhook (JSON or multipart, errors with `code` and `message`).
Slack: https://api.slack.com/messaging/webhooks (answers in plain text) and https://api.slack.com/web (200 with `ok: false`).
Matrix: https://spec.matrix.org/latest/client-server-api/ (`errcode`; an event is sent once for each transaction id).
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.support.push_services import Pushed, Service, form_of

Headers = Mapping[str, str]
Said = tuple[int, Any]


@dataclass
class Pushover(Service):
    """`user` with one `device`."""

    token: str = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
    user: str = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
    device: str = "iphone"

    def answer(self, path: str, query: Headers, headers: Headers, body: bytes) -> Said:
        said, files = form_of(headers, body)
        wrong = [name for name, right in (("token", self.token), ("user", self.user)) if said.get(name) != right]
        wrong += ["device"] if said.get("device") not in (None, "ALL_DEVICES", self.device) else []
        if wrong:
            return self._refused(wrong[0], "is invalid")
        if path == "/1/users/validate.json":
            return 200, {"status": 1, "group": 0, "devices": [self.device], "licenses": ["iOS"], "request": "r"}
        if path != "/1/messages.json":
            return 404, {"status": 0, "errors": ["unknown"], "request": "r"}
        if not said.get("message", "").strip():
            return self._refused("message", "cannot be blank")
        if len(said["message"]) > 1024 or len(said.get("title", "")) > 250:
            return self._refused("message", "is too long")
        if any(len(one) > 5_242_880 for one in files.values()):
            return 413, {"status": 0, "attachment": "is too large", "errors": ["attachment is too large"], "request": "r"}
        self.pushed.append(Pushed(path, said.get("title", ""), said["message"], files, said["user"]))
        return 200, {"status": 1, "request": "r"}

    @staticmethod
    def _refused(name: str, why: str) -> Said:
        words = {"user": "user identifier", "token": "application token"}.get(name, name)
        value = "invalid" if why == "is invalid" else why
        return 400, {name: value, "errors": [f"{words} {why}"], "status": 0, "request": "r"}


@dataclass
class Discord(Service):
    place: str = "123456789012345678"
    token: str = "AbCdEfGhIjKlMnOpQrStUvWxYz"
    largest: int = 10 << 20

    def answer(self, path: str, query: Headers, headers: Headers, body: bytes) -> Said:
        if wrong := self._wrong(path):
            return wrong
        said, files = form_of(headers, body)
        said = json.loads(said["payload_json"]) if "payload_json" in said else said
        text = said.get("content") or ""
        if len(text) > 2000:
            return 400, {"message": "Invalid Form Body", "code": 50035, "errors": {"content": {}}}
        if not text and not said.get("embeds") and not files:
            return 400, {"message": "Cannot send an empty message", "code": 50006}
        if sum(map(len, files.values())) > self.largest:
            return 413, {"message": "Request entity too large", "code": 40005}
        self.pushed.append(Pushed("", "", text, files, self.place))
        return (200, {"id": "1", "content": text}) if query.get("wait") == "true" else (204, "")

    def look(self, path: str, query: Headers, headers: Headers) -> Said:
        return self._wrong(path) or (200, {"id": self.place, "type": 1, "name": "alarms", "token": self.token})

    def _wrong(self, path: str) -> Said | None:
        place, _, token = path.removeprefix("/api/webhooks/").partition("/")
        if place != self.place:
            return 404, {"message": "Unknown Webhook", "code": 10015}
        return (401, {"message": "Invalid Webhook Token", "code": 50027}) if token != self.token else None


@dataclass
class Slack(Service):
    """Incoming webhooks, and a bot that is a member of `channels`; an upload is in `pushed` once it is completed.

    `no_files`: why the bot may upload nothing, in Slack's word for it; "" if it may.
    """

    hook: str = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    token: str = "xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d"
    channels: Mapping[str, str] = field(default_factory=lambda: {"#alarms": "C0ALARMS1"})
    uploads: dict[str, bytes] = field(default_factory=dict)
    no_files: str = ""

    def answer(self, path: str, query: Headers, headers: Headers, body: bytes) -> Said:
        if path.startswith("/services/"):
            return self._by_hook(path.removeprefix("/services/"), body)
        if path.startswith("/upload/"):
            _, files = form_of(headers, body)
            [self.uploads[path.rpartition("/")[2]]] = files.values()
            return 200, f"OK - {len(body)}"
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 200, {"ok": False, "error": "invalid_auth"}
        method, said = path.removeprefix("/api/"), json.loads(body or b"{}")
        if method == "auth.test":
            return 200, {"ok": True, "url": "https://home.slack.com/", "team": "home", "user": "alarms", "bot_id": "B1"}
        if method == "chat.postMessage":
            channel = self.channels.get(said.get("channel", ""))
            if channel is None:
                return 200, {"ok": False, "error": "channel_not_found"}
            title, text = _slack_text(said)
            self.pushed.append(Pushed(path, title, text, to=channel))
            return 200, {"ok": True, "channel": channel, "ts": "1503435956.000247", "message": {"text": text}}
        if method == "files.completeUploadExternal":
            files = {one["title"]: self.uploads.pop(one["id"]) for one in said["files"]}
            self.pushed.append(Pushed(path, files=files, to=said["channel_id"]))
            return 200, {"ok": True, "files": said["files"]}
        return 200, {"ok": False, "error": "unknown_method"}

    def look(self, path: str, query: Headers, headers: Headers) -> Said:
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 200, {"ok": False, "error": "invalid_auth"}
        if path != "/api/files.getUploadURLExternal" or not query.get("filename") or not query.get("length", "").isdigit():
            return 200, {"ok": False, "error": "invalid_arguments"}
        if self.no_files:
            return 200, {"ok": False, "error": self.no_files}
        return 200, {"ok": True, "upload_url": "https://files.slack.com/upload/v1/F0PICTURE", "file_id": "F0PICTURE"}

    def _by_hook(self, hook: str, body: bytes) -> Said:
        if hook != self.hook:
            return (403, "invalid_token") if hook.startswith(self.hook.rpartition("/")[0]) else (404, "no_service")
        title, text = _slack_text(json.loads(body))
        if not text:
            return 400, "no_text"
        self.pushed.append(Pushed("", title, text))
        return 200, "ok"


def _slack_text(said: Mapping[str, Any]) -> tuple[str, str]:
    [one] = said.get("attachments") or [{"text": said.get("text", "")}]
    return one.get("title", ""), one.get("text", "")


@dataclass
class Matrix(Service):
    """One user, in one room; an unencrypted one.  `logins` counts the devices that were made, `logouts` those that ended."""

    user: str = "relay"
    password: str = "open-sesame-88"
    token: str = "syt_cmVsYXk_longAccessToken_1x2y3z"
    room: str = "#alarms:127.0.0.1"
    logins: int = 0
    logouts: int = 0
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    media: dict[str, bytes] = field(default_factory=dict)
    largest: int = 50 << 20

    def answer(self, path: str, query: Headers, headers: Headers, body: bytes) -> Said:
        if path == "/_matrix/client/v3/login":
            said = json.loads(body)
            if (said["identifier"]["user"], said["password"]) != (self.user, self.password):
                return 403, {"errcode": "M_FORBIDDEN", "error": "Invalid username or password"}
            self.logins += 1
            return 200, {"user_id": f"@{self.user}:127.0.0.1", "access_token": self.token, "device_id": f"D{self.logins}"}
        if wrong := self._wrong(headers):
            return wrong
        if path == "/_matrix/media/v3/upload" and len(body) > self.largest:
            return 413, {"errcode": "M_TOO_LARGE", "error": "Cannot upload files larger than that"}
        if path == "/_matrix/media/v3/upload":
            self.media[f"mxc://127.0.0.1/m{len(self.media)}"] = body
            return 200, {"content_uri": list(self.media)[-1]}
        verb, _, rest = path.removeprefix("/_matrix/client/v3/").partition("/")
        if verb == "join" and unquote(rest) == self.room:
            return 200, {"room_id": "!room1:127.0.0.1"}
        if verb == "rooms" and (sent := re.fullmatch(r"!room1:127\.0\.0\.1/send/m\.room\.message/(.+)", unquote(rest))):
            if sent[1] not in self.events:  # the same transaction again is the same event
                self.events[sent[1]] = said = json.loads(body)
                picture = {said["body"]: self.media[said["url"]]} if said["msgtype"] == "m.image" else {}
                self.pushed.append(Pushed("", "", "" if picture else said["body"], picture, self.room))
            return 200, {"event_id": f"$event{list(self.events).index(sent[1])}"}
        if verb == "logout":
            self.logouts += 1
            return 200, {}
        return 404, {"errcode": "M_NOT_FOUND", "error": "Room alias not found"}

    def look(self, path: str, query: Headers, headers: Headers) -> Said:
        if path == "/_matrix/client/v3/login":
            return 200, {"flows": [{"type": "m.login.password"}]}
        if path.endswith("/account/whoami"):
            return self._wrong(headers) or (200, {"user_id": f"@{self.user}:127.0.0.1", "device_id": "D1"})
        return 404, {"errcode": "M_NOT_FOUND", "error": "Not found"}

    def _wrong(self, headers: Headers) -> Said | None:
        if headers.get("Authorization") == f"Bearer {self.token}":
            return None
        return 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."}


@dataclass
class Hook(Service):
    """What somebody wrote himself: takes JSON at one path."""

    path: str = "/mail-x7"

    def answer(self, path: str, query: Headers, headers: Headers, body: bytes) -> Said:
        if path != self.path:
            return 404, {"error": "no such hook"}
        said = json.loads(body)
        files = {one["filename"]: base64.b64decode(one["base64"]) for one in said["attachments"]}
        self.pushed.append(Pushed(path, said["title"], said["message"], files))
        return 200, {}
