"""What each setting of a device is for, in words: a part of schema.py.  Pure."""

from relay.config.described import Section, Setting

_S = Setting

DEVICES: tuple[Section, ...] = (
    Section(
        "devices.*",
        "{client: 192.168.0.20, expect_every: 26h}",
        "A device, under a name of your choice, and what holds for its mail ([how to](device-rules.md)). At least one of"
        " `client`, `user` and `helo`; all that are set must hold, of several values one. The first device that matches is it.",
        (
            _S("client", "Its address or network.", otherwise="any"),
            _S("user", "The name that it logs in with.", otherwise="any, or none"),
            _S("helo", "What it calls itself in HELO or EHLO, as a pattern such as `BRN*`.", otherwise="anything"),
            _S("name", "The display name in its mail's From.", otherwise="the one that the device wrote"),
            _S(
                "sender",
                "Its own address, at upstreams whose account may send so (`sender_domains`). Elsewhere the upstream's.",
                otherwise="the one that the device wrote, as `rewrite` has it",
            ),
            _S("subject_prefix", "Stands before each Subject, once. Not on signed mail (DKIM, S/MIME, PGP)."),
            _S("header", "Header fields to add, by name, where the message has none of that name."),
            _S("to", "All its mail goes here, whatever it is addressed to. The To field stays. One address or a list."),
            _S("copy_to", "Who gets a copy of all its mail. One address or a list."),
            _S(
                "may_send_to",
                "Patterns of the addresses that it may write to, before or after `aliases`; others are refused with 550.",
                otherwise="everybody",
            ),
            _S(
                "expect_every",
                "The longest time without mail that is normal. After it, and when it is back, `notices` are told.",
            ),
        ),
    ),
    Section(
        "devices.*.limits",
        "{messages_per_minute: 10, per_day: 200, message: 20MB}",
        "What this device may send. It counts beside the `limits` for all.",
        (
            _S(
                "messages_per_minute", "Messages in a minute; more are answered 450: try again.", otherwise="as `limits` has it"
            ),
            _S("per_day", "Messages a day, by UTC; more are answered 450, and you are told.", otherwise="no limit"),
            _S("message", "Its largest message; a larger one is refused with 552.", otherwise="`spool.max_message`"),
        ),
    ),
    Section(
        "devices.*.storm",
        "{same_within: 10m, per_hour: 30}",
        "Many messages become few: the first goes at once, the rest as one digest. At least one of the two.",
        (
            _S("same_within", "What comes within this time after the last of the same (digits in the subject do not count)."),
            _S("per_hour", "Messages in an hour that go on their own."),
        ),
    ),
    Section(
        "devices.*.quiet",
        '{hours: "22:00-07:00", except: ["*FAIL*"]}',
        "Mail that waits till morning.",
        (
            _S("hours", "From when to when, local time; one span or a list. Required."),
            _S("except", "Patterns over the subject of mail that goes at once.", otherwise="none"),
        ),
    ),
)
