"""What a cloud is declared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pulumi

from parallel_build.components.arguments import MISSING, NotDeclared
from parallel_build.components.settings import Settings, read_settings
from parallel_build.errors import ParallelBuildError

SECTIONS = (
    "phase", "ssh", "original", "new", "platforms", "transfer", "templates", "agents", "hypervisor_steps", "health", "parity", "window",
    "acceptance", "rehearsal", "runs",
)  # fmt: skip
Section = Mapping[str, Any] | Any
"""A section as the stack file has one, with its keys in camelCase or snake_case, or the model of `parallel_build.configuration`."""


@dataclass
class CloudSecrets:
    """The secrets of one cloud, each a text or an output; docs/reference/configuration.md says what each opens.

    Attributes:
        original_api_key, original_api_secret: a root administrator's keys on the original.
        cloud_password: password of the database user `cloud` on the new servers.
        replication_password: password of the replication user.
        management_key: key of the new servers' db.properties.
        database_key: key of the values in the database; None reads it from the original's management server.
        vsphere_password: vCenter's, where a machine is built there.
    """

    original_api_key: pulumi.Input[str] = MISSING
    original_api_secret: pulumi.Input[str] = MISSING
    cloud_password: pulumi.Input[str] = MISSING
    replication_password: pulumi.Input[str] = MISSING
    management_key: pulumi.Input[str] = MISSING
    database_key: pulumi.Input[str] | None = None
    vsphere_password: pulumi.Input[str] | None = None

    def given(self) -> dict[str, pulumi.Input[str]]:
        """Those that are set, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


@dataclass
class CloudArgs:
    """What `Cloud` is declared with. Each section is what the stack file calls by the same name; docs/reference/configuration.md has their keys.

    Attributes:
        original: the cloud as it runs: version, management servers, databases, API, hypervisors.
        new: what takes over: version, management servers, databases, network, packages. A server is a section, an `OwnMachine`, or anything
            with `name`, `address` and `host_key`.
        window: users' access, deadline, rollback window, hold point.
        secrets: see `CloudSecrets`.
        phase: `built`, `prepared`, `switched` or `retired`; components declare what belongs to the phases up to it.
        ssh: how servers are reached.
        platforms: where machines are built that are not the program's own.
        transfer, templates, agents, hypervisor_steps, health, parity, acceptance, rehearsal: as in the stack file.
        runs: folder for journals and evidence.
        operator_key: the operator's public SSH key for machines that are built; None reads the file that `ssh` names.
        sealed: texts in these sections that no output may show, next to the secrets.
        label: the name that run folders, window records and built machines bear. Default: the stack's name, with the cloud's name after it
            unless that is `cloud`. It must not change while the stack exists.
    """

    original: Section = MISSING
    new: Section = MISSING
    window: Section = MISSING
    secrets: CloudSecrets = MISSING
    phase: str = "built"
    ssh: Section = field(default_factory=dict)
    platforms: Section = field(default_factory=dict)
    transfer: Section = field(default_factory=dict)
    templates: Sequence[Section] = ()
    agents: Section = field(default_factory=dict)
    hypervisor_steps: Sequence[Section] = ()
    health: Section = field(default_factory=dict)
    parity: Section | None = None
    acceptance: Section = field(default_factory=dict)
    rehearsal: Section = field(default_factory=dict)
    runs: str = "runs"
    operator_key: str | None = None
    sealed: Sequence[str] = ()
    label: str | None = None

    @classmethod
    def from_config(cls) -> Settings:
        """The arguments as the stack's own configuration has them: what the stack program uses.

        Raises:
            NotDeclared: they can't be used; every finding at once.
        """
        try:
            return read_settings()
        except ParallelBuildError as error:
            raise NotDeclared(error.fact, error.cause, error.remedy) from error

    def sections(self) -> dict[str, Any]:
        """The sections by their names here, without those that are empty."""
        found = {name: getattr(self, name) for name in SECTIONS}
        return {name: value for name, value in found.items() if value is not None and value != () and value != {}}
