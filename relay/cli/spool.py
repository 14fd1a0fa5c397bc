"""`relay spool`: a spool's tables are made, or all that it has moves into another one."""

import argparse
import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from relay.cli.common import complain, in_words, load_config, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config.scalars import Wrong, spool_url
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.move_spool import move


def call(asked: argparse.Namespace) -> int:
    known = _configured(asked)
    try:
        urls = [spool_url(url) for url in (getattr(asked, "source", ""), asked.target or known.url) if url]
    except Wrong as wrong:
        complain(f"relay spool {asked.act}: expected {wrong.expected}")
        return USAGE
    try:
        if asked.act == "prepare":
            return asyncio.run(_prepare(_settings(known, urls[-1])))
        if urls[0] == urls[1]:
            complain("relay spool move: both are the same spool")
            return USAGE
        if missing := _missing(urls[0]):
            complain(f"relay spool move: {missing}: no such spool")
            return USAGE
        return asyncio.run(_move(_settings(known, urls[0]), _settings(known, urls[1]), asked))
    except (SpoolBroken, SpoolFull, OSError) as error:
        complain(f"relay: {in_words(error)}", *(["Run it again: it goes on where it stopped."] if asked.act == "move" else []))
        return PROBLEM


def _configured(asked: argparse.Namespace) -> SpoolSettings:
    """Limits and the password are those of the configuration, if there is one without mistakes."""
    loaded = load_config(asked)
    return loaded.config.spool if loaded.config else SpoolSettings(url="")


def _settings(known: SpoolSettings, url: str) -> SpoolSettings:
    """A password goes to the server that it was given for, and to no other."""
    return replace(known if url == known.url else replace(known, password=SpoolSettings().password), url=url, fallback="")


def _missing(url: str) -> str:
    """The path of a spool in a file that is not there: opened as a source, a mistyped one would be made, and be empty."""
    scheme, _, place = url.partition(":")
    try:
        if scheme == "sqlite":
            Path(place).stat()
    except FileNotFoundError:
        return place
    return ""


def _now() -> datetime:
    return datetime.now(UTC)


async def _prepare(settings: SpoolSettings) -> int:
    spool = await open_spool(settings, now=_now)
    await spool.close()
    print(f"The tables in {settings.shown} are up to date.")
    return FINE


async def _move(source: SpoolSettings, target: SpoolSettings, asked: argparse.Namespace) -> int:
    theirs = await open_spool(source, now=_now)
    try:
        await _alone(theirs)
        ours = await open_spool(target, now=_now)
        try:
            moved = await move(theirs, ours, _now, _told)
        finally:
            await ours.close()
    finally:
        await theirs.close()
    if asked.json:
        print_json({"moved": moved})
    else:
        print(f"moved {moved} message{'' if moved == 1 else 's'} from {source.shown} to {target.shown}")
    return FINE


async def _alone(spool: Spool) -> None:
    """What a relay sends while it moves would be sent twice.  Raises SpoolBroken."""
    alive = [peer.name for peer in (await spool.tally()).peers if peer.alive]
    if alive:
        raise SpoolBroken(f"{', '.join(alive)} uses the spool that is to be moved; stop it first (then wait 30 seconds)")


def _told(moved: int) -> None:
    if sys.stderr.isatty() and moved % 100 == 0:
        print(f"\r{moved} moved", end="", file=sys.stderr)
