"""A server of records that is nobody's, and the only one that is asked."""

import pytest
from published_copies import publish
from record_server import RecordServer, running

from cesped.data.download.retries import Patience
from cesped.vocabulary import OFFLINE_VARIABLE, RECORDS_URL_VARIABLE

#: Pauses as short as can be; a server on a busy machine is not taken for one that stalls.
QUICK = Patience(attempts=4, first_pause_s=0.001, longest_pause_s=0.002, stall_s=60)


@pytest.fixture
def server(monkeypatch):
    with running(RecordServer()) as server:
        monkeypatch.setenv(RECORDS_URL_VARIABLE, server.url)
        monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
        yield server


@pytest.fixture
def patience():
    return QUICK


@pytest.fixture
def published(server, tmp_path):
    """The small entry that `server` holds as 10280."""
    return publish(server, tmp_path / "published")
