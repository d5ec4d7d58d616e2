"""The data folder of a real CloudStack, as the other tests use it: CloudStack's own views, readable with its key, and as it was when put on again."""

from __future__ import annotations

import pytest

from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.database.compare import cloudstack_meaning
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import Combination
from tests.containers.real_original import DATABASE_KEY, ENCRYPTOR, VERSION, put_on

pytestmark = [pytest.mark.databases, pytest.mark.timeout(300)]


@pytest.mark.parametrize("real_original", ["mariadb"], indirect=True)
def test_a_changed_original_is_as_it_was_when_put_on_again(real_original: Combination) -> None:
    key, encryptor = Secret(DATABASE_KEY), Encryptor(ENCRYPTOR)
    with session(real_original.source) as opened:
        before = cloudstack_meaning.read(opened, key, encryptor)
        assert (before.version, before.init) == (VERSION, True)
        opened.execute("UPDATE cloud.vm_instance SET state = 'Gone'")
        opened.execute("DROP VIEW cloud.account_view")
    put_on(real_original.made, real_original.source)
    with session(real_original.source) as opened:
        assert cloudstack_meaning.differences(before, cloudstack_meaning.read(opened, key, encryptor)) == []
