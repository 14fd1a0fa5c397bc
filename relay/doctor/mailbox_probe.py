"""Evidence about a mailbox at Microsoft Graph: its token, and a look at the name of its Drafts folder."""

from dataclasses import replace
from datetime import timedelta

from relay.doctor.mailbox import MailboxFacts
from relay.mail.reply import Answer
from relay.upstream.authenticate import Token, as_said
from relay.upstream.graph_api import Access, Connections, GraphApi, GraphRefused
from relay.upstream.graph_rights import DRAFT, rights_of
from relay.upstream.settings import GraphMailbox, Upstream


async def mailbox_facts(upstream: Upstream, token: Token, patience: float) -> MailboxFacts:
    """Never raises for what the world does.  `patience` in seconds for one answer."""
    found = await token(upstream)
    if isinstance(found, Answer):
        return MailboxFacts(upstream, token=found)
    rights = rights_of(found)
    if not isinstance(upstream.transport, GraphMailbox) or rights.lacks(DRAFT):
        return MailboxFacts(upstream, rights=rights)

    async def same(one: Upstream, _token: str) -> str | Answer:
        return await token(one)

    access = Access(token, as_said, same, lambda name: None)
    brief = replace(upstream, timeout=min(upstream.timeout, timedelta(seconds=patience)))
    connections = Connections()
    api = GraphApi(brief, upstream.transport, access, connections, found)
    failed, denied = None, False
    try:
        await api.ask("GET", "/mailFolders/drafts?$select=id")
    except GraphRefused as refused:
        # a token that does not name the right for this may well lack it
        denied = not rights.has(DRAFT) and refused.response is not None and refused.response.status == 403
        failed = None if denied else refused.answer
    finally:
        connections.close()
    return MailboxFacts(upstream, None, failed, rights, not denied, denied, api.peer, api.tls)
