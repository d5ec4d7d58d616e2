"""The data folder of a real CloudStack, as the other tests use it: CloudStack's own views, readable with its key, and as it was when put on again."""

from __future__ import annotations

import pytest

from lab.database import Accounts, DatabasePlan, load
from parallel_build.cloudstack.encryption import Encryptor
from parallel_build.database.compare import cloudstack_meaning
from parallel_build.database.copy import copy
from parallel_build.remote.sql import session
from parallel_build.secret import Secret
from tests.containers.database_stand import Combination, sql
from tests.containers.real_original import DATABASE_KEY, ENCRYPTOR, SCHEMAS, VERSION, put_on

# The lab's procedures have texts of their own, and its cloud was set up on the database's machine.
AS_MADE = (
    "SELECT TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, IS_UPDATABLE, SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION "
    "FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'cloud' ORDER BY 1",
    "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME FROM information_schema.COLUMNS "
    "WHERE TABLE_SCHEMA = 'cloud' AND TABLE_NAME LIKE '%\\_view' ORDER BY 1, ORDINAL_POSITION",
    "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION "
    "FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA LIKE 'cloud%' ORDER BY 1, 2",
)
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


@pytest.mark.parametrize("real_original", ["mariadb"], indirect=True)
def test_the_lab_makes_views_and_procedures_as_cloudstack_does(real_original: Combination) -> None:
    """What the real cloud's server shows of CloudStack's own objects, and what another shows of those that the lab's generator makes."""
    source, target = real_original.source, real_original.target
    plan = DatabasePlan(rows_usage=10, rows_event=10, rows_usage_event=10, rows_vm_stats=10, link_local_addresses=10)
    load(["ssh", *target.options(), target.destination, "mariadb"], plan, accounts=Accounts("Lab-Password-1"))
    try:
        for asked in AS_MADE:
            shown = sql(source, asked)
            assert shown
            assert sql(target, asked) == shown
    finally:
        copy.empty(target, SCHEMAS)
