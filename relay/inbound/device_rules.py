"""What the configuration allows one device, and where its mail goes: decided at MAIL, RCPT and DATA.  Pure."""

from datetime import datetime

from relay.inbound.admission import Recipients, Throttle, expand
from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.glob import matching
from relay.mail.reply import Reply


class OverDeviceLimit(Reply):
    """A device has sent more than `devices.NAME.limits` allow."""


def recipients_of(path: Address, device: Device | None, recipients: Recipients) -> tuple[Address, ...] | Reply:
    """Who gets what is addressed to this path: by the device, by `everything_to`, else by the aliases."""
    meant = expand(path, recipients)
    if device and device.may_send_to and not _may_address(device, path, meant):
        return Reply(550, "5.7.1", f"{device.name} may not send to {path} (devices.{device.name}.may_send_to)")
    return (device.to if device else ()) or recipients.everything_to or meant


def _may_address(device: Device, path: Address, meant: tuple[Address, ...] | Reply) -> bool:
    """By the address as the device wrote it, or by all that it stands for."""
    if matching(device.may_send_to, str(path)):
        return True
    return not isinstance(meant, Reply) and all(matching(device.may_send_to, str(one)) for one in meant)


def admit_device_size(said: int, device: Device) -> Reply | None:
    """None if a message of this many octets may come from this device."""
    most = device.limits.message
    if most is None or said <= most:
        return None
    return Reply(552, "5.3.4", f"the message is larger than {most} octets (devices.{device.name}.limits.message)")


class DeviceThrottle:
    """Messages of each device within the last minute, and on this day by UTC."""

    def __init__(self) -> None:
        self._minute = Throttle()
        self._day = ""
        self._sent: dict[str, int] = {}

    def begins(self, now: datetime) -> bool:
        """Whether nothing is known of this day yet: what was accepted before is to be told by `knows`."""
        return f"{now:%Y-%m-%d}" != self._day

    def knows(self, sent: dict[str, int], now: datetime) -> None:
        """How many messages of each device were accepted today."""
        self._day, self._sent = f"{now:%Y-%m-%d}", dict(sent)

    def admit(self, device: Device, now: datetime) -> Reply | None:
        """None if this device may send one more message now."""
        limits, name = device.limits, f"devices.{device.name}.limits"
        if limits.per_day is not None and self._sent.get(device.name, 0) >= limits.per_day:
            return OverDeviceLimit(
                450, "4.7.1", f"the limit of {limits.per_day} a day is reached; try again tomorrow ({name}.per_day)"
            )
        per_minute = limits.messages_per_minute
        if per_minute is not None and self._minute.admit(device.name, now, per_minute):
            text = f"too many messages within a minute; try again soon ({name}.messages_per_minute)"
            return OverDeviceLimit(450, "4.7.1", text)
        return None

    def count(self, device: Device, now: datetime) -> None:
        """One more message of this device was accepted."""
        self._minute.count(device.name, now)
        self._sent[device.name] = self._sent.get(device.name, 0) + 1
