"""Messages by Microsoft Graph, against a server on loopback that keeps Microsoft's documented rules.

Transports ── sendMail, drafts, upload sessions ──> relay/cli/demo_graph.py
"""

import asyncio
import base64
import gc
import itertools
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
import trustme

from relay.cli.demo_graph import GraphCloud, GraphTrouble, graph_cloud
from relay.mail.address import parse_address
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.mail.rewrite import Identity
from relay.outbound.replies import Blame, Fate, judge
from relay.upstream.graph_api import Access, Connections, GraphApi, GraphRefused
from relay.upstream.graph_message import LARGEST_ATTACHMENT
from relay.upstream.http_session import HttpLost, HttpOrigin
from relay.upstream.report import Report
from relay.upstream.settings import Auth, Grant, GraphMailbox, Limits, Login, OAuth, Tls, TlsMode, Upstream
from relay.upstream.transports import Means, Transports
from tests.support.oauth import jwt
from tests.support.sending import server_context

NAS = "nas@company.example"
MB = 1_000_000


def mailbox(url, *, save=True, timeout=5.0, tls=None, limits=None):
    login = Login(Auth.XOAUTH2, NAS, oauth=OAuth("microsoft", "app", grant=Grant.CLIENT_CREDENTIALS))
    made = GraphMailbox(url, login, save, tls or Tls(TlsMode.IMPLICIT))
    sender = Identity(parse_address(NAS))
    return Upstream("m365", made, sender, limits or Limits(), timedelta(seconds=timeout), "outlook")


def letter(*to, header="", body=b"hello\r\n", paths=None, sender=NAS):
    """A message whose To names these; its envelope, too, unless `paths` says otherwise."""
    names = f"To: {', '.join(to)}\r\n" if to else ""
    head = f"From: NAS <{sender}>\r\n{names}Subject: test\r\nMessage-ID: <one@nas>\r\n{header}\r\n".encode()
    blocks = [head, *(body[place : place + 65536] for place in range(0, len(body), 65536))]
    forward = tuple(map(parse_address, to if paths is None else paths))
    return Outgoing("q1", parse_address(sender), forward, blocks, sum(map(len, blocks)))


def scan(octets, *to, text=b"A page.\r\n", more=b"", **settings):
    """A scanner's mail: a text, and a PDF of so many octets."""
    pdf = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\n" + text + b"--b\r\nContent-Type: application/pdf; name=scan.pdf\r\n"
        b'Content-Disposition: attachment; filename="scan.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + pdf
        + more
        + b"--b--\r\n"
    )
    header = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
    return letter(*(to or ("a@x.example",)), header=header, body=body, **settings)


@dataclass
class World:
    """A Graph server, and the transports that speak to it with its tokens."""

    cloud: GraphCloud
    transports: Transports
    token: str
    renewals: list[str]

    async def send(self, outgoing, **settings) -> Report:
        return await self.transports.submit(mailbox(self.cloud.url, **settings), outgoing)

    async def one(self, outgoing, **settings) -> Answer:
        [answer] = set((await self.send(outgoing, **settings)).answers.values())
        return answer


@asynccontextmanager
async def graph(**settings):
    async with graph_cloud(NAS, **settings) as cloud:
        world = World(cloud, None, cloud.new_token(), [])

        async def token(_upstream):
            return world.token

        async def renewed(_upstream, old):
            world.renewals.append(old)
            world.token = cloud.new_token()
            return world.token

        async def refused(_upstream, _old, answer):
            return replace(answer, fault=Fault.TOKEN_NEW)

        world.transports = Transports(Means("relay.test", token=token, refused=refused, renewed=renewed))
        try:
            yield world
        finally:
            await world.transports.close()


async def answer_at(url, given="a-token"):
    """What comes of a message to whatever is there."""

    async def token(_upstream):
        return given

    transports = Transports(Means("relay.test", token=token))
    [answer] = (await transports.submit(mailbox(url), letter("a@x.example"))).answers.values()
    await transports.close()
    return answer


async def is_garbage(serve):
    """The message is kept where a server so answers."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    answer = await answer_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    server.close()
    assert answer.fault is Fault.GARBAGE
    assert judge(answer).fate is Fate.DEFERRED


def parts_of(content):
    message = message_from_bytes(content, policy=policy.default)
    return message, {part.get_filename(): part for part in message.iter_attachments()}


class TestSmall:
    """What one request holds goes as it is."""

    async def test_the_message_goes_as_it_is(self):
        """202 is success; header fields and body arrive octet for octet; the trail has Graph's words."""
        async with graph() as world:
            report = await world.send(letter("a@x.example", header="X-Odd:  two  blanks\r\n"))
            [answer] = report.answers.values()
            assert (answer.stage, answer.reply.code) == (Stage.CONTENT, 250)
            assert "202" in answer.reply.text
            [sent] = world.cloud.box
            assert b"X-Odd:  two  blanks\r\n" in sent.mime
            assert sent.mime.endswith(b"\r\n\r\nhello\r\n")
            assert sent.saved
            assert report.conversation.peer == f"127.0.0.1:{world.cloud.port}"
            assert report.conversation.mechanism

    async def test_no_copy_stays_unless_it_is_asked_for(self):
        """MIME cannot say so to sendMail; a draft that is deleted once sent can."""
        async with graph() as world:
            assert (await world.one(letter("a@x.example"), save=False)).reply.code == 250
            assert [sent.saved for sent in world.cloud.box] == [False]
            assert world.cloud.drafts == {}

    async def test_without_mail_read_write_a_copy_stays_and_the_trail_says_so(self):
        """The application may only send."""
        async with graph(rights=("Mail.Send",)) as world:
            report = await world.send(letter("a@x.example"), save=False)
            assert [sent.saved for sent in world.cloud.box] == [True]
            assert any("Mail.ReadWrite" in note for note in report.conversation.notes)

    async def test_a_token_that_does_not_tell_its_rights(self):
        """Personal accounts have such: a draft is tried, and a denial found out once for each token."""
        async with graph() as world:
            world.token = "opaque"
            world.cloud.tokens.add("opaque")
            assert (await world.one(letter("a@x.example"), save=False)).reply.code == 250
            world.cloud.rights = ("Mail.Send",)
            notes = [(await world.send(letter("a@x.example"), save=False)).conversation.notes for _ in range(2)]
            assert [sent.saved for sent in world.cloud.box] == [False, True, True]
            assert all("Mail.ReadWrite" in note for [note] in notes)
            assert [path for _, path in world.cloud.requests[-2:]] == ["/sendMail", "/sendMail"]
            world.token = "opaque, and newer"
            world.cloud.tokens.add(world.token)
            world.cloud.rights += ("Mail.ReadWrite",)
            await world.send(letter("a@x.example"), save=False)
            assert not world.cloud.box[-1].saved

    async def test_a_token_that_does_not_tell_its_rights_and_may_do_nothing(self):
        """Then it is the account's fault, and nothing is remembered: the right may come at any time."""
        async with graph(rights=()) as world:
            world.token = "opaque"
            world.cloud.tokens.add("opaque")
            assert judge(await world.one(letter("a@x.example"), save=False)).rule.name == "graph-denied"
            world.cloud.rights = ("Mail.Send", "Mail.ReadWrite")
            assert (await world.one(letter("a@x.example"), save=False)).reply.code == 250
            assert [sent.saved for sent in world.cloud.box] == [False]

    async def test_a_cloud_that_does_not_take_the_order_to_leave_no_copy(self):
        """That is no reason not to send it."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/messages/AAMk0001=", 400, "ErrorInvalidProperty"))
            report = await world.send(letter("a@x.example"), save=False)
            assert [sent.saved for sent in world.cloud.box] == [True]
            assert any("a copy stays" in note for note in report.conversation.notes)

    async def test_the_same_message_to_several_one_by_one(self):
        """A device that sends so uses one Message-ID: none of them is in another's way."""
        async with graph() as world:
            names = [f"u{number}@x.example" for number in range(4)]
            reports = await asyncio.gather(*(world.send(letter(name), save=False) for name in names))
            assert {answer.reply.code for report in reports for answer in report.answers.values()} == {250}
            assert sorted(name for sent in world.cloud.box for name in sent.recipients) == names

    async def test_a_connection_serves_several_messages(self):
        """Five in a row, and never more than one connection."""
        async with graph() as world:
            peers = {(await world.send(letter("a@x.example"))).conversation.peer for _ in range(5)}
            assert len(world.cloud.box) == 5
            assert len(peers) == 1

    async def test_the_dot_is_told_before_the_end(self):
        """`at_dot` is called once, before the server can have taken the message."""
        called = []
        async with graph() as world:
            outgoing = replace(letter("a@x.example"), at_dot=lambda: called.append(len(world.cloud.box)))
            await world.send(outgoing)
        assert called == [0]


class TestEnvelope:
    """Graph sends to whoever stands in To, Cc and Bcc."""

    async def test_who_is_not_named_is_added_as_bcc(self):
        """The others are not shown that person."""
        async with graph() as world:
            report = await world.send(letter("a@x.example", paths=("a@x.example", "secret@y.example")))
            [sent] = world.cloud.box
            assert set(sent.recipients) == {"a@x.example", "secret@y.example"}
            assert b"secret@" not in sent.content
            assert any("secret@y.example" in note for note in report.conversation.notes)

    async def test_who_is_not_of_this_transaction_is_taken_out(self):
        """It would get the message twice."""
        async with graph() as world:
            outgoing = letter(
                "Ann <a@x.example>", '"B, Bob" <b@x.example>', header="Cc: c@x.example\r\n", paths=("a@x.example",)
            )
            report = await world.send(outgoing)
            [sent] = world.cloud.box
            assert sent.recipients == ("a@x.example",)
            assert b"To: Ann <a@x.example>\r\n" in sent.content
            assert b"Cc:" not in sent.content
            assert sum("b@x.example" in note or "c@x.example" in note for note in report.conversation.notes) == 2

    async def test_nobody_is_named_at_all(self):
        """To is an empty group."""
        async with graph() as world:
            outgoing = letter("undisclosed-recipients:;", paths=("a@x.example",))
            assert (await world.one(outgoing)).reply.code == 250
            assert world.cloud.box[0].recipients == ("a@x.example",)

    async def test_more_recipients_than_allowed_go_later(self):
        """`limits.recipients` of them now."""
        async with graph() as world:
            names = [f"u{number}@x.example" for number in range(5)]
            report = await world.send(letter(*names), limits=Limits(recipients=2))
            assert [str(path) for path in report.left] == names[2:]
            assert set(world.cloud.box[0].recipients) == set(names[:2])

    async def test_one_invalid_recipient_does_not_fail_the_others(self):
        """Graph refuses the whole message and does not say because of whom."""
        async with graph(invalid=frozenset({"bad@x.example"})) as world:
            names = ["a@x.example", "bad@x.example", "c@x.example", "d@x.example"]
            report = await world.send(letter(*names))
            fates = {str(path): judge(answer).fate for path, answer in report.answers.items()}
            assert fates == {name: Fate.FAILED if "bad" in name else Fate.RELAYED for name in names}
            got = sorted(name for sent in world.cloud.box for name in sent.recipients)
            assert got == ["a@x.example", "c@x.example", "d@x.example"]

    @pytest.mark.parametrize("stops", [False, True])
    async def test_what_ends_the_second_part_leaves_the_first_as_sent(self, stops):
        """A bug, or the relay's stop: the others are left, and whoever has it does not get it again."""
        readings = []

        def reading(blocks):
            readings.append(blocks)
            if len(readings) == 3:  # the whole, the first part, the second one
                if not stops:
                    raise RuntimeError("the disk")
                asyncio.current_task().cancel()
            yield from blocks

        async with graph(invalid=frozenset({"bad@x.example"})) as world:
            report = await world.send(replace(letter("a@x.example", "bad@x.example"), reading=reading), save=False)
            assert {str(path): answer.reply.code for path, answer in report.answers.items()} == {"a@x.example": 250}
            assert list(map(str, report.left)) == ["bad@x.example"]
            assert [sent.recipients for sent in world.cloud.box] == [("a@x.example",)]

    async def test_an_address_in_japanese_is_refused_alone(self):
        """Graph's MIME import has no SMTPUTF8; the others get theirs."""
        async with graph() as world:
            report = await world.send(letter("a@x.example", paths=("a@x.example", "太郎@x.example")))
            faults = {path.local: answer.fault for path, answer in report.answers.items()}
            assert faults == {"a": None, "太郎": Fault.SMTPUTF8}


class TestLarge:
    """What no request holds becomes a draft, and its attachments are uploaded."""

    @pytest.mark.parametrize(("size", "save"), [(4, True), (20, False)])
    async def test_a_large_scan_by_an_upload_session(self, size, save):
        """It arrives octet for octet, under its name, with its text; the draft is gone."""
        octets = os.urandom(size * MB)
        async with graph() as world:
            report = await world.send(scan(octets), save=save)
            [answer] = report.answers.values()
            assert answer.reply.code == 250, answer
            [sent] = world.cloud.box
            message, attached = parts_of(sent.content)
            assert attached["scan.pdf"].get_content() == octets
            assert attached["scan.pdf"].get_content_type() == "application/pdf"
            assert message.get_body(("plain",)).get_content().strip() == "A page."
            assert (message["subject"], sent.saved) == ("test", save)
            assert world.cloud.drafts == {}
            assert ("PUT", "/upload") in world.cloud.requests
            assert any("scan.pdf" in note for note in report.conversation.notes)

    async def test_an_upload_leaves_no_reading_open(self):
        """The content's reader is closed when the last range is sent, not when the collector comes by."""
        faults, open_readings = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: faults.append(about))

        def reading(blocks):
            open_readings.append(1)
            try:
                yield from blocks
            finally:
                open_readings.pop()

        async with graph() as world:
            answer = await world.one(replace(scan(os.urandom(4 * MB)), reading=reading))
            assert answer.reply.code == 250
            gc.collect()
            await asyncio.sleep(0.1)
        assert (faults, open_readings) == ([], [])

    async def test_several_attachments_each_by_its_size(self):
        """Below 3 MB in one request, above by an upload session; an image in the text stays one."""
        small, large = os.urandom(2 * MB), os.urandom(4 * MB)
        picture = base64.encodebytes(small).replace(b"\n", b"\r\n")
        more = (
            b"--b\r\nContent-Type: image/jpeg\r\nContent-ID: <pic@nas>\r\n"
            b"Content-Disposition: inline; filename*=utf-8''%E5%86%99.jpg\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + picture
        )
        async with graph() as world:
            assert (await world.one(scan(large, more=more))).reply.code == 250
            _, attached = parts_of(world.cloud.box[0].content)
            assert attached["scan.pdf"].get_content() == large
            assert attached["写.jpg"].get_content() == small
            assert attached["写.jpg"]["content-id"] == "<pic@nas>"

    async def test_a_message_that_is_one_large_file(self):
        """Not a multipart: the whole body is the attachment."""
        octets = os.urandom(5 * MB)
        header = "MIME-Version: 1.0\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n"
        body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
        async with graph() as world:
            assert (await world.one(letter("a@x.example", header=header, body=body))).reply.code == 250
            _, attached = parts_of(world.cloud.box[0].content)
            assert attached["a.pdf"].get_content() == octets

    async def test_a_text_of_6_mb_goes_as_an_attachment(self):
        """A backup's log; nothing is lost, and the trail says so."""
        text = b"".join(b"line %07d of the log\r\n" % number for number in range(250_000))
        async with graph() as world:
            report = await world.send(letter("a@x.example", body=text))
            assert {answer.reply.code for answer in report.answers.values()} == {250}
            _, attached = parts_of(world.cloud.box[0].content)
            assert attached["text.txt"].get_payload(decode=True) == text
            assert any("attachment" in note for note in report.conversation.notes)

    async def test_a_large_signed_message_is_refused_here(self):
        """Taken apart, its signature would be void; another upstream may take it."""
        inner = b"--s\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 70 * 80_000 + b"\r\n--s--\r\n"
        header = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=x\r\n"
        async with graph() as world:
            answer = await world.one(letter("a@x.example", header=header, body=inner))
            assert answer.fault is Fault.TOO_BIG
            assert answer.reply.text == "these 5.6 MB cannot be taken apart, and m365 takes at most 3.0 MB in one piece"
            assert judge(answer).try_next
            assert world.cloud.requests == []

    async def test_an_attachment_of_more_than_150_mb_is_refused_here(self):
        """Which one, how large, and how much Graph takes: before anything is sent, and never held in memory."""
        line = base64.b64encode(bytes(54)) + b"\r\n"
        lines = LARGEST_ATTACHMENT // 54 + 20_000
        kind = "MIME-Version: 1.0\r\nContent-Type: application/zip; name=backup.zip\r\nContent-Transfer-Encoding: base64\r\n"
        small = letter("a@x.example", header=kind, body=b"")

        class Content:
            def __iter__(self):
                yield from small.content
                yield from itertools.repeat(line * 1000, lines // 1000)
                yield line * (lines % 1000)

        async with graph() as world:
            answer = await world.one(replace(small, content=Content(), size=small.size + len(line) * lines))
            assert answer.reply.text == "backup.zip has 151.1 MB, and m365 takes attachments of at most 150.0 MB"
            verdict = judge(answer)
            assert (answer.fault, verdict.fate, verdict.try_next, verdict.rests) == (Fault.TOO_BIG, Fate.FAILED, True, False)
            assert world.cloud.requests == []

    async def test_larger_than_the_limit_is_not_sent(self):
        """`limits.message`, and what Graph says itself."""
        async with graph(largest=6 * MB) as world:
            ours = await world.one(scan(bytes(5 * MB)), limits=Limits(message=4 * MB))
            assert (ours.fault, world.cloud.requests) == (Fault.TOO_BIG, [])
            theirs = await world.one(scan(bytes(5 * MB)))
            assert (theirs.reply.code, judge(theirs).rule.name) == (552, "graph-size")
            assert judge(theirs).fate is Fate.FAILED
            assert world.cloud.drafts == {}

    async def test_without_mail_read_write_it_waits_and_the_cure_is_named(self):
        """It is the application's fault, so nothing fails; no other message is held up."""
        async with graph(rights=("Mail.Send",)) as world:
            answer = await world.one(scan(bytes(5 * MB)))
            verdict = judge(answer)
            assert (answer.fault, verdict.fate, verdict.rests) == (Fault.PERMISSION, Fate.DEFERRED, False)
            assert "Mail.ReadWrite" in verdict.advice.remedy
            assert (await world.one(letter("a@x.example"))).reply.code == 250

    async def test_what_exchange_grants_stands_in_no_token(self):
        """RBAC for Applications, as the guide has it: the token names other rights only, and all goes as it should."""
        async with graph() as world:
            world.token = jwt(roles=["User.Read.All"])
            world.cloud.tokens.add(world.token)
            assert (await world.one(scan(bytes(4 * MB)), save=False)).reply.code == 250
            assert (await world.one(letter("a@x.example"), save=False)).reply.code == 250
            assert [sent.saved for sent in world.cloud.box] == [False, False]

    async def test_a_person_s_consent_is_known_to_lack_the_draft(self):
        """Nothing is asked of Graph that it must deny."""
        async with graph(rights=("Mail.Send",)) as world:
            world.token = jwt(scp="Mail.Send")
            world.cloud.tokens.add(world.token)
            assert (await world.one(scan(bytes(4 * MB)))).fault is Fault.PERMISSION
            assert world.cloud.requests == []
            assert (await world.one(letter("a@x.example"), save=False)).reply.code == 250
            assert world.cloud.requests == [("POST", "/sendMail")]

    async def test_a_failure_half_way_leaves_no_draft(self):
        """Nothing was sent, so the draft goes, and the next try begins anew."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/upload/session-2", 503, "ErrorServerBusy"))
            answer = await world.one(scan(bytes(4 * MB)))
            assert (judge(answer).fate, world.cloud.box, world.cloud.drafts) == (Fate.DEFERRED, [], {})
            assert (await world.one(scan(bytes(4 * MB)))).reply.code == 250
            assert len(world.cloud.box) == 1

    async def test_a_draft_that_a_crash_left_is_removed(self):
        """Found by its Message-ID and recipients; other messages stay, and the same one to others, which is on its way."""
        async with graph() as world:
            hung = asyncio.create_task(world.send(scan(bytes(4 * MB))))
            world.cloud.trouble.append(GraphTrouble("/upload/session-2", 0))
            async with asyncio.timeout(10):
                while world.cloud.trouble:
                    await asyncio.sleep(0.02)
            left = dict(world.cloud.drafts)  # as a process that is killed here leaves it
            hung.cancel()
            await asyncio.gather(hung, return_exceptions=True)
            mine = next(iter(left.values()))
            to_others = message_from_bytes(b"Message-ID: <one@nas>\r\nTo: b@x.example\r\n\r\n", policy=policy.SMTP)
            another = message_from_bytes(b"Message-ID: <other@nas>\r\nTo: a@x.example\r\n\r\n", policy=policy.SMTP)
            others = {"to others=": replace(mine, message=to_others), "another=": replace(mine, message=another)}
            world.cloud.drafts = {**left, **others}
            report = await world.send(scan(bytes(4 * MB)))
            assert len(world.cloud.box) == 1
            assert list(world.cloud.drafts) == ["to others=", "another="]
            assert any("draft" in note for note in report.conversation.notes)

    async def test_the_same_message_twice_at_once(self):
        """A device that tries again too soon: the draft of the one is no remainder of a crash to the other."""
        async with graph() as world:
            first = asyncio.create_task(world.one(scan(bytes(4 * MB))))
            async with asyncio.timeout(10):
                while not world.cloud.uploads:
                    await asyncio.sleep(0.001)
            second = await world.one(scan(bytes(4 * MB)))
            assert ((await first).reply.code, second.reply.code) == (250, 250)
            assert len(world.cloud.box) == 2

    @pytest.mark.parametrize(("status", "code"), [(401, "Unauthorized"), (403, "AccessDenied"), (404, "ResourceNotFound")])
    async def test_an_upload_session_that_is_over_is_not_the_accounts_fault(self, status, code):
        """No token goes there; the next try makes a new session."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/upload/session-2", status, code))
            verdict = judge(await world.one(scan(bytes(4 * MB))))
            assert (verdict.fate, verdict.blame) == (Fate.DEFERRED, Blame.UPSTREAM)


CURES = {
    "graph-send-as": "'Send As'",
    "graph-denied": "admin consent",
    "graph-mailbox": "user principal name",
    "graph-limit": "second upstream",
    "graph-full": "Make room",
    "graph-size": "limits: {message",
    "graph-form": "another upstream",
    "graph-recipient": "Correct the address",
    "graph-throttled": "connections: 2",
    "graph-away": "service health",
}


class TestRefusals:
    """Each of Graph's errors, with whom it is about."""

    @pytest.mark.parametrize(
        ("status", "code", "rule", "fate", "blame", "rests"),
        [
            (403, "ErrorSendAsDenied", "graph-send-as", Fate.DEFERRED, Blame.SENDER, False),
            (403, "ErrorAccessDenied", "graph-denied", Fate.DEFERRED, Blame.LOGIN, True),
            (403, "Authorization_RequestDenied", "graph-denied", Fate.DEFERRED, Blame.LOGIN, True),
            (404, "MailboxNotEnabledForRESTAPI", "graph-mailbox", Fate.DEFERRED, Blame.LOGIN, True),
            (429, "ErrorExceededMessageLimit", "graph-limit", Fate.DEFERRED, Blame.QUOTA, True),
            (413, "ErrorMessageSizeExceeded", "graph-size", Fate.FAILED, Blame.MESSAGE, False),
            (400, "ErrorInvalidRecipients", "graph-recipient", Fate.FAILED, Blame.RECIPIENT, False),
            (507, "ErrorQuotaExceeded", "graph-full", Fate.DEFERRED, Blame.QUOTA, True),
            (429, "ApplicationThrottled", "graph-throttled", Fate.DEFERRED, Blame.RATE, False),
            (500, "ErrorInternalServerError", "graph-away", Fate.DEFERRED, Blame.UPSTREAM, False),
            (400, "ErrorMimeContentInvalid", "graph-form", Fate.FAILED, Blame.MESSAGE, False),
            (429, "ErrorSubmissionQuotaExceeded", "graph-limit", Fate.DEFERRED, Blame.QUOTA, True),
            (403, "ErrorAccountSuspend", "graph-limit", Fate.DEFERRED, Blame.QUOTA, True),
            (404, "OrganizationFromTenantGuidNotFound", "graph-mailbox", Fate.DEFERRED, Blame.LOGIN, True),
            (429, "ErrorExceededConnectionCount", "graph-throttled", Fate.DEFERRED, Blame.RATE, False),
            (429, "MailboxConcurrency", "graph-throttled", Fate.DEFERRED, Blame.RATE, False),
        ],
    )
    async def test_an_error(self, status, code, rule, fate, blame, rests):
        """The verdict, Graph's own words in the answer, and what a person is to do."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", status, code, "Words of Microsoft."))
            answer = await world.one(letter("a@x.example"))
            verdict = judge(answer)
            assert (verdict.rule.name, verdict.fate, verdict.blame, verdict.rests) == (rule, fate, blame, rests)
            assert f"{code}: Words of Microsoft. (HTTP {status}" in answer.reply.text
            assert CURES[rule] in verdict.advice.remedy
            assert world.cloud.box == []

    @pytest.mark.parametrize("status", [423, 429, 500, 503])
    async def test_retry_after_is_a_fact(self, status):
        """The upstream rests at least so long."""
        async with graph() as world:
            world.cloud.trouble.append(
                GraphTrouble("/sendMail", status, "ApplicationThrottled", headers={"Retry-After": "120"})
            )
            answer = await world.one(letter("a@x.example"))
            assert answer.retry_after == 120
            assert judge(answer).rests

    @pytest.mark.parametrize("status", [502, 504])
    async def test_a_gateway_that_gave_up_may_have_sent_it(self, status):
        """So may one that did not understand the answer: no other upstream is asked."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", status, "UnknownError"))
            verdict = judge(await world.one(letter("a@x.example")))
            assert (verdict.blame, verdict.try_next) == (Blame.UNCERTAIN, False)

    async def test_a_page_of_a_firewall_fails_nothing(self):
        """An error without a name is not Graph's."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", 403))
            assert judge(await world.one(letter("a@x.example"))).fate is Fate.DEFERRED

    async def test_a_page_with_200_is_no_success(self):
        """A firewall that inspects TLS may answer so."""

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
            await writer.drain()
            writer.close()

        await is_garbage(serve)

    async def test_never_more_than_four_at_a_time(self):
        """`limits.connections` is kept by whoever calls; the stand-in refuses a fifth."""
        async with graph() as world:
            upstream = mailbox(world.cloud.url, limits=Limits(connections=4))
            world.transports.proven.add("m365")

            async def send():
                async with world.transports.turn(upstream, "m365"):
                    return await world.transports.submit(upstream, letter("a@x.example"))

            reports = await asyncio.gather(*(send() for _ in range(20)))
            assert {answer.reply.code for report in reports for answer in report.answers.values()} == {250}
            assert 1 <= world.cloud.most_at_once <= 4


class TestTokens:
    """401 renews the token once."""

    async def test_a_void_token_is_renewed_and_the_message_goes(self):
        """Within the same try; the trail says so, and no token is ever told."""
        async with graph() as world:
            world.cloud.tokens.clear()
            old = world.token
            report = await world.send(letter("a@x.example"))
            assert {answer.reply.code for answer in report.answers.values()} == {250}
            assert world.renewals == [old]
            assert any("token" in note for note in report.conversation.notes)
            assert old not in repr(report)
            assert world.token not in repr(report)

    async def test_in_the_middle_of_an_upload(self):
        """The draft goes on with the new token."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/attachments/createUploadSession", 401, "InvalidAuthenticationToken"))
            assert (await world.one(scan(bytes(5 * MB)))).reply.code == 250
            assert len(world.renewals) == 1
            assert len(world.cloud.box) == 1

    async def test_a_new_one_is_refused_too(self):
        """Then a person must act: once, not for ever."""
        async with graph() as world:
            world.cloud.trouble += [GraphTrouble("/sendMail", 401, "InvalidAuthenticationToken")] * 2
            answer = await world.one(letter("a@x.example"))
            assert answer.fault is Fault.TOKEN_NEW
            assert judge(answer).blame is Blame.LOGIN
            assert len(world.renewals) == 1

    async def test_a_server_that_repeats_the_token_in_its_words(self):
        """It is not told."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", 400, "BadRequest", f"Header: Bearer {world.token}"))
            answer = await world.one(letter("a@x.example"))
            assert world.token not in str(answer)

    async def test_a_page_that_repeats_the_token_and_is_cut_off(self):
        """No half of it is told either."""
        token = "".join(f"{number:x}" for number in range(1000))

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            page = f"<html><p>{'x' * 200} {token}</html>".encode()
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        answer = await answer_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token)
        server.close()
        assert "xxx ***" in answer.reply.text
        assert token[:8] not in str(answer)

    async def test_an_upload_s_address_is_not_told(self):
        """It is a secret by itself, and comes in several forms."""
        async with graph() as world:
            url = f"{world.cloud.url}/upload/session-2?authtoken=upload-secret-2"
            words = f"{url} and upload-secret-2 of {url.partition('?')[2]}"
            world.cloud.trouble.append(GraphTrouble("/upload/session-2", 400, "InvalidRange", words))
            answer = await world.one(scan(bytes(5 * MB)))
            assert "InvalidRange: *** and *** of ***" in answer.reply.text
            assert "upload-secret" not in str(answer)

    async def test_no_token_at_all(self):
        """Nothing is asked of Graph."""
        none = Answer(Stage.AUTH, Reply(535, "5.7.8", "none"), fault=Fault.TOKEN)

        async def token(_upstream):
            return none

        async with graph_cloud(NAS) as cloud:
            transports = Transports(Means("relay.test", token=token))
            report = await transports.submit(mailbox(cloud.url), letter("a@x.example"))
            assert set(report.answers.values()) == {none}
            assert cloud.requests == []
            await transports.close()


class TestLost:
    """Connections that end, and when."""

    async def test_no_answer_after_all_was_sent_is_uncertain(self):
        """It may have been taken, as after a final dot."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", 0))
            [answer] = (await world.send(letter("a@x.example"), timeout=0.05)).answers.values()
            assert (answer.stage, answer.lost, answer.fault) == (Stage.CONTENT, True, Fault.TIMED_OUT)
            assert judge(answer).blame is Blame.UNCERTAIN

    async def test_no_answer_before_the_last_request_is_certain(self):
        """A draft alone sends nothing; the next upstream may be asked."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/createUploadSession", 0))
            [answer] = (await world.send(scan(bytes(5 * MB)), timeout=0.2)).answers.values()
            assert (answer.lost, judge(answer).try_next) == (True, True)
            assert judge(answer).blame is Blame.UPSTREAM

    async def test_the_relay_stops_while_graph_thinks(self):
        """The cancelled task still reports that it may have been taken."""
        async with graph() as world:
            world.cloud.trouble.append(GraphTrouble("/sendMail", 0))
            task = asyncio.create_task(world.send(letter("a@x.example")))
            async with asyncio.timeout(5):
                while world.cloud.trouble:
                    await asyncio.sleep(0.01)
            task.cancel()
            [answer] = (await task).answers.values()
            assert (answer.fault, answer.lost) == (Fault.UNANSWERED, True)

    @pytest.mark.parametrize(("method", "again"), [("GET", True), ("POST", False)])
    async def test_a_kept_connection_that_ends(self, unused_tcp_port, method, again):
        """What may have been done is asked again only if that does no harm: an attachment must not be there twice."""
        upstream = mailbox(f"http://127.0.0.1:{unused_tcp_port}")

        class Ending:
            origin, alive, peer, tls = HttpOrigin.of(upstream.transport.url), True, "127.0.0.1:443", ""

            async def ask(self, *_):
                raise HttpLost(Fault.HUNG_UP, "it ended", sent=True)

        connections = Connections()
        connections.keep(Ending())
        api = GraphApi(upstream, upstream.transport, Access(None, None, None, None), connections, "token")
        with pytest.raises(GraphRefused) as caught:
            await api.ask(method, "/messages/x/attachments")
        assert caught.value.answer.stage is (Stage.CONNECT if again else Stage.MAIL)

    async def test_nobody_listens(self):
        """A closed port is trouble of the upstream."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"

        answer = await answer_at(url)
        assert (answer.stage, answer.fault) == (Stage.CONNECT, Fault.REFUSED)

    async def test_something_else_answers(self):
        """No HTTP: nothing was taken that we know of, but the request was sent."""

        async def greet(_reader, writer):
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            await asyncio.sleep(0.5)
            writer.close()

        await is_garbage(greet)


class TestTls:
    """Certificates are verified, as with SMTP."""

    @staticmethod
    @asynccontextmanager
    async def secure(cloud, context):
        """TLS in front of the stand-in."""

        async def carry(reader, writer):
            there, out = await asyncio.open_connection("127.0.0.1", cloud.port)

            async def pump(source, target):
                while octets := await source.read(65536):
                    target.write(octets)
                    await target.drain()
                target.close()

            await asyncio.gather(pump(reader, out), pump(there, writer), return_exceptions=True)

        server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def test_by_a_known_authority(self, tmp_path):
        """`ca_file` is used, and the trail has the TLS version."""
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with graph() as world, self.secure(world.cloud, server_context(ca, "127.0.0.1")) as url:
            tls = Tls(TlsMode.IMPLICIT, ca_file=str(tmp_path / "ca.pem"))
            report = await world.transports.submit(mailbox(url, tls=tls), letter("a@x.example"))
            assert {answer.reply.code for answer in report.answers.values()} == {250}
            assert report.conversation.tls.startswith("TLSv1.")

    @pytest.mark.parametrize(("name", "known"), [("127.0.0.1", False), ("other.example", True)])
    async def test_not_by_a_stranger(self, tmp_path, name, known):
        """No request, no token: the certificate is of an unknown authority, or for another name."""
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        async with graph() as world, self.secure(world.cloud, server_context(ca, name)) as url:
            tls = Tls(TlsMode.IMPLICIT, ca_file=str(tmp_path / "ca.pem") if known else "")
            report = await world.transports.submit(mailbox(url, tls=tls), letter("a@x.example"))
            [answer] = report.answers.values()
            assert (answer.stage, answer.fault) == (Stage.TLS, Fault.TLS_NAME if known else Fault.TLS_TRUST)
            assert world.cloud.requests == []
