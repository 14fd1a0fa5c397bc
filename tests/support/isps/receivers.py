"""Hosts that judge who delivers to them: Gmail by SPF, iCloud by the Spamhaus PBL, docomo by acquaintance."""

from collections import Counter

from tests.support.isps import spf
from tests.support.isps.host import Host, Talk
from tests.support.isps.internet import DOCOMO, GMAIL_MX, ICLOUD, ZONE, Internet
from tests.support.upstream import Action, Message

UNAUTHENTICATED = (
    "550 5.7.26 This mail has been blocked because the sender is unauthenticated.\n"
    "550 5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM."
)
BUSY = "421 mfsmax.docomo.example Service not available, closing transmission channel"


class GmailMx(Host):
    """Looks up SPF of the envelope sender for the address that delivers, and refuses after the content what fails."""

    def __init__(self, net: Internet) -> None:
        super().__init__(net, GMAIL_MX, domains=frozenset({"gmail.example"}), name="mx.gmail.example")

    def judge(self, step: str, argument: str, talk: Talk) -> Action:
        if step == "DOT" and self._check(talk.sender, talk.peer) == "fail":
            return UNAUTHENTICATED
        return None

    def _check(self, sender: str, peer: str) -> str:
        return spf.check(ZONE, sender.rpartition("@")[2].lower(), peer)

    def spf_of(self, message: Message, peer: str) -> str:
        return self._check(message.reverse_path, peer)


class ICloudMx(Host):
    """Takes nothing from consumer addresses."""

    def __init__(self, net: Internet) -> None:
        super().__init__(net, ICLOUD, domains=frozenset({"icloud.example"}), name="mx.icloud.example")

    def judge(self, step: str, argument: str, talk: Talk) -> Action:
        if step == "RCPT" and talk.peer in self.net.pbl:
            where = f"http://www.spamhaus.org/query/bl?ip={talk.peer}"
            listed = "was rejected due to listing in Spamhaus PBL. For details please see"
            return f"550 5.7.1 Mail from IP {talk.peer} {listed} {where}"
        return None


class DocomoMx(Host):
    """Puts off whom it has not seen before, and dynamic addresses always; who may come in is served slowly."""

    def __init__(self, net: Internet) -> None:
        slow = {"CONNECT": 0.2, "EHLO": 0.2, "MAIL": 0.3, "RCPT": 0.3, "DOT": 0.6}
        domains = frozenset({"docomo.example"})
        super().__init__(net, DOCOMO, domains=domains, name="mfsmax.docomo.example", delays=slow)
        self._seen: Counter[str] = Counter()

    def judge(self, step: str, argument: str, talk: Talk) -> Action:
        if step != "CONNECT":
            return None
        self._seen[talk.peer] += 1
        return BUSY if talk.peer in self.net.pbl or self._seen[talk.peer] == 1 else None
