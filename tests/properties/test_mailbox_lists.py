"""Address lists: what repair wrote is right, and is the same list when it is read again."""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from relay.mail.mailboxes import count_regular
from tests.support.letters import RIGHT, repaired

CHARSETS = st.sampled_from(["utf-8", "iso-2022-jp", "us-ascii", "!", "x-none", "utf-8*ja"])
CODED = st.lists(
    st.sampled_from(
        ["=00", "=0D=0A", "=1B", "=22", "=5C", "=E6=B8=A9", "_", "a", "@", "<", ">", ",", ";", ":", '"', "AAAA", "="]
    )
).map("".join)
ENCODED_WORDS = st.builds("=?{}?{}?{}?=".format, CHARSETS, st.sampled_from("BbQq"), CODED)
WORDS = st.one_of(
    ENCODED_WORDS,
    ENCODED_WORDS.map('"{}"'.format),
    st.text('ab .,;:@<>()[]"\\=?\t\0\x1b\x7f\u6e29\u00e9\u0085', max_size=8),
    st.text("ab .,;:@<>()[]\\=?", max_size=8).map(lambda text: '"' + text.replace("\\", "\\\\") + '"'),
    st.sampled_from(
        ["!", "root", "NAS", '"a \\"b\\" \\\\"', "=?", "?=", "(x)", "(x", ":;", " :;", "a@b.jp", "<a@b.jp>", "温度"]
    ),
)
LISTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "", ", ", ";", " :;, "])), max_size=6).map(
    lambda pieces: "".join(word + separator for word, separator in pieces)
)
OTHERS = RIGHT.replace(b"To: admin@example.jp\r\n", b"")


def listed(*values: str) -> tuple[str, bool]:
    """The recipients that go out, in one line, for those that came in; whether any repair was needed."""
    came = "".join(f"To: {value}\r\n" for value in values).encode("utf-8")
    result = repaired(OTHERS + came + b"\r\nx\r\n")
    [field] = [field for field in result.message.fields if field.name == "to"]
    return field.value.decode("ascii").replace("\r\n", ""), bool(result.notes)


@example("=?!?q?=00@?=, !")
@example('"=?utf-8?B?=00<?=" :;, ":; \\"x\\"" :;, "a@b.jp" :;')
@given(LISTS)
def test_a_list_that_was_written_is_read_as_the_same(came):
    """Names without an address (empty groups), in code that nobody can read, with marks, with controls: it is right, and
    with one more recipient behind it, all before stays.
    """
    written, _ = listed(came, "root")  # alone it is no right list, so that all is written anew
    assert count_regular(written.encode()) > 0
    assert listed(written) == (written, False)
    assume(written != "undisclosed-recipients:;")  # ours, in place of a list in which nothing can be read
    assert listed(written, "!") == (f"{written}, ! :;", True)
