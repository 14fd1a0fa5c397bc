"""What is demanded of a mail host, whatever the DNS and the policy say: never less than what any of them demands."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from relay.mail.reply import Fault
from relay.upstream.dane import Tlsa, usable
from relay.upstream.dns import HostAddresses, NoAnswer, NoSuchName, Records
from relay.upstream.mta_sts import StsMode, StsPolicy
from relay.upstream.mx_tls import ByAuthorities, ByTlsa, TlsRules
from relay.upstream.report import TlsPolicy

HOST = "mail.there.example"
RECORD = st.builds(Tlsa, st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), st.sampled_from([b"", bytes(32), bytes(64)]))


class Rdata:
    def __init__(self, record):
        self.usage, self.selector, self.mtype, self.cert = record.usage, record.selector, record.matching, record.data


class Names:
    """A resolver that gives one answer about TLSA records, or fails."""

    def __init__(self, said):
        self.said = said

    async def look(self, name, kind):
        assert kind == "TLSA" and name == f"_25._tcp.{HOST}"
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


SAID = st.one_of(
    st.builds(lambda records, secure: Records(tuple(map(Rdata, records)), secure), st.lists(RECORD, max_size=4), st.booleans()),
    st.sampled_from([NoAnswer("silent"), NoSuchName("none")]),
)
POLICY = st.none() | st.builds(StsPolicy, st.sampled_from(StsMode), st.sampled_from([(HOST,), ("other.example",)]), st.just(5))


@given(SAID, st.booleans(), st.booleans(), POLICY, st.booleans())
def test_nothing_weakens_a_demand(said, mx_secure, host_secure, policy, verified):
    """DANE, where it holds, is required; else an enforced policy; else the configuration: each with its own trust."""
    rules = TlsRules(Names(said), "there.example", mx_secure, policy, verified)
    found = asyncio.run(rules.demand(HOST, 25, HostAddresses(["192.0.2.1"], host_secure, HOST)))
    signed = mx_secure and host_secure
    records = said.rdata if isinstance(said, Records) and said.secure and signed else ()
    counted = usable(Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in records)
    enforced = policy is not None and policy.mode is StsMode.ENFORCE
    assert found.required == bool(records or enforced or verified or (signed and isinstance(said, NoAnswer)))
    if signed and isinstance(said, NoAnswer):
        assert (found.policy, found.unmet) == (TlsPolicy.DANE, Fault.DNS)
    elif counted:
        assert found.policy is TlsPolicy.DANE and isinstance(found.trust, ByTlsa) and not found.unmet
    elif enforced:
        assert found.policy is TlsPolicy.STS and isinstance(found.trust, ByAuthorities)
        assert bool(found.unmet) != policy.permits(HOST)
    elif verified:
        assert found.policy is TlsPolicy.VERIFIED and isinstance(found.trust, ByAuthorities) and not found.unmet
    else:
        assert found.required == (found.policy is TlsPolicy.DANE_TLS) == bool(records)
