"""The challenges and answers of a login.  RFC 4954 s4."""

from relay.inbound.connection import Connection, Gone
from relay.inbound.sasl import PASSWORD_CHALLENGE, USERNAME_CHALLENGE, Credentials, decoded, plain


async def ask_credentials(connection: Connection, mechanism: str, initial: str) -> Credentials | None:
    """What the device says by PLAIN or LOGIN; None if it took its login back with `*`.  Raises Gone.

    `initial` is what stood on the AUTH line: .NET and Konica Minolta put the LOGIN user name there.
    """
    if mechanism == "PLAIN":
        response = initial or await _challenge(connection, "334 ")
        return None if response == "*" else plain(response)
    user = initial or await _challenge(connection, USERNAME_CHALLENGE)
    if user == "*":
        return None
    answer = await _challenge(connection, PASSWORD_CHALLENGE)
    return None if answer == "*" else Credentials(decoded(user), decoded(answer))


async def _challenge(connection: Connection, challenge: str) -> str:
    await connection.say(challenge)
    line = await connection.next_line()
    if line is None:
        raise Gone
    return line.decode("utf-8", "replace").strip()
