"""Versions are compared as numbers."""

from __future__ import annotations

import pytest

from parallel_build.versions import CloudStackVersion, is_version


def test_order_is_numeric_and_short_forms_are_filled_up() -> None:
    assert CloudStackVersion("4.9.3.1") < CloudStackVersion("4.10.0.0") < CloudStackVersion("4.22.1.0")
    assert CloudStackVersion("4.22.1") == CloudStackVersion("4.22.1.0")
    assert str(CloudStackVersion("4.20.3.0-SNAPSHOT")) == "4.20.3.0"


def test_a_build_is_told_apart_from_the_version_that_it_is_of() -> None:
    plain, vendor = CloudStackVersion("4.20.3.0"), CloudStackVersion("4.20.3.0-acme2")
    assert plain == vendor and not plain < vendor and not vendor < plain, "CloudStack compares the numbers alone"
    assert not plain.same_build(vendor) and vendor.same_build(CloudStackVersion("4.20.3-acme2"))
    assert (plain.full, vendor.full, str(vendor)) == ("4.20.3.0", "4.20.3.0-acme2", "4.20.3.0")
    assert is_version("4.20.3.0-acme1", vendor) and not is_version("4.20.3.0-acme1", vendor, exact=True)
    assert is_version("4.20.3.0-acme2", vendor, exact=True) and not is_version("unknown", plain) and not is_version(None, plain)
    assert not is_version("4.20.3.1", plain, exact=True), "a security release has other numbers"


@pytest.mark.parametrize("text", ["4", "four", "4.22.1.0.5", "", "4.22;reboot"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a CloudStack version"):
        CloudStackVersion(text)
