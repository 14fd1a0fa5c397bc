"""What owners hear before a consent ends, and what helps when a token server says no."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.secret import Secret
from relay.upstream.oauth.authorities import authority_for
from relay.upstream.oauth.errors import cure_for
from relay.upstream.oauth.expiry import idle, standing, warnings_on
from relay.upstream.oauth.http import Denied, seconds
from relay.upstream.oauth.token_store import StoredToken
from relay.upstream.settings import Grant, Login, OAuth, SmtpServer, Upstream

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def upstream(provider="google", **more):
    return Upstream("g", SmtpServer("smtp.example", login=Login(username="me@gmail.com", oauth=OAuth(provider, "app", **more))))


def kept(age=timedelta(), **more):
    return StoredToken(Secret("r"), "app", "me@gmail.com", NOW - age, NOW - age, **more)


@pytest.mark.parametrize(("age", "warned"), [(4.9, False), (5.0, True), (6.9, True), (7.0, False)])
def test_google_in_testing_is_warned_about_on_day_five(age, warned):
    """Google does not always say how long a consent lasts; one that is older than seven days is no test."""
    told = warnings_on(upstream(), kept(age * DAY), NOW)
    assert bool(told) is warned
    assert not warned or ("In production" in told[0] and "relay oauth login g" in told[0])
    assert warnings_on(upstream("microsoft"), kept(age * DAY), NOW) == []


@pytest.mark.parametrize(("left", "said"), [(3, None), (2, "ends on 2026-11-24"), (0, "ended on 2026-11-22")])
def test_an_end_that_was_told_is_warned_about_two_days_before(left, said):
    """Of a consent for seven days that is day five."""
    told = warnings_on(upstream(), kept(6 * DAY, ends_at=NOW + left * DAY), NOW)
    assert [said in one for one in told] == ([True] if said else [])


def test_no_consent_is_told():
    """Where a person must act first, that is said; an application that speaks for itself needs nobody."""
    assert "run `relay oauth login g`" in warnings_on(upstream(), None, NOW)[0]
    assert warnings_on(upstream(grant=Grant.CLIENT_CREDENTIALS), None, NOW) == []


def test_an_application_that_speaks_for_itself_has_no_consent_to_be_old():
    """Its token has times all the same."""
    told = standing(upstream("microsoft", grant=Grant.CLIENT_CREDENTIALS), kept(access_until=NOW), NOW)
    assert (told["age"], told["granted_at"], told["warnings"]) == (None, None, [])
    assert told["access_until"] is not None


def test_an_idle_refresh_token_is_used_now_and_then():
    """Ten days without mail, and it is renewed, long before the provider forgets it."""
    assert not idle(None, NOW)
    assert not idle(kept(9 * DAY), NOW)
    assert idle(kept(10 * DAY), NOW)
    assert not idle(replace(kept(10 * DAY), refresh_token=Secret("")), NOW)


def test_standing_has_times_and_no_secret():
    """For metrics: the age in seconds; nothing that opens a door."""
    told = standing(upstream("microsoft"), kept(DAY, access_token=Secret("acc3ss"), access_until=NOW), NOW)
    assert told["age"] == 86400
    assert told["access_until"] == "2026-11-22T03:04:05+00:00"
    assert "acc3ss" not in str(told)


@pytest.mark.parametrize(
    ("error", "text", "cure"),
    [
        ("invalid_grant", "AADSTS50173: The provided grant has expired due to it being revoked", "log in again"),
        ("invalid_grant", "AADSTS700082: The refresh token has expired due to inactivity.", "log in again"),
        ("invalid_grant", "AADSTS53003: Access has been blocked by Conditional Access policies.", "Conditional Access"),
        ("invalid_client", "AADSTS7000222: The provided client secret keys for app 'x' are expired.", "client secret"),
        (
            "invalid_client",
            "AADSTS7000218: The request body must contain: 'client_assertion' or 'client_secret'",
            "public client",
        ),
        ("unauthorized_client", "AADSTS700016: Application with identifier 'x' was not found in the directory", "tenant"),
        ("invalid_grant", "Token has been expired or revoked.", "seven days"),
        ("redirect_uri_mismatch", "", "http://localhost"),
        ("something_new", "", ""),
    ],
)
def test_each_no_has_its_cure(error, text, cure):
    """Microsoft's number decides where there is one; what nobody knows gets no invented cure."""
    found = cure_for(Denied(error, text, passing=False))
    assert cure in found if cure else found == ""


def test_addresses_follow_tenant_and_override():
    """A tenant is put in; what is set wins; a sovereign cloud's other addresses stand beside its token address."""
    company = authority_for(OAuth("microsoft", "app", tenant="company.example"))
    assert company.token_url == "https://login.microsoftonline.com/company.example/oauth2/v2.0/token"
    assert "common" in authority_for(OAuth("microsoft", "app")).device_url
    us = authority_for(OAuth("microsoft", "app", token_url="https://login.microsoftonline.us/t/oauth2/v2.0/token"))
    assert us.device_url == "https://login.microsoftonline.us/t/oauth2/v2.0/devicecode"
    assert us.auth_url == "https://login.microsoftonline.us/t/oauth2/v2.0/authorize"
    assert authority_for(OAuth("google", "app")).device_url == ""
    assert authority_for(OAuth("", "app", token_url="https://login.example/token", scope="mail")).scope == "mail"
    assert authority_for(OAuth("microsoft", "app", grant=Grant.CLIENT_CREDENTIALS)).scope.endswith("/.default")


@pytest.mark.parametrize(
    ("said", "meant"),
    [(3599, 3599), ("3599", 3599), ("3599.5", 3599), (None, None), (0, None), (-1, None), (True, None), ("x", None)],
)
def test_lifetimes_come_in_every_form(said, meant):
    """As a number, as text, or not at all."""
    assert seconds(said) == meant
