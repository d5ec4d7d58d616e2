"""The running lab's original as the health check and parity see it: its stack read, and both run inside its network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
import trustme

from lab.files import Lab
from lab.stack import STACK, environment
from parallel_build import health
from parallel_build.cancel import CancelToken
from parallel_build.health import Finding
from parallel_build.machines.container import namespace
from parallel_build.remote.host import Connections
from parallel_build.resolved_stack import Site
from parallel_build.rules import RuleFinding
from parallel_build.stack.file import read_site
from tests.containers.conftest import LabRunner

T = TypeVar("T")


class Stand:
    """A lab that is up.

    Args:
        runner: its commands.
    """

    def __init__(self, runner: LabRunner) -> None:
        self.runner, self.lab = runner, Lab(runner.name)
        os.environ["CUTOVER_LAB"] = str(self.lab.folder)  # its stack file's paths name it, also when they are read again
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(self.lab).items():
                patch.setenv(name, value)
            self.site: Site = read_site(STACK, config_file=self.lab.stack_file)

    def inside(self, call: Callable[[], T]) -> T:
        """Run `call` where the lab's machines can be reached."""
        return namespace.inside(self.lab.namespace, call)

    @contextmanager
    def connections(self, site: Site | None = None) -> Iterator[Connections]:
        """Sessions to the machines; to be used inside the lab's network."""
        opened = Connections(site or self.site, CancelToken())
        try:
            yield opened
        finally:
            opened.close()

    def examine(self, site: Site | None = None) -> list[Finding[RuleFinding]]:
        """Read the original and judge."""

        def read() -> list[Finding[RuleFinding]]:
            with self.connections(site) as opened:
                return list(health.examine(health.gather(site or self.site, opened)))

        return self.inside(read)

    def sql(self, *statements: str) -> None:
        """Run statements on the original's database."""
        self.runner.run("shell", "olddb1", "mariadb <<'SQL'\n" + ";\n".join(statements) + ";\nSQL")


def certificate(days: int) -> str:
    """A certificate that ends in so many days (negative: has ended), as PEM."""
    now = datetime.now(UTC)
    made = trustme.CA().issue_cert(common_name="planted", not_before=now - timedelta(days=400), not_after=now + timedelta(days=days))
    return made.cert_chain_pems[0].bytes().decode()
