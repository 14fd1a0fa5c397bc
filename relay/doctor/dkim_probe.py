"""Evidence about DKIM: the keys in their files, and the records in the DNS."""

import asyncio
from dataclasses import replace

from relay.doctor.dkim import DkimFacts
from relay.doctor.spf_check import Lookup, LookupFailed
from relay.mail.dkim_record import name_of
from relay.outbound.dkim_keys import KeyUnusable, existing
from relay.upstream.settings import DkimKey


async def dkim_facts(key: DkimKey, look: Lookup, seconds: float) -> DkimFacts:
    """Makes no key: who examines may be another user than the relay."""
    here = await asyncio.to_thread(_key, key)
    if here.public is None:
        return here
    try:
        async with asyncio.timeout(seconds):
            return replace(here, records=tuple(await look(name_of(key.domain, key.selector), "TXT")))
    except LookupFailed as failed:
        return replace(here, trouble=str(failed))
    except TimeoutError:
        return replace(here, trouble=f"no answer within {seconds:g} seconds")


def _key(key: DkimKey) -> DkimFacts:
    try:
        return DkimFacts(key, existing(key))
    except KeyUnusable as error:
        return DkimFacts(key, unusable=str(error))
