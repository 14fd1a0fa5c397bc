"""Logins by hashed passwords, and `tls: required`: who guesses delays nobody and learns nothing."""

import asyncio
import base64
import hashlib
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay import password_hash
from relay.inbound import login_check
from relay.inbound.admission import ListenAuth, ListenTls
from relay.inbound.login_check import WAITING, LoginCheck, TooMany
from relay.inbound.server_sasl import Credentials
from relay.password_hash import Cost, hash_of
from relay.secret import Secret
from tests.support.device import Device, untrusting
from tests.support.inbound import HERE, receiving

CHEAP = Cost(1024, 8, 1)
DEAR = Cost(16384, 8, 5)
SALT = bytes(range(16))


def hashed(password: bytes, cost: Cost = CHEAP) -> Secret:
    return Secret(str(hash_of(password, SALT, cost)))


def login(user: bytes, password: bytes) -> bytes:
    return b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password) + b"\r\n"


USERS = {"nas": hashed(b"geheim"), "cam": Secret("klar"), "box": hashed("ü\u3042".encode())}
HASHED = replace(HERE, auth=ListenAuth.REQUIRED, users=USERS)


async def test_hashed_and_plain_passwords_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user's own one only; the text of the hash is no password; nothing of any of them is in the log."""
    async with receiving(tmp_path, monkeypatch, HASHED) as relay:
        for user, password in ((b"nas", b"geheim"), (b"cam", b"klar"), (b"box", "ü\u3042".encode()), (b"nas", b"geheim")):
            device = await relay.device()
            await device.dialog((login(user, password), "235 2.7.0"))
            assert (await device.submit(b"x\r\n")).startswith("250")
        assert [one.origin.user for one in await relay.entries()] == ["nas", "cam", "box", "nas"]
        for user, password in ((b"nas", b"klar"), (b"cam", b"geheim"), (b"nas", USERS["nas"].reveal().encode()), (b"x", b"")):
            device = await relay.device(source=f"127.0.1.{len(password) % 200 + 1}")
            await device.dialog((login(user, password), "535 5.7.8"))
        said = str(relay.noted)
        assert all(word not in said for word in ("geheim", "klar", "scrypt"))


async def test_login_goes_on_in_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTH LOGIN, then a second AUTH is refused, and a pipelined MAIL is answered after the 235."""
    async with receiving(tmp_path, monkeypatch, HASHED) as relay:
        device = await relay.device()
        await device.dialog((b"AUTH LOGIN\r\n", "334"), (b"bmFz\r\n", "334"))
        await device.say(base64.b64encode(b"geheim") + b"\r\nMAIL FROM:<a@b.example>\r\n")
        assert (await device.reply()).startswith("235")
        assert (await device.reply()).startswith("250")
        await device.dialog((login(b"nas", b"geheim"), "503"))


async def test_the_time_tells_nothing() -> None:
    """An unknown name, a wrong password for a hash and one for a plain password take the same work."""
    users = {"nas": hashed(b"geheim", Cost(16384, 8, 1)), "cam": Secret("klar")}
    check, took = LoginCheck(), dict[str, float]()
    for name in ("nas", "cam", "nobody"):
        times = []
        for _ in range(3):
            began = time.process_time()  # of all threads: others on the machine do not count
            assert await check.user(Credentials(name.encode(), b"wrong"), users, 0) == ""
            times.append(time.process_time() - began)
        took[name] = statistics.median(times)
    assert max(took.values()) < 1.5 * min(took.values()), took


async def test_every_wrong_login_is_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same computations, whoever is named and whatever is said: with hashes of several costs and plain ones beside them,
    and after a right login, too; a right password of the dearer hash takes no more than a wrong one."""
    done = list[tuple[int, int, int]]()
    scrypt = hashlib.scrypt

    def counted(password: bytes, *, n: int, r: int, p: int, **rest: Any) -> bytes:
        done.append((n, r, p))
        return scrypt(password, n=n, r=r, p=p, **rest)

    other = Cost(2048, 4, 1)
    users = {"nas": hashed(b"geheim"), "box": hashed(b"kiste", other), "tv": hashed(b"tv"), "cam": Secret("klar")}
    monkeypatch.setattr(password_hash.hashlib, "scrypt", counted)
    check = LoginCheck()

    async def work(user: bytes, password: bytes, expected: str = "") -> list[tuple[int, int, int]]:
        done.clear()
        assert await check.user(Credentials(user, password), users, 0) == expected
        return sorted(done)

    usual = sorted((one.n, one.r, one.p) for one in (CHEAP, other))
    wrong = (b"", b"wrong", b"x" * 100_000, b"\xff\0", b"\0 nobody", users["nas"].reveal().encode(), b"geheim ")
    for user in (b"nas", b"box", b"cam", b"nobody", b"", b"\xffnas"):
        for password in wrong:
            assert await work(user, password) == usual, (user, password)
    assert await work(b"cam", b"geheim") == await work(b"nas", b"klar") == await work(b"tv", b"geheim") == usual
    assert await work(b"box", b"kiste", "box") == await work(b"nas", b"geheim", "nas") == usual
    assert await work(b"nas", b"geheim", "nas") == await work(b"cam", b"klar", "cam") == []
    assert await work(b"nas", b"wrong") == await work(b"nas", b"kiste") == await work(b"nobody", b"geheim") == usual


async def test_an_unknown_name_hears_what_a_wrong_password_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same octets, by PLAIN and by LOGIN, time after time, until the relay hangs up."""
    wrong = base64.b64encode(b"wrong") + b"\r\n"

    async def heard(number: int, user: bytes) -> list[str]:
        device, said = await relay.device(source=f"127.0.{number + 3}.1"), list[str]()
        by_login = (b"AUTH LOGIN\r\n", base64.b64encode(user) + b"\r\n", wrong)
        for line in (login(user, b"wrong"), *by_login, *[login(user, b"wrong")] * 5):
            said.append(await device.ask(line))
            if said[-1].startswith("421"):
                break
        return said

    async with receiving(tmp_path, monkeypatch, HASHED) as relay:
        names = (b"nas", b"cam", b"nobody", b"", b"\xff")
        first, *others = await asyncio.gather(*(heard(number, name) for number, name in enumerate(names)))
    assert [one[:4] for one in first[:4]] == ["535 ", "334 ", "334 ", "535 "]
    assert first[-1].startswith("421")
    assert others == [first] * 4


async def test_a_right_password_is_computed_once() -> None:
    """Then it is known, without the work; a changed hash is computed again, and a wrong one always."""
    users, check = {"nas": hashed(b"geheim", DEAR)}, LoginCheck()

    async def cpu(password: bytes, expected: str) -> float:
        began = time.process_time()
        assert await check.user(Credentials(b"nas", password), users, 0) == expected
        return time.process_time() - began

    first = await cpu(b"geheim", "nas")
    assert await cpu(b"geheim", "nas") < first / 10
    assert await cpu(b"falsch", "") > first / 3
    users["nas"] = hashed(b"neu", DEAR)
    assert await cpu(b"geheim", "") > first / 3


async def test_one_at_a_time_and_few_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many those with the most wrong passwords come again later; a client with fewer goes first."""
    running, most, order, go_on = 0, 0, list[bytes](), asyncio.Event()

    async def slowly(work: "object") -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(work.args[0])  # type: ignore[attr-defined]
        await go_on.wait()
        await asyncio.sleep(0.001)
        running -= 1
        return False

    monkeypatch.setattr(login_check, "apart", slowly)
    check = LoginCheck()

    def ask(password: bytes, wrong: int) -> "asyncio.Task[str]":
        return asyncio.create_task(check.user(Credentials(b"nas", password), USERS, wrong))

    guesses = [ask(b"guess %d" % number, 50) for number in range(30)]
    await asyncio.sleep(0)
    nas = ask(b"the NAS", 0)
    for _ in range(3):
        await asyncio.sleep(0)
    refused = [one for one in guesses if one.done()]
    assert len(refused) == 30 - WAITING
    with pytest.raises(TooMany):
        await refused[0]
    gone = next(one for one in guesses[1:] if not one.done())
    gone.cancel()
    go_on.set()
    assert await nas == ""
    await asyncio.gather(*guesses, return_exceptions=True)
    assert order[:2] == [b"guess 0", b"the NAS"]
    assert most == 1
    assert len(order) == WAITING
    assert await check.user(Credentials(b"nas", b"later"), USERS, 0) == ""


async def test_a_flood_of_guesses_does_not_delay_the_nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty clients guess against a dear hash without pause: the NAS logs in and sends within a second, each time."""
    listener = replace(HERE, auth=ListenAuth.REQUIRED, users={"nas": hashed(b"geheim", DEAR)})
    async with receiving(tmp_path, monkeypatch, listener) as relay:
        first = await relay.device(source="127.0.0.5")
        await first.dialog((login(b"nas", b"geheim"), "235"))
        guesses = 0

        async def guess(number: int) -> None:
            nonlocal guesses
            while True:
                async with await relay.device(source=f"127.0.2.{number + 1}") as device:
                    while (await device.ask(login(b"nas", b"guess"), 60)).startswith(("535", "454")):
                        guesses += 1

        guessing = [asyncio.create_task(guess(number)) for number in range(40)]
        slowest = 0.0
        for _ in range(10):
            await asyncio.sleep(0.3)
            began = time.monotonic()
            async with await relay.device(source="127.0.0.5") as nas:
                await nas.dialog((login(b"nas", b"geheim"), "235"))
                assert (await nas.submit(b"x\r\n")).startswith("250")
            slowest = max(slowest, time.monotonic() - began)
        for task in guessing:
            task.cancel()
        await asyncio.gather(*guessing, return_exceptions=True)
        assert guesses > 5
        assert slowest < 1.0


async def test_a_password_that_changes_while_it_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload takes the old one away meanwhile: the session ends, it is not let in by what was right before."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(work: "object") -> bool:
        begun.set()
        await go_on.wait()
        return work()  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(login_check, "apart", slowly)
    async with receiving(tmp_path, monkeypatch, HASHED) as relay:
        device = await relay.device()
        await device.say(login(b"nas", b"geheim"))
        await begun.wait()
        await relay.reload(replace(HASHED, users={"nas": hashed(b"neu")}))
        assert (await device.reply()).startswith("421 4.7.0 your login")
        go_on.set()
        assert await relay.entries() == []


async def test_tls_required_comes_before_login_and_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """530 5.7.0 to AUTH and MAIL, whatever `auth` is; STARTTLS is offered, AUTH is not; then all is as usual."""
    required = replace(HASHED, tls=ListenTls.REQUIRED)
    free = replace(HERE, host="127.0.0.2", tls=ListenTls.REQUIRED)
    off = replace(free, host="127.0.0.3", auth=ListenAuth.OFF)
    lenient = replace(required, host="127.0.0.4", plain_login=True)
    async with receiving(tmp_path, monkeypatch, required, free, off, lenient) as relay:
        for place, listener in zip(relay.inbound.bound, (required, free, off, lenient), strict=True):
            device = await Device.connect(place)
            assert (await device.reply()).startswith("220")
            said = await device.ask(b"EHLO nas\r\n")
            assert "STARTTLS" in said
            assert "AUTH" not in said
            await device.dialog(
                (login(b"nas", b"geheim"), "530 5.7.0"),
                (b"AUTH LOGIN\r\n", "530 5.7.0"),
                (b"MAIL FROM:<a@b.example>\r\n", "530 5.7.0 .*STARTTLS"),
                (b"RCPT TO:<a@b.example>\r\n", "503"),
                (b"NOOP\r\n", "250"),
                (b"STARTTLS\r\n", "220"),
            )
            await device.start_tls(untrusting())
            assert ("AUTH" in await device.ask(b"EHLO nas\r\n")) is (listener.auth is not ListenAuth.OFF)
            if listener.auth is ListenAuth.REQUIRED:
                await device.dialog((b"MAIL FROM:<a@b.example>\r\n", "530"), (login(b"nas", b"geheim"), "235"))
            assert (await device.submit(b"x\r\n")).startswith("250")
        assert [one.origin.protocol for one in await relay.entries()] == ["ESMTPSA", "ESMTPS", "ESMTPS", "ESMTPSA"]
        assert "geheim" not in str(relay.noted)


@pytest.mark.parametrize("listener", [replace(HERE, tls=ListenTls.REQUIRED), replace(HASHED, tls=ListenTls.STARTTLS)])
async def test_without_any_tls_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener) -> None:
    """No certificate can be made: nothing is taken in the clear instead, the start says what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1:0:.*install openssl, or set tls_cert and tls_key"):
        async with receiving(tmp_path, monkeypatch, listener):
            pass


async def test_plain_login_is_said_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a listener without any certificate still takes logins, as it says."""
    monkeypatch.setenv("PATH", str(tmp_path))
    async with receiving(tmp_path, monkeypatch, replace(HASHED, tls=ListenTls.STARTTLS, plain_login=True)) as relay:
        device = await relay.device()
        await device.dialog((login(b"nas", b"geheim"), "235"))
