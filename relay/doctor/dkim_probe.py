"""Evidence about DKIM: the keys in their files, and the records in the DNS."""

import asyncio
import stat
from dataclasses import replace
from pathlib import Path

from relay.doctor.dkim import DkimFacts
from relay.doctor.spf_check import Lookup, LookupFailed
from relay.mail.dkim_record import name_of
from relay.outbound.dkim_keys import KeyUnusable, is_there, public_half
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
    path = Path(key.key_file)
    if not is_there(path):
        return DkimFacts(key)
    try:
        public = public_half(path)
        return DkimFacts(key, public, exposed=bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)))
    except (KeyUnusable, OSError) as error:
        return DkimFacts(key, unusable=str(error))
