"""Versions are compared as numbers."""

from __future__ import annotations

import pytest

from parallel_build.versions import CloudStackVersion


def test_order_is_numeric_and_short_forms_are_filled_up() -> None:
    assert CloudStackVersion("4.9.3.1") < CloudStackVersion("4.10.0.0") < CloudStackVersion("4.22.1.0")
    assert CloudStackVersion("4.22.1") == CloudStackVersion("4.22.1.0")
    assert str(CloudStackVersion("4.20.3.0-SNAPSHOT")) == "4.20.3.0"


@pytest.mark.parametrize("text", ["4", "four", "4.22.1.0.5", "", "4.22;reboot"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CloudStack version"):
        CloudStackVersion(text)
