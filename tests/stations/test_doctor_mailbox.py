"""The doctor looks at a mailbox at Microsoft Graph: token, permissions, mailbox; nothing is sent.

gather ──> relay/cli/demo_graph.py
"""

from dataclasses import replace

import pytest

from relay.cli.demo_graph import GraphTrouble, graph_cloud
from relay.doctor import gather as doctor
from relay.doctor.finding import Grade
from relay.doctor.gather import World
from relay.doctor.judge import judge
from relay.doctor.subject import Subject
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.settings import Auth, Grant, GraphMailbox, Login, OAuth, Upstream
from tests.support.oauth import jwt

NAS = "nas@company.example"


async def examined(cloud, *, token=None, user=NAS, **world):
    """The findings about the mailbox."""
    login = Login(Auth.XOAUTH2, user, oauth=OAuth("microsoft", "app", grant=Grant.CLIENT_CREDENTIALS))
    upstream = Upstream("m365", GraphMailbox(cloud.url, login), provider="outlook")
    given = cloud.new_token() if token is None else token

    async def tokens(_upstream):
        return given

    subject = Subject("relay.test", {"m365": upstream})
    mailbox = await doctor._mailbox(upstream, World(token=tokens, patience=2.0, whole=4.0, **world), lambda _: None)
    facts = doctor.Facts(doctor.HostFacts(World().now(), None, (), "", (), "", None), mailboxes=(mailbox,))
    return [one for one in judge(facts, subject) if one.about == "m365"]


async def test_all_is_well():
    """One finding says so; the mailbox was looked at, and nothing was sent or made."""
    async with graph_cloud(NAS) as cloud:
        [finding] = await examined(cloud)
        assert (finding.name, finding.grade) == ("upstream", Grade.OK)
        assert "the mailbox answers" in finding.cause
        assert cloud.requests == [("GET", "/mailFolders/drafts")]
        assert (cloud.box, cloud.drafts) == ([], {})


async def test_no_token():
    """The login's own finding, with what to do."""
    none = Answer(Stage.AUTH, Reply(535, "5.7.8", "there is no OAuth token"), fault=Fault.TOKEN)
    async with graph_cloud(NAS) as cloud:
        [finding] = await examined(cloud, token=none)
        assert (finding.name, finding.grade) == ("login-oauth", Grade.PROBLEM)
        assert "relay oauth login m365" in finding.cure
        assert cloud.requests == []


@pytest.mark.parametrize(
    ("scopes", "grade", "word"),
    [
        ("User.Read", Grade.PROBLEM, "Mail.Send"),
        ("User.Read Mail.Send", Grade.WARNING, "Mail.ReadWrite"),
    ],
)
async def test_a_person_s_consent_lacks_a_permission(scopes, grade, word):
    """It is read from the token, without a request."""
    async with graph_cloud(NAS) as cloud:
        finding = (await examined(cloud, token=jwt(scp=scopes)))[-1]
        assert (finding.name, finding.grade) == ("graph-rights", grade)
        assert word in finding.cause
        assert "User.Read" in " ".join(finding.evidence)
        assert cloud.requests == []


@pytest.mark.parametrize(("roles", "word"), [("User.Read.All", "Mail.Send"), ("Mail.Send", "Mail.ReadWrite")])
async def test_an_application_lacks_a_permission(roles, word):
    """Its token names too little, and the mailbox may not be looked at."""
    async with graph_cloud(NAS, rights=(roles,)) as cloud:
        finding = (await examined(cloud))[-1]
        assert (finding.name, finding.grade) == ("graph-rights", Grade.WARNING)
        assert word in finding.cause
        assert roles in " ".join(finding.evidence)


async def test_what_exchange_grants_stands_in_no_token():
    """RBAC for Applications: the mailbox may be looked at, so nothing is found."""
    async with graph_cloud(NAS) as cloud:
        token = jwt(roles=["User.Read.All"])
        cloud.tokens.add(token)
        [finding] = await examined(cloud, token=token)
        assert (finding.name, finding.grade) == ("upstream", Grade.OK)
        assert "the mailbox answers" in finding.cause


async def test_a_mailbox_that_is_not_there():
    """Graph's words are the evidence."""
    async with graph_cloud(NAS) as cloud:
        [finding] = await examined(cloud, user="other@company.example")
        assert (finding.name, finding.grade) == ("graph-mailbox", Grade.PROBLEM)
        assert "ErrorInvalidUser" in " ".join(finding.evidence)


async def test_a_mailbox_that_an_access_policy_keeps_away():
    """The cure speaks of it."""
    async with graph_cloud(NAS) as cloud:
        cloud.trouble.append(GraphTrouble("/drafts", 403, "ErrorAccessDenied"))
        [finding] = await examined(cloud)
        assert finding.name == "graph-mailbox"
        assert "policy" in finding.cure


async def test_a_token_that_does_not_tell_its_rights():
    """Whether the mailbox may be looked at cannot be known, so no denial is a finding."""
    async with graph_cloud(NAS) as cloud:
        cloud.tokens.add("opaque-token")
        cloud.trouble.append(GraphTrouble("/drafts", 403, "ErrorAccessDenied"))
        [finding] = await examined(cloud, token="opaque-token")
        assert finding.grade is Grade.OK
        assert "was not asked" in finding.cause


async def test_nobody_answers():
    """The address and what came back."""
    async with graph_cloud(NAS) as cloud:
        pass
    [finding] = await examined(cloud)
    assert (finding.name, finding.grade) == ("upstream-unreachable", Grade.PROBLEM)


async def test_the_whole_examination_has_it(tmp_path):
    """`gather` asks mailboxes beside servers by SMTP."""
    async with graph_cloud(NAS) as cloud:
        token = cloud.new_token()

        async def tokens(_upstream):
            return token

        login = Login(Auth.XOAUTH2, NAS, oauth=OAuth("microsoft", "app"))
        subject = Subject("relay.test", {"m365": Upstream("m365", GraphMailbox(cloud.url, login), provider="outlook")})
        subject = replace(subject, state_dir=tmp_path, nameservers=("127.0.0.1:9",))
        facts = await doctor.gather(subject, World(token=tokens, dns_patience=0.2, whole=4.0, rest=1.0))
        assert [one.name for one in judge(facts, subject) if one.about == "m365" and one.name == "upstream"] == ["upstream"]
