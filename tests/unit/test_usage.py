"""What the command line says to somebody who types it for the first time."""

from pathlib import Path

import pytest

from relay.cli.main import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chekc"], "did you mean check?"),
        (["queue", "lst"], "did you mean list?"),
        (["import", "postfx", "x"], "did you mean postfix?"),
        (["queue"], "which command?"),
        (["queue", "show"], "ID"),
        (["import", "postfix"], "FILE"),
    ],
)
def test_a_wrong_word_gets_a_guess(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, usage, and what was probably meant."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert "usage: relay" in said


@pytest.mark.parametrize("verb", ["run", "check", "explain --from a@b.example --to c@d.example", "queue list"])
def test_without_a_configuration_the_first_step_is_named(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is set up: the sentence names `relay init`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.loader._SYSTEM", tmp_path / "none.yaml")
    for name in ("RELAY_CONFIG", "RELAY_PROVIDER", "RELAY_HOST"):
        monkeypatch.delenv(name, raising=False)
    try:
        status = main(verb.split())
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert "`relay init` asks" in capsys.readouterr().err


def test_help_shows_the_first_steps_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer reads from the top: demo, init, check, run."""
    assert main([]) == 2
    said = capsys.readouterr().out
    places = [said.index(f"    {verb} ") for verb in ("demo", "init", "check", "run", "doctor", "queue")]
    assert places == sorted(places)
    assert "First time: relay demo" in " ".join(said.split())
