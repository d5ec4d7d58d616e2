"""db.properties is changed in single values and stays itself otherwise."""

from __future__ import annotations

import pytest

from parallel_build.cloudstack.properties import parse, replace
from parallel_build.errors import StepFailed

TEXT = "# comment db.cloud.host=x\ndb.cloud.host=localhost\n\ndb.cloud.password=a=b\nlast=1"


def test_values_may_hold_an_equals_sign_and_comments_are_no_values() -> None:
    assert parse(TEXT) == {"db.cloud.host": "localhost", "db.cloud.password": "a=b", "last": "1"}


def test_only_the_named_lines_change() -> None:
    changed = replace(TEXT, {"db.cloud.host": "10.0.0.1", "last": "2"})
    assert changed == "# comment db.cloud.host=x\ndb.cloud.host=10.0.0.1\n\ndb.cloud.password=a=b\nlast=2"


def test_a_missing_key_is_an_error_not_an_addition() -> None:
    with pytest.raises(StepFailed, match=r"db\.usage\.host"):
        replace(TEXT, {"db.usage.host": "x"})
