"""The last step before a message leaves: it is signed (DKIM) for the domains in its From that have a key at this upstream."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from relay.mail.dkim import Signable, SigningTerms, signable, signature
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.dkim_keys import KeyUnusable, ready, sign
from relay.outbound.prepare import Prepared
from relay.upstream.report import Report
from relay.upstream.settings import DkimKey


@dataclass(frozen=True, slots=True)
class _InFront:
    """Content with header fields in front of it; may be iterated again."""

    fields: bytes
    content: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        yield self.fields
        yield from self.content


def prepared_and_signed(prepare: Callable[[], Prepared], keys: Sequence[DkimKey]) -> Prepared:
    """The message with a signature in front for each key whose domain is in From and has not signed yet.

    It reads the message once more than it is sent, keeps none of it, and waits for `openssl`.  If a key cannot be used, the
    message does not go unsigned: `refused` says why.
    """
    prepared = prepare()
    outgoing = prepared.outgoing
    found = signable(outgoing.content)
    wanted = keys_for(found, keys)
    if not wanted:
        return prepared
    try:
        fields = b"".join(
            signature(
                found,
                SigningTerms(key.domain, key.selector, ready(key).algorithm, outgoing.accepted_at),
                partial(sign, Path(key.key_file)),
            )
            for key in wanted
        )
    except KeyUnusable as error:
        answer = Answer(Stage.MAIL, Reply(451, "4.3.5", str(error)), fault=Fault.DKIM)
        return replace(prepared, refused=Report(dict.fromkeys(outgoing.forward_paths, answer)))
    signed = replace(outgoing, content=_InFront(fields, outgoing.content), size=outgoing.size + len(fields))
    return replace(prepared, outgoing=signed, signed=tuple(map(in_words, wanted)))


def keys_for(found: Signable, keys: Iterable[DkimKey]) -> list[DkimKey]:
    """Those whose domain is in From and has not signed yet."""
    return [key for key in keys if key.domain in found.authors - found.signers]


def in_words(key: DkimKey) -> str:
    return f"signed as {key.domain} (DKIM, selector {key.selector})"
