"""A log on a real disk, for those who read it."""

import pytest
from tests.plugins.helpers import FOLDER

from zabra.runtime.os_disk import OsDisk
from zabra.storage.txnlog import FileTxnLog


@pytest.fixture
def disk(tmp_path):
    (tmp_path / FOLDER).mkdir()
    return OsDisk(tmp_path)


@pytest.fixture
def log(disk):
    log = FileTxnLog(disk, FOLDER, preallocate_bytes=65536)
    log.open()
    yield log
    log.close()
