"""Recipients of any device's mail: each row once, nobody who is not meant, copies beside and never instead of the original."""

from hypothesis import given
from hypothesis import strategies as st

from relay.inbound.admission import Recipients
from relay.inbound.device_rules import recipients_of
from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.envelope import Origin
from relay.mail.reply import Reply
from relay.outbound.routing import Route, copies, may_route

ADDRESSES = st.builds(
    Address, st.sampled_from(["a", "b", "A", "root"]), st.sampled_from(["x.example", "y.example", "X.example"])
)
SOME = st.lists(ADDRESSES, max_size=3).map(tuple)
DEVICES = st.builds(
    Device, st.just("cam"), to=SOME, copy_to=SOME, may_send_to=st.sampled_from([(), ("*@x.example",), ("a@*",)])
)
ROUTES = st.lists(
    st.builds(
        Route,
        via=st.just(("isp",)),
        to=st.sampled_from([(), ("*@x.example",), ("b@*",)]),
        device=st.sampled_from([(), ("cam",), ("other",)]),
        copy_to=SOME,
    )
    | st.builds(Route, to=st.sampled_from([("*@y.example",), ("a@*",)]), reject=st.just("no")),
    max_size=4,
).map(tuple)
ORIGIN = Origin("10.0.0.1", "cam")


@given(ADDRESSES, DEVICES, SOME, st.dictionaries(st.sampled_from(["root@x.example", "*@y.example"]), SOME.filter(bool)))
def test_nobody_gets_mail_who_is_not_meant(path: Address, device: Device, everything: tuple[Address, ...], aliases) -> None:
    """What a device may not address is refused; else it goes to its `to`, else to everything's, else where it was addressed."""
    recipients = Recipients("", aliases, everything)
    told = recipients_of(path, device, recipients)
    if isinstance(told, Reply):
        assert (told.code, bool(device.may_send_to)) == (550, True)
    elif device.to or everything:
        assert told == (device.to or everything)
    else:
        assert told == recipients_of(path, None, recipients)


@given(ROUTES, st.lists(ADDRESSES, min_size=1, max_size=4), st.none() | DEVICES)
def test_copies_go_only_where_a_rule_takes_them(routes, recipients: list[Address], device: Device | None) -> None:
    """Each of them was asked for by the device or by the rule of a recipient, and each is told once."""
    name = device.name if device else ""
    found = list(copies(routes, None, recipients, ORIGIN, device))
    assert len(found) == len(set(found))
    assert all(may_route(routes, None, copy, ORIGIN, name) is None for copy in found)
    wanted = {*(device.copy_to if device else ()), *(copy for route in routes for copy in route.copy_to)}
    assert set(found) <= wanted
    if device:
        assert {one for one in device.copy_to if may_route(routes, None, one, ORIGIN, name) is None} <= set(found)
