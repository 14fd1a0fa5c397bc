"""Users of other relays: scrypt as others write it is checked here, what cannot be checked is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import config
from relay.cli.main import main
from relay.importers.device_users import foreign_hash, is_users_file, read_users
from relay.importers.plan import Plan, Source
from relay.password_hash import BadHash


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        # crypt(3) of libxcrypt 4.4.33
        ("$7$CU..../....saltsaltsalt$4wlXiJjTLA60wDJ0tZuAHjZE1IrAjWcxwN96IiFX9H6", b"geheim"),
        ("$7$A6..../....saltsaltsalt$wBxRct71RaMEqj/J8Rx8MToJwcfcnTNcgkDDQ8dfrp.", b"geheim"),
        # RFC 7914 section 12, as passlib and Werkzeug write it
        (
            "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
            "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
            b"pleaseletmein",
        ),
        (
            "scrypt:16384:8:1$SodiumChloride$"
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
            b"pleaseletmein",
        ),
    ],
)
def test_scrypt_as_others_write_it(stored: str, password: bytes) -> None:
    """The same password fits, another does not; and our own form says the same."""
    found = foreign_hash(stored)
    assert found is not None
    assert found.fits(password)
    assert not found.fits(b"other")
    assert foreign_hash(str(found)) == found


def test_what_costs_too_much_is_refused() -> None:
    """N = 2^20 would take a gigabyte."""
    with pytest.raises(BadHash, match="64 MiB"):
        foreign_hash("$7$IU..../....saltsaltsalt$4wlXiJjTLA60wDJ0tZuAHjZE1IrAjWcxwN96IiFX9H6")


@given(st.text(max_size=200))
def test_anything_else_is_none(text: str) -> None:
    """Never an error that nobody expects."""
    try:
        foreign_hash(text)
        is_users_file(Source("users", text))
    except BadHash:
        pass


def test_a_passwd_file(tmp_path: Path) -> None:
    """Plain and scrypt are taken, other schemes are named; the configuration has hashes only, behind a #, and passes."""
    users = tmp_path / "users"
    users.write_text(
        "# who may send\n"
        "nas:{PLAIN}geheim:1000:1000::/home/nas::\n"
        "cam:{CRYPT}$7$CU..../....saltsaltsalt$4wlXiJjTLA60wDJ0tZuAHjZE1IrAjWcxwN96IiFX9H6\n"
        "old:{SHA512-CRYPT}$6$abc$def::::::\n"
    )
    source = Source("users", users.read_text())
    assert is_users_file(source)
    assert not is_users_file(Source("sasl_passwd", "[mail.isp.example]:587 taro:geheim\n"))
    assert not is_users_file(Source("transport", "far.example smtp:[mx.far.example]\n"))
    plan = Plan("relay import postfix")
    read_users(source, plan)
    assert set(plan.users) == {"nas", "cam"}
    assert plan.left == ["users:4: the hash of old is of another kind than scrypt; `relay hash` makes one of the password"]
    (tmp_path / "main.cf").write_text("relayhost = [mail.isp.example]:587\nmynetworks = 192.168.0.0/24\n")
    new = tmp_path / "new"
    assert main(["import", "postfix", str(tmp_path / "main.cf"), str(users), "--output", str(new)]) == 0
    text = (new / "config.yaml").read_text()
    assert "geheim" not in text
    for line in ("tls: required", "auth: required", "users: {"):
        assert f"#{line}" in text
        text = text.replace(f"#{line}", line)
    (new / "config.yaml").write_text(text)
    loaded = config.load(new / "config.yaml", {})
    assert loaded.mistakes == ()
    assert loaded.config is not None
    assert set(loaded.config.listeners[0].users) == {"nas", "cam"}
