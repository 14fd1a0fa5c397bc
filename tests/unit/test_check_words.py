"""`relay check` in words: what it says of a configuration that is right."""

import pytest

from relay.cli.main import main

ISP = "{host: mail.isp.example, sender: taro@isp.example}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (f"upstreams: {{isp: {ISP}}}\n", "fine (1 upstream, 1 route)"),
        (
            f"upstreams: {{isp: {ISP}, two: {ISP}}}\nroutes: [{{from: '*@isp.example', via: isp}}, {{via: two}}]\n",
            "fine (2 upstreams, 2 routes)",
        ),
    ],
)
def test_one_upstream_is_one_upstream(tmp_path, capsys, source, words):
    """Numbers and their nouns agree."""
    (tmp_path / "config.yaml").write_text(source)
    assert main(["check", "--config", str(tmp_path / "config.yaml")]) == 0
    assert words in capsys.readouterr().out
