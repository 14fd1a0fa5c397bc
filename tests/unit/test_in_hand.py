"""The marks of what is in hand, as a file that one life leaves to the next."""

import asyncio
from pathlib import Path

import pytest

from relay.outbound import in_hand
from relay.outbound.in_hand import Doing, InHand, Mark

ONE, OTHER = "01m8n4hke6fbkj", "01m8n4hrnvdpwq"


async def dies(
    directory: Path, *queue_ids: str, telling: bool = False, asked: bool = False, doing: Doing = Doing.PREPARING
) -> None:
    """A life that ends in the middle of its work with these."""
    hands = InHand.open(directory)
    for queue_id in queue_ids:
        async with hands.mark(queue_id, telling=telling) as mark:
            if asked:
                hands.stopping()
            with mark.at(doing):
                image = (directory / "in-hand").read_bytes()
    (directory / "in-hand").write_bytes(image)


async def deaths(directory: Path, queue_id: str, *, telling: bool = False) -> int:
    hands = InHand.open(directory)
    async with hands.mark(queue_id, telling=telling) as mark:
        return mark.deaths


async def test_two_deaths_in_a_row_are_counted(tmp_path):
    """One in hand each time comes to two, one that was not there comes to none."""
    await dies(tmp_path, ONE)
    assert InHand.open(tmp_path).suspects() == (ONE,)
    await dies(tmp_path, ONE)
    assert await deaths(tmp_path, ONE) == in_hand.DEATHS
    assert await deaths(tmp_path, OTHER) == 0


@pytest.mark.parametrize(
    ("stages", "cause"),
    [
        ("PP", True),
        ("RS", False),
        ("SSSS", False),
        ("SSSSS", True),
        ("SPS", False),
        ("SPSP", True),
        ("SSSSP", True),
        ("PSSS", False),
    ],
)
async def test_what_is_stored_takes_more_deaths_to_be_blamed(tmp_path, stages, cause):
    """A relay killed at random moments is mostly waiting for the disk; what crashes it there is found all the same."""
    for stage in stages:
        await dies(tmp_path, ONE, doing={"P": Doing.PREPARING, "R": Doing.ROUTING, "S": Doing.STORING}[stage])
    async with InHand.open(tmp_path).mark(ONE) as mark:
        assert (mark.deaths, mark.storing, mark.is_cause()) == (len(stages), stages.count("S"), cause)


async def test_who_comes_through_is_no_suspect_any_more(tmp_path):
    """Stored in an orderly way: the next death begins at one again."""
    await dies(tmp_path, ONE)
    hands = InHand.open(tmp_path)
    async with hands.mark(ONE) as mark:
        with mark.at(Doing.STORING):
            pass
    assert hands.suspects() == ()
    await dies(tmp_path, ONE)
    assert await deaths(tmp_path, ONE) == 1


async def test_who_was_only_put_off_stays_a_suspect(tmp_path):
    """Its upstream rests, so it did not come to where the relay died."""
    await dies(tmp_path, ONE)
    hands = InHand.open(tmp_path)
    async with hands.mark(ONE) as mark:
        with mark.at(Doing.ROUTING):
            pass
    assert await deaths(tmp_path, ONE) == 1


async def test_who_had_the_final_dot_is_known_until_the_answer_is_stored(tmp_path):
    """Through any number of lives that do not come to it; of a message that was only on its way nothing is said."""
    hands, images = InHand.open(tmp_path), []
    async with hands.mark(ONE) as mark:
        with mark.at(Doing.SENDING):
            images.append((tmp_path / "in-hand").read_bytes())
            mark.sent_to("isp")
            images.append((tmp_path / "in-hand").read_bytes())
        with mark.at(Doing.STORING):
            images.append((tmp_path / "in-hand").read_bytes())
        with mark.at(Doing.PREPARING):
            images.append((tmp_path / "in-hand").read_bytes())
    for image, upstream in zip(images, ("", "isp", "isp", ""), strict=True):
        (tmp_path / "in-hand").write_bytes(image)
        for _ in range(2):
            hands = InHand.open(tmp_path)
            async with hands.mark(ONE) as mark:
                assert mark.maybe_at(["other", "isp"]) == upstream
                assert mark.maybe_at(["other"]) == ""


async def test_power_cuts_alone_hold_nobody(tmp_path, monkeypatch):
    """Whoever was in hand when the machine went down is a suspect, however often that happens."""
    for boot in (b"a", b"b", b"c", b"d"):
        monkeypatch.setattr(in_hand, "_boot_id", lambda boot=boot: boot * 36)
        await dies(tmp_path, ONE)
    monkeypatch.setattr(in_hand, "_boot_id", lambda: b"e" * 36)
    assert await deaths(tmp_path, ONE) == 1


async def test_an_end_that_was_asked_for_makes_no_suspects(tmp_path):
    """SIGTERM came first; that a kill followed says nothing of the messages."""
    await dies(tmp_path, ONE, asked=True)
    hands = InHand.open(tmp_path)
    assert (hands.left, hands.suspects()) == ((), ())


async def test_telling_of_a_message_counts_apart(tmp_path):
    """That a failure could not be told does not hold the message's other recipients."""
    await dies(tmp_path, ONE, telling=True)
    assert await deaths(tmp_path, ONE) == 0
    assert await deaths(tmp_path, ONE, telling=True) == 1


async def test_suspects_go_one_at_a_time_and_others_beside_them(tmp_path):
    """The second death must show who it was."""
    hands = InHand.open(tmp_path)
    async with hands.mark(ONE) as first, hands.mark(OTHER) as second:
        with first.at(Doing.SENDING), second.at(Doing.SENDING):
            image = (tmp_path / "in-hand").read_bytes()
    (tmp_path / "in-hand").write_bytes(image)
    hands, together = InHand.open(tmp_path), []

    async def carry(queue_id: str) -> None:
        async with hands.mark(queue_id) as mark:
            together.append(queue_id)
            with mark.at(Doing.STORING):
                await asyncio.sleep(0.02)
            together.append(queue_id)

    await asyncio.gather(carry(ONE), carry(OTHER), carry("01m8n4zzzzzzzz"))
    order = [queue_id for queue_id in together if queue_id in (ONE, OTHER)]
    assert order[0] == order[1] and order[2] == order[3]
    assert together.index("01m8n4zzzzzzzz") < 3


@pytest.mark.parametrize("octets", [b"", b"x" * 100, b"\xff" * in_hand._SIZE, bytes(in_hand._SIZE)])
async def test_a_damaged_file_says_nothing(tmp_path, octets):
    """Half a file, or noise: nobody is a suspect, and the marks work from here on."""
    (tmp_path / "in-hand").write_bytes(octets)
    assert InHand.open(tmp_path).left == ()
    await dies(tmp_path, ONE)
    assert InHand.open(tmp_path).left == (ONE,)


async def test_noise_in_one_record_harms_no_other(tmp_path):
    """What is no queue id is passed over."""
    await dies(tmp_path, ONE)
    octets = bytearray((tmp_path / "in-hand").read_bytes())
    octets[64:104] = b"\xf0" * 40
    (tmp_path / "in-hand").write_bytes(octets)
    assert InHand.open(tmp_path).left == (ONE,)


async def test_more_than_there_are_places_for_go_unmarked(tmp_path):
    """Nothing fails, and all places are free again afterwards."""
    hands = InHand.open(tmp_path)
    many = [f"{number:014d}" for number in range(in_hand._PLACES + 5)]
    async with hands.mark(*many) as mark:
        with mark.at(Doing.TELLING):
            pass
    async with hands.mark(*many[: in_hand._PLACES]) as mark:
        assert -1 not in mark.places


async def test_a_message_that_takes_for_ever_is_seen(monkeypatch):
    """Waiting is no work; preparing for longer than any message can take is."""
    hands = InHand()
    monkeypatch.setenv("RELAY_TEST_STUCK_SECONDS", "0")
    async with hands.mark(ONE) as mark:
        with mark.at(Doing.SENDING):
            assert not hands.stuck()
        with mark.at(Doing.PREPARING):
            assert hands.stuck()
        assert not hands.stuck()
    assert isinstance(mark, Mark)
