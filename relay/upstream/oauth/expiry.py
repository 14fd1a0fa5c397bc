"""Warnings about a consent before it ends.  Pure."""

from datetime import datetime, timedelta

from relay.upstream.oauth.token_store import StoredToken
from relay.upstream.settings import Grant, Upstream

TESTING_LIFE = timedelta(days=7)
"""How long Google keeps a consent to an application whose publishing status is "Testing"."""

TESTING_WARNED = timedelta(days=5)
IDLE_RENEWAL = timedelta(days=10)
"""A refresh token that nobody uses dies (Microsoft: 90 days, Google: 6 months), so an idle one is used now and then."""

_NOTICE = timedelta(days=2)


def warnings_on(upstream: Upstream, kept: StoredToken | None, now: datetime) -> list[str]:
    """Sentences for the owner; none if all is well."""
    name, oauth = upstream.name, upstream.login.oauth
    if oauth is None or oauth.grant is Grant.CLIENT_CREDENTIALS:
        return []
    login = f"`relay oauth login {name}`"
    if kept is None:
        return [f"{name} has no OAuth token yet, or it was given for another account: run {login}."]
    if kept.ends_at and kept.ends_at <= now:
        return [f"The OAuth consent for {name} ended on {kept.ends_at:%Y-%m-%d}: run {login}."]
    if kept.ends_at and kept.ends_at - now <= _NOTICE:
        return [
            f"The OAuth consent for {name} ends on {kept.ends_at:%Y-%m-%d %H:%M} UTC: run {login} before.{_testing(upstream)}"
        ]
    age = now - kept.granted_at
    if oauth.provider == "google" and not kept.ends_at and TESTING_WARNED <= age < TESTING_LIFE:
        end = kept.granted_at + TESTING_LIFE
        return [
            f"If the publishing status of your Google application is Testing, the consent for {name} ends on "
            f"{end:%Y-%m-%d %H:%M} UTC: set it to In production in the Google Cloud console, then run {login}."
        ]
    return []


def _testing(upstream: Upstream) -> str:
    if not upstream.login.oauth or upstream.login.oauth.provider != "google":
        return ""
    return (
        " Google keeps consents to applications in Testing for seven days; set the publishing status to In production in the"
        " Google Cloud console first."
    )


def idle(kept: StoredToken | None, now: datetime) -> bool:
    """Whether the refresh token should be used once, so that it lives on."""
    return kept is not None and bool(kept.refresh_token) and now - kept.refreshed_at >= IDLE_RENEWAL


def standing(upstream: Upstream, kept: StoredToken | None, now: datetime) -> dict[str, str | float | list[str] | None]:
    """For metrics, page and doctor.  `age` in seconds since the consent; times in ISO 8601; no secret.

    An application that speaks for itself has no consent: its age is None.
    """
    oauth = upstream.login.oauth
    consented = kept if oauth is None or oauth.grant is not Grant.CLIENT_CREDENTIALS else None

    def told(moment: datetime | None) -> str | None:
        return moment.isoformat(timespec="seconds") if moment else None

    return {
        "upstream": upstream.name,
        "granted_at": told(consented.granted_at) if consented else None,
        "age": (now - consented.granted_at).total_seconds() if consented else None,
        "refreshed_at": told(kept.refreshed_at) if kept else None,
        "access_until": told(kept.access_until) if kept else None,
        "ends_at": told(kept.ends_at) if kept else None,
        "warnings": warnings_on(upstream, kept, now),
    }
