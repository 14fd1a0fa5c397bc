"""Who does the work behind relay/control/care.py in a running relay; loaded by the first guest who asks for it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from relay.config.config_values import Config
from relay.config.editor import Editor
from relay.control.care import Care, Tests, TodaysRouting
from relay.control.queue_admin import QueueAdmin
from relay.doctor.on_demand import AskedExamination
from relay.doctor.subject import Subject
from relay.outbound import routing
from relay.upstream.oauth.logins import Logins
from relay.upstream.settings import Upstream

if TYPE_CHECKING:
    from relay.upstream.oauth.session_tokens import Tokens


@dataclass(frozen=True, slots=True)
class CareParts:
    """What the relay gives; `config` is today's.  `look_again` has the daily check-up look soon."""

    config: Callable[[], Config]
    desk: QueueAdmin
    now: Callable[[], datetime]
    subject: Callable[[], Subject]
    tokens: "Tokens"
    reload: Callable[[], Awaitable[dict[str, Any]]]
    look_again: Callable[[], None]


class CareTaker:
    """`care` is what pages and API ask; `close` ends what is under way."""

    def __init__(self, parts: CareParts) -> None:
        self._parts = parts
        self._examination = AskedExamination(parts.subject, parts.now, parts.look_again)
        self._logins = Logins(parts.tokens, parts.now, lambda: parts.desk.order("retry", None))
        self.care = Care(
            self._examination,
            Tests(parts.desk, parts.now, self._routing),
            self._logins,
            Editor(parts.config, parts.reload),
            self._accounts,
            self._consents,
        )

    def _routing(self) -> TodaysRouting:
        config = self._parts.config()
        return TodaysRouting(
            config.recipients,
            lambda sender, recipient, origin: routing.may_route(config.routes, sender, recipient, origin),
            config.notices.to,
            config.hostname,
        )

    def _accounts(self) -> Mapping[str, Upstream]:
        return {name: one for name, one in self._parts.config().upstreams.items() if one.login.oauth is not None}

    async def _consents(self) -> list[dict[str, Any]]:
        accounts = list(self._accounts().values())
        return await asyncio.to_thread(self._parts.tokens.standings, accounts) if accounts else []

    async def close(self) -> None:
        await self._examination.close()
        await self._logins.close()
