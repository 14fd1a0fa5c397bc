"""Secrets that show themselves to nobody, not even in what others say."""

from relay.secret import Secret, unsaid


def test_a_secret_prints_stars() -> None:
    """Only `reveal` tells it."""
    secret = Secret("corr3ct-Horse")
    assert (f"{secret}", f"{secret!r}", f"{[secret]}", secret.reveal()) == ("***", "***", "[***]", "corr3ct-Horse")
    assert (bool(secret), bool(Secret(""))) == (True, False)


def test_what_a_server_repeats_is_taken_out() -> None:
    """The longer one first, so that nothing of it stays; every time that it is said."""
    said = "500 corr3ct-Horse-b4ttery? corr3ct-Horse! corr3ct-Horse"
    assert unsaid(said, "corr3ct-Horse", "corr3ct-Horse-b4ttery") == "500 ***? ***! ***"
    assert unsaid(said) == said


def test_a_short_secret_is_any_word() -> None:
    """Taking `wrong` out of `wrong password` would tell that it is the password."""
    assert unsaid("535 wrong password", "wrong", "") == "535 wrong password"
    assert unsaid("535 password", "passwor") == "535 password"
    assert unsaid("535 bad 12345678", "12345678") == "535 bad ***"
