"""What a domain asks receivers to do with mail in its name that is not aligned.  RFC 7489, RFC 9091.  Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from relay.doctor.spf_check import Lookup

_TAG = re.compile(r"\s*([a-z]+)\s*=(.*)\Z", re.IGNORECASE | re.DOTALL)
_POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Dmarc:
    """What was found for a domain.  `policy` "" where none applies; `strict`: SPF aligns by the very same domain only.

    `domain` is where the record stands: the domain itself or its organisational domain.  `mistake` in words, "" if sound.
    """

    domain: str = ""
    record: str = ""
    policy: str = ""
    strict: bool = False
    mistake: str = ""

    @property
    def enforced(self) -> bool:
        return self.policy in ("quarantine", "reject")


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()  # type: ignore[no-untyped-call,unused-ignore]


@lru_cache(maxsize=256)
def organisational(domain: str) -> str:
    """The registered domain that a name belongs to, by the public suffix list; the name itself if it is a suffix."""
    name = domain.lower().rstrip(".")
    return str(_suffixes().privatesuffix(name) or name)


def aligned(one: str, other: str, *, strict: bool = False) -> bool:
    """Whether two domains are the same to DMARC (RFC 7489 s3.1)."""
    if strict:
        return one.lower().rstrip(".") == other.lower().rstrip(".")
    return organisational(one) == organisational(other)


async def find(domain: str, lookup: Lookup) -> Dmarc:
    """The record that applies to a domain (RFC 7489 s6.6.3).  Raises LookupFailed."""
    for place in dict.fromkeys((domain.lower().rstrip("."), organisational(domain))):
        found = read(place, await lookup(f"_dmarc.{place}", "TXT"), below=place != domain.lower().rstrip("."))
        if found.record:
            return found
    return Dmarc()


def read(place: str, records: Sequence[str], *, below: bool = False) -> Dmarc:
    """The policy in the TXT records of `_dmarc.<place>`; `below`: for a subdomain of it."""
    dmarc = [record for record in records if re.match(r"v\s*=\s*DMARC1\s*(;|\Z)", record)]
    if not dmarc:
        near = next((record for record in records if "dmarc1" in record.lower()), "")
        return Dmarc(place, near, mistake="it does not begin with v=DMARC1") if near else Dmarc()
    if len(dmarc) > 1:
        return Dmarc(place, dmarc[0], mistake=f"there are {len(dmarc)} records, so none counts")
    tags: dict[str, str] = {}
    mistake = ""
    for part in dmarc[0].split(";"):
        if not part.strip():
            continue
        if tag := _TAG.match(part):
            tags.setdefault(tag[1].lower(), tag[2].strip())
        else:
            mistake = mistake or f"'{part.strip()}' is no tag"
    policy = (tags.get("sp", "") if below else "") or tags.get("p", "")
    if policy.lower() not in _POLICIES:
        mistake = f"'p={policy}' is none of none, quarantine and reject" if policy else "it says no p="
        policy = "none" if tags.get("rua") else ""
    return Dmarc(place, dmarc[0], policy.lower(), tags.get("aspf", "r").lower() == "s", mistake)
