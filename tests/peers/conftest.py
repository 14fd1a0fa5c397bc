"""Real peers are installed once (minutes) and then started in a moment; certificates are the session's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.peers import Papers, Peer, dovecot, exim, opensmtpd, papers, postfix_submission
from tests.support.sink import Sink, sink

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a peer may have to install it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """What a peer that relays onwards hands its mail to."""
    with sink(tmp_path_factory.mktemp("behind")) as running:
        yield running


@pytest.fixture(scope="module")
def postfix(paper: Papers) -> Iterator[Peer]:
    with postfix_submission(paper) as peer:
        yield peer


@pytest.fixture(scope="module")
def dovecot_submission(paper: Papers, behind: Sink) -> Iterator[Peer]:
    with dovecot(paper, behind.port) as peer:
        yield peer


@pytest.fixture(scope="module")
def exim_upstream(paper: Papers) -> Iterator[Peer]:
    with exim(paper) as peer:
        yield peer


@pytest.fixture(scope="module")
def opensmtpd_upstream(behind: Sink) -> Iterator[Peer]:
    with opensmtpd(behind.port) as peer:
        yield peer
