"""Consents in the metrics and in the doctor's findings."""

from datetime import UTC, datetime, timedelta

from relay.control.metrics import families
from relay.doctor.finding import Grade
from relay.doctor.host import HostFacts
from relay.doctor.judge import Facts, judge
from relay.doctor.subject import Subject
from relay.doctor.upstream import ProbeDialog, UpstreamFacts
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.secret import Secret
from relay.upstream.oauth.expiry import standing
from relay.upstream.oauth.token_store import StoredToken
from relay.upstream.settings import Login, OAuth, SmtpServer, Upstream

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
UPSTREAM = Upstream("g", SmtpServer("smtp.example", login=Login(username="me@gmail.com", oauth=OAuth("google", "app"))))
SUBJECT = Subject("relay.example", {"g": UPSTREAM})
STATUS = {"ready": True, "upstreams": [], "listening": [], "devices": []}
TALLY = {"states": {}, "recipients": {}, "unfinished": 0, "oldest": None, "size": 0, "room": 0}


def told(days, **more):
    then = NOW - timedelta(days=days)
    return standing(UPSTREAM, StoredToken(Secret("r"), "app", "me@gmail.com", then, then, access_until=NOW, **more), NOW)


def values(one):
    found = families({**STATUS, "oauth": [one]}, TALLY, NOW.timestamp())
    return {family.name: sample.value for family in found for sample in family.samples if sample.labels.get("upstream") == "g"}


def findings(one, talk=None):
    facts = Facts(HostFacts(NOW), upstreams=(UpstreamFacts(UPSTREAM, talk=talk),) if talk else (), consents=(one,))
    return [each for each in judge(facts, SUBJECT) if each.about == "g"]


def test_metrics_have_age_and_end():
    """Seconds and times, and one that an alert can watch."""
    assert values(told(1, ends_at=NOW + timedelta(days=6))) == {
        "relay_upstream_token_expiry_timestamp_seconds": NOW.timestamp(),
        "relay_upstream_consent_age_seconds": 86400,
        "relay_upstream_consent_expiry_timestamp_seconds": NOW.timestamp() + 6 * 86400,
        "relay_upstream_consent_due": 0,
    }
    assert values(told(5))["relay_upstream_consent_due"] == 1
    assert values(standing(UPSTREAM, None, NOW)) == {"relay_upstream_consent_due": 1}


def test_the_doctor_warns_on_day_five():
    """Cause, cure and the times; a fresh consent is fine."""
    [warned] = findings(told(5))
    assert (warned.name, warned.grade) == ("login-oauth", Grade.WARNING)
    assert "Testing" in warned.cause
    assert "relay oauth login g" in warned.cure
    assert "the consent is 5 days old" in warned.evidence
    [good] = findings(told(1))
    assert good.grade is Grade.OK


def test_nothing_is_said_twice():
    """An upstream whose login failed for want of a token has that finding, with its own name in the cure."""
    reply = Reply(535, "5.7.8", "there is no OAuth token for g; run `relay oauth login g` first")
    refusal = Answer(Stage.AUTH, reply, fault=Fault.TOKEN)
    [one] = findings(standing(UPSTREAM, None, NOW), ProbeDialog(failed=refusal))
    assert (one.name, one.grade) == ("login-oauth", Grade.PROBLEM)
    assert "`relay oauth login g`" in one.cure
