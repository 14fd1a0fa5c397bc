"""One account's tokens: the kept one while it is good, else a new one, durable before anybody uses it.  Blocks.

RFC 6749 s4.4 (client credentials), s6 (refresh); quirks: Microsoft makes the old refresh token void with each renewal.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.mail.reply import Fault
from relay.secret import Secret
from relay.upstream.oauth.assertion import CannotSign, assertion
from relay.upstream.oauth.authorities import Authority, authority_for
from relay.upstream.oauth.errors import cure_for
from relay.upstream.oauth.http import PATIENCE, Denied, Granted, ask_token
from relay.upstream.oauth.token_store import StoreBroken, StoredToken, TokenStore
from relay.upstream.settings import Grant, OAuth, Upstream

EARLY = timedelta(minutes=5)
"""How long before its end an access token is renewed; half its life where that is shorter."""

_ASSUMED = 3600  # seconds; what Microsoft and Google give, where a server tells no lifetime
_SAME_TROUBLE = timedelta(seconds=10)
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class NoToken:
    """Why there is no access token; `passing`: it may be there later without anybody doing anything."""

    words: str
    fault: Fault = Fault.TOKEN
    passing: bool = False


class TokenAccount:
    """The tokens of one upstream.  Its methods block, and are one at a time over all processes.

    `fetched` is the access token that was fetched here last, not found on disk.
    """

    def __init__(self, upstream: Upstream, store: TokenStore, now: Callable[[], datetime], patience: float = PATIENCE) -> None:
        self.upstream = upstream
        self.oauth = upstream.login.oauth or OAuth()
        self.authority = authority_for(self.oauth)
        self._store, self._now, self._patience = store, now, patience
        self._trouble: tuple[str, datetime, NoToken] | None = None
        self._unsaved: tuple[Secret, StoredToken] | None = None
        self.fetched = ""

    def kept(self) -> StoredToken | None:
        """What is on disk for this account.  Raises StoreBroken."""
        return self._store.load(self.oauth.client_id, self.upstream.login.username, self._now())

    def token(self) -> Secret | NoToken:
        """An access token that is good for a while."""
        return self._locked(lambda kept: self._usable(kept) or self._renewed(kept))

    def renew(self, *, instead_of: str = "") -> Secret | NoToken:
        """A new access token.  With `instead_of`, one that somebody else fetched meanwhile will do."""

        def work(kept: StoredToken | None) -> Secret | NoToken:
            if instead_of and kept and kept.access_token and kept.access_token.reveal() != instead_of:
                return kept.access_token
            return self._renewed(kept, keep_old=False)

        return self._locked(work)

    def consented(self, granted: Granted) -> StoredToken:
        """Keeps what a person's consent brought.  Raises StoreBroken."""
        now = self._now()
        fresh = StoredToken(Secret(""), self.oauth.client_id, self.upstream.login.username, granted_at=now, refreshed_at=now)
        kept = _merged(fresh, granted, now)
        self.take_over(kept)
        return kept

    def take_over(self, kept: StoredToken) -> None:
        """Keeps what was known elsewhere.  Raises StoreBroken."""
        with self._store.locked():
            self._store.save(kept)

    def _locked(self, work: Callable[[StoredToken | None], Secret | NoToken]) -> Secret | NoToken:
        try:
            with self._store.locked():
                return work(self._rescued(self.kept()))
        except StoreBroken as error:
            return NoToken(f"the OAuth tokens of {self.upstream.name} cannot be kept: {error}", Fault.TOKEN_STORE, passing=True)

    def _rescued(self, kept: StoredToken | None) -> StoredToken | None:
        """A renewal that could not be written is written first: the token on disk may be void by now."""
        if self._unsaved and kept and kept.refresh_token == self._unsaved[0]:
            kept = self._unsaved[1]
            self._store.save(kept)
        self._unsaved = None
        return kept

    def _usable(self, kept: StoredToken | None) -> Secret | None:
        """The kept access token, if its end is not near and the clock has not gone back behind its making."""
        if not kept or not kept.access_token or not kept.access_until:
            return None
        now = self._now()
        margin = min(EARLY, (kept.access_until - kept.refreshed_at) / 2)
        fresh = kept.refreshed_at <= now + timedelta(minutes=1)
        return kept.access_token if fresh and now < kept.access_until - margin else None

    def _renewed(self, kept: StoredToken | None, *, keep_old: bool = True) -> Secret | NoToken:
        if kept is None or not kept.refresh_token:
            if self.oauth.grant is not Grant.CLIENT_CREDENTIALS:
                return NoToken(
                    f"there is no OAuth token for {self.upstream.name}; run `relay oauth login {self.upstream.name}` first"
                )
            kept = kept or self._nothing_yet()
        if known := self._known_trouble(kept):
            return known
        self._store.save(kept)  # a disk that is full must be found out before the old token is void
        answer = self._asked(kept)
        if isinstance(answer, Denied):
            still_good = keep_old and kept.access_token and kept.access_until and self._now() < kept.access_until
            if answer.passing and still_good and kept.access_token:
                return kept.access_token
            trouble = self._trouble_of(answer)
            self._trouble = (kept.refresh_token.reveal(), self._now(), trouble)
            return trouble
        return self._taken(kept, answer)

    def _nothing_yet(self) -> StoredToken:
        now = self._now()
        return StoredToken(Secret(""), self.oauth.client_id, self.upstream.login.username, granted_at=now, refreshed_at=now)

    def _known_trouble(self, kept: StoredToken) -> NoToken | None:
        """Several messages that fail together cause one request."""
        if not self._trouble:
            return None
        token, at, trouble = self._trouble
        recent = timedelta() <= self._now() - at < _SAME_TROUBLE
        return trouble if recent and token == kept.refresh_token.reveal() else None

    def _taken(self, kept: StoredToken, granted: Granted) -> Secret:
        """Writes to disk first: after the provider's rotation only this refresh token is valid."""
        new = _merged(kept, granted, self._now())
        self._unsaved = (kept.refresh_token, new)
        self._store.save(new)
        self._unsaved, self._trouble = None, None
        self.fetched = granted.access_token.reveal()
        return granted.access_token

    def _asked(self, kept: StoredToken) -> Granted | Denied:
        try:
            form = self._form(kept)
        except CannotSign as error:
            return Denied("", str(error), passing=False)
        return ask_token(self.authority.token_url, form, self._patience)

    def _form(self, kept: StoredToken) -> dict[str, str]:
        form = identity_form(self.oauth, self.authority, self._now())
        if self.oauth.grant is Grant.CLIENT_CREDENTIALS:
            return {**form, "grant_type": "client_credentials", "scope": self.authority.scope}
        form |= {"grant_type": "refresh_token", "refresh_token": kept.refresh_token.reveal()}
        # Google refuses a scope here that differs by a letter; Microsoft wants it
        return form | ({"scope": self.authority.scope} if self.oauth.provider == "microsoft" else {})

    def _trouble_of(self, denied: Denied) -> NoToken:
        """The provider's own text, then what to do."""
        name = self.upstream.name
        told = f"{self.authority.name} gives no access token for {name}: {denied}"
        if denied.passing:
            return NoToken(told, Fault.TOKEN_SERVER, passing=True)
        login = "" if self.oauth.grant is Grant.CLIENT_CREDENTIALS else f" Then run `relay oauth login {name}`."
        return NoToken(f"{told.rstrip('.')}. {cure_for(denied)}{login}".strip(), Fault.TOKEN_DENIED)


def identity_form(oauth: OAuth, authority: Authority, now: datetime) -> dict[str, str]:
    """Who we are, as the token server wants it (RFC 6749 s2.3.1, RFC 7523 s2.2).  Raises CannotSign."""
    form = {"client_id": oauth.client_id}
    if oauth.certificate_file:
        signed = assertion(oauth.client_id, authority.token_url, oauth.certificate_file, now)
        return form | {"client_assertion_type": _JWT_BEARER, "client_assertion": signed}
    return form | ({"client_secret": oauth.client_secret.reveal()} if oauth.client_secret else {})


def _merged(kept: StoredToken, granted: Granted, now: datetime) -> StoredToken:
    told = granted.refresh_expires_in
    return replace(
        kept,
        refresh_token=granted.refresh_token or kept.refresh_token,
        refreshed_at=now,
        ends_at=now + timedelta(seconds=told) if told else kept.ends_at,
        access_token=granted.access_token,
        access_until=now + timedelta(seconds=granted.expires_in or _ASSUMED),
    )
