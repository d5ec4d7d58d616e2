"""Which family a server is of is read from its os-release; paths follow it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parallel_build.errors import StepFailed
from parallel_build.remote.families import DEBIAN, EL, SystemFamily, family_of, parse, placed
from tests.fast.asked_host import AskedHost


class Server(AskedHost):
    """A server with an os-release."""

    def __init__(self, text: str | None) -> None:
        super().__init__("newdb1")
        self.text = text

    def read(self, path: str, **_: Any) -> bytes | None:
        return self.text.encode() if self.text is not None and path.startswith("/usr/lib") else None


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', DEBIAN),
        ("ID=ubuntu\nID_LIKE=debian\n", DEBIAN),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', DEBIAN),
        ('NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n', EL),
        ("ID='almalinux'\n", EL),
        ('ID="ol"\n', EL),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', None),
        ("", None),
    ],
)
def test_a_family_is_read_never_assumed(text: str, family: SystemFamily | None) -> None:
    assert parse(text).family is family


def test_option_files_lie_where_the_family_reads_them() -> None:
    path = "/etc/mysql/mysql.conf.d/zz-parallel-build.cnf"
    assert placed(cast(Any, Server("ID=debian\n")), path) == path
    assert placed(cast(Any, Server("ID=rhel\n")), path) == "/etc/my.cnf.d/zz-parallel-build.cnf"
    assert placed(cast(Any, Server(None)), "/etc/hosts") == "/etc/hosts"


def test_a_server_of_no_known_family_is_refused_with_its_own_name() -> None:
    with pytest.raises(StepFailed, match=r"newdb1 runs openSUSE Leap 15\.6.*Enterprise Linux"):
        family_of(cast(Any, Server('ID="opensuse-leap"\nPRETTY_NAME="openSUSE Leap 15.6"\n')))
    with pytest.raises(StepFailed, match="newdb1 runs an unknown system"):
        family_of(cast(Any, Server(None)))
