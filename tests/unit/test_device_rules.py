"""What one device may send, and where its mail goes."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.inbound.admission import Recipients
from relay.inbound.device_rules import DeviceThrottle, OverDeviceLimit, admit_device_size, recipients_of
from relay.mail.address import Address
from relay.mail.device import Device, DeviceLimits
from relay.mail.reply import Reply

NOW = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
ME, YOU, FAR = Address("me", "isp.example"), Address("you", "isp.example"), Address("x", "far.example")
ALIASES = {"root": (ME,), "both": (ME, FAR), "*@nas.local": (FAR,)}


@pytest.mark.parametrize(
    ("device", "everything_to", "path", "found"),
    [
        (None, (), FAR, (FAR,)),
        (None, (YOU,), FAR, (YOU,)),
        (None, (YOU,), Address("nobody"), (YOU,)),
        (None, (), Address("nobody"), 550),
        (Device("a"), (), Address("root"), (ME,)),
        (Device("a", to=(ME, YOU)), (), FAR, (ME, YOU)),
        (Device("a", to=(ME,)), (YOU,), Address("nobody"), (ME,)),
        (Device("a", may_send_to=("*@isp.example",)), (), FAR, 550),
        (Device("a", may_send_to=("*@isp.example",)), (), Address("root"), (ME,)),
        (Device("a", may_send_to=("*@isp.example",)), (), Address("both"), 550),
        (Device("a", may_send_to=("both",)), (), Address("both"), (ME, FAR)),
        (Device("a", may_send_to=("*@nas.local",)), (), Address("x", "nas.local"), (FAR,)),
        (Device("a", may_send_to=("*@isp.example",), to=(YOU,)), (), FAR, 550),
        (Device("a", may_send_to=("*@isp.example",), to=(YOU,)), (), ME, (YOU,)),
        (Device("a", may_send_to=("nobody",)), (YOU,), Address("nobody"), (YOU,)),
    ],
)
def test_where_mail_goes(device: Device | None, everything_to, path: Address, found) -> None:
    """What a device may address is judged first; then the device's own `to`, then everything's, then the aliases."""
    told = recipients_of(path, device, Recipients("", ALIASES, everything_to))
    assert (told.code if isinstance(told, Reply) else told) == found


def test_a_large_message_is_refused() -> None:
    device = Device("cam", limits=DeviceLimits(message=1000))
    assert admit_device_size(1000, device) is None
    assert admit_device_size(10**9, Device("nas")) is None
    assert str(admit_device_size(1001, device)) == (
        "552 5.3.4 the message is larger than 1000 octets (devices.cam.limits.message)"
    )


def test_messages_are_counted_by_minute_and_day() -> None:
    """Each device for itself; a new minute, and a new day by UTC, begin at nothing."""
    throttle, cam = DeviceThrottle(), Device("cam", limits=DeviceLimits(messages_per_minute=2, per_day=3))
    nas = Device("nas", limits=DeviceLimits(per_day=1))
    assert throttle.begins(NOW)
    throttle.knows({"cam": 1}, NOW)
    assert not throttle.begins(NOW)
    for _ in range(2):
        assert throttle.admit(cam, NOW) is None
        throttle.count(cam, NOW)
    refusal = throttle.admit(cam, NOW)
    assert isinstance(refusal, OverDeviceLimit)
    assert "per_day" in refusal.text
    assert throttle.admit(nas, NOW) is None
    later = NOW + timedelta(minutes=2)
    assert throttle.begins(later)
    throttle.knows({}, later)
    assert throttle.admit(cam, later) is None
    throttle.count(cam, later)
    throttle.count(cam, later)
    refusal = throttle.admit(cam, later + timedelta(seconds=59))
    assert refusal
    assert "messages_per_minute" in refusal.text
    assert throttle.admit(cam, later + timedelta(seconds=60)) is None
