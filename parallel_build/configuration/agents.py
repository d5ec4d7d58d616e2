"""Agents of KVM and LXC hosts: how they find the new servers, and how they are brought to the target's version."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from parallel_build.configuration.values import Duration, Model, PackageName, RepositoryLine


class AgentUpgrade(Model):
    """The agents' wave of the window: packages are on the hosts since phase `prepared`, the window only installs them and restarts the agents.

    Attributes:
        hosts: names of original.hypervisors that take part; `all` for every host with an agent.
        later: names of those that keep their old agent for now: they take no new VMs on the new side until they are done.
        canary: hosts that come first, alone; if one of them fails nothing else is begun.
        at_once: hosts at the same time after that.
        failure_rate: part of the wave that may fail (one host always may, unless it is 0); beyond it nothing more is begun.
        timeout: of one host's installation.
        packages: packages that are brought to the target's version together.
        repository: where the hosts take them from, and its key, where `new.packages.repository` is not theirs: the hosts may be of another family
            of systems, or release, than the new servers.
        key: armoured signing key of that repository, as text.
    """

    hosts: Literal["all"] | list[str] = "all"
    later: list[str] = Field(default_factory=list)
    canary: int = Field(default=1, ge=0, le=1000)
    at_once: int = Field(default=10, ge=1, le=100)
    failure_rate: float = 0.1
    timeout: Duration = timedelta(minutes=10)
    packages: list[PackageName] = Field(default_factory=lambda: ["cloudstack-agent", "cloudstack-common"], min_length=1)
    repository: RepositoryLine | None = None
    key: str | None = None

    @field_validator("failure_rate", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{value!r} is not a part of the wave; write a number from 0 (the first failure stops it) to 1 (nothing does)")
        return value


class Agents(Model):
    """How indirect agents (KVM, LXC) find the new servers, and how they come to the target's version.

    Attributes:
        method: `setting` changes `host` through the API (4.11.1 and later), `file` writes agent.properties on each host in the window,
            `none` where an address or a load balancer is reused.
        timeout: time limit until every agent has learnt the addresses.
        upgrade: the agents' wave; None where hypervisorSteps or somebody else brings agents to the target's version.
    """

    method: Literal["setting", "file", "none"] = "setting"
    timeout: Duration = timedelta(minutes=15)
    upgrade: AgentUpgrade | None = None
