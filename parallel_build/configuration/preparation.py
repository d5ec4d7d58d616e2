"""What is done while the original serves: templates, transfer, health, parity, rehearsal."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from parallel_build.configuration.servers import (
    NewMachine,
)
from parallel_build.configuration.values import (
    CHECKSUM,
    FILE_URL,
    TEMPLATE_NAME,
    Duration,
    LocalPath,
    Model,
)


class Template(Model):
    """A system VM template to register on the original cloud under its exact name [CloudStack upgrade guide].

    Attributes:
        name: exactly what the target version looks up, for example `systemvm-kvm-4.22.0-x86_64`.
        checksum: as the API takes it, `{SHA-512}...` or a bare MD5; None leaves the file unchecked.
    """

    hypervisor: Literal["KVM", "XenServer", "VMware", "Hyperv", "LXC", "Ovm3", "Simulator"]
    name: str
    url: str
    format: Literal["QCOW2", "VHD", "OVA", "RAW"] = "QCOW2"
    os_type: str = "Debian GNU/Linux 12 (64-bit)"
    checksum: str | None = None
    arch: Literal["x86_64", "aarch64"] | None = "x86_64"

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not TEMPLATE_NAME.fullmatch(value):
            raise ValueError("a template's name has letters, digits, . _ - and spaces, as the target version looks it up")
        return value

    @field_validator("url")
    @classmethod
    def _template_url(cls, value: str) -> str:
        if re.match(r"^https?://[^/?#]*@", value, re.IGNORECASE):
            raise ValueError(
                "a template's url has a user or password in it, which CloudStack keeps readable in its database and logs; put the file on a web server that "
                "asks for none, or use an address that is signed in its query"
            )
        if not FILE_URL.fullmatch(value):
            raise ValueError("a template's url is http or https, without user and fragment")
        return value

    @field_validator("checksum")
    @classmethod
    def _checksum(cls, value: str | None) -> str | None:
        if value is not None and not CHECKSUM.fullmatch(value):
            raise ValueError("a checksum is {SHA-512} and hexadecimal digits, or a bare MD5")
        return value


Seed = Literal["auto", "physical", "logical"]


class Transfer(Model):
    """How the databases are brought over.

    Attributes:
        method: `dump` costs time with the data; `replicate` does not.
        seed: how `dump` brings the rows: `physical` as files, by mariadb-backup, between two MariaDB servers of one series; `logical` as rows; `auto` as
            files where both sides have the tool and there is enough data, else as rows.
        threads: parallel connections for copying and comparing; a copy uses one more than the new database server has processors, at most.
        bytes_per_second: limit for reading the running original while `replicate` seeds the new source, less while the original is busy; None for
            as fast as both servers allow. 200 GB in under three hours, while the original gives a fraction of one core and 20 MB/s of its disk.
        compare_everything_after: age of the last comparison of everything from which on a seed's next comparison is of everything again, not only of
            the rows that the original's binary log names. It finds what is in no log (sql_log_bin = 0).
        renew: any text; a changed one has the next `up` check the seed, renew its comparison, and seed again where it is broken.
    """

    method: Literal["dump", "replicate"] = "dump"
    seed: Seed = "auto"
    threads: int = Field(default=4, ge=1, le=64)
    bytes_per_second: int | None = Field(default=20_000_000, ge=65536)
    compare_everything_after: Duration = timedelta(days=7)
    renew: str = ""


class Health(Model):
    """What the health check of the original lets pass.

    Attributes:
        accepted: names of rules whose findings are reported but do not end the step (docs/operate/health.md lists the rules).
    """

    accepted: list[str] = Field(default_factory=list)


class Parity(Model):
    """What this cloud is compared with before the upgrade that was rehearsed there is done here.

    Attributes:
        against: facts of the cloud that was rehearsed on: a file that `parallel-build facts` wrote (relative to the project), or a stack's name.
        fail_at: the least rank of a difference that fails the step; `never` only reports.
    """

    against: str = Field(min_length=1)
    fail_at: Literal["high", "medium", "low", "never"] = "high"


class Housekeeping(Model):
    """Old rows taken out of the copy before the schema upgrade, in the rehearsal and in the window alike; the original keeps them.

    Each table group has the age from which its rows go; None leaves the group alone.

    Attributes:
        events: `cloud.event`.
        alerts: `cloud.alert`.
        usage_events: `cloud.usage_event`, only rows that the usage server has processed.
        usage: `cloud_usage.cloud_usage`, the records that bills are made of.
        statistics: `cloud.vm_stats` and `cloud.volume_stats`.
        jobs: finished rows of `cloud.async_job`.
        batch: rows deleted by one statement.
    """

    events: Duration | None = None
    alerts: Duration | None = None
    usage_events: Duration | None = None
    usage: Duration | None = None
    statistics: Duration | None = None
    jobs: Duration | None = None
    batch: int = Field(default=10000, ge=1, le=1_000_000)


class Rehearsal(Model):
    """The upgrade done once on an isolated server with a copy of the databases, before the window.

    Attributes:
        enabled: build the machine in phase `prepared`, rehearse, and demand a passed rehearsal before a window opens.
        waived: why a window may open without one; without `enabled` and without this it does not.
        machine: the server; management and database server together.
        max_age: a rehearsal older than this does not count any more.
        growth: how many times the rows it was done with the databases may have when the window opens.
        fixes: folder of `*.sql` files, run in the order of their names on the copy before the upgrade, in the rehearsal and in the window.
        housekeeping: old rows that go first.
        dump: dump files (.sql, .gz, .xz, .zst) by database, used instead of a copy of the running original.
        bytes_per_second: limit for reading the running original; None for none.
        must_not_reach: `address` or `address:port` that must be out of the server's reach besides what the original's own settings name.
        allow: networks that the server's firewall lets it open connections to, such as that of a time server.
        isolated_network: prove that the network itself has no way out, so that the server's own firewall is the second barrier and not the
            only one.
    """

    enabled: bool = False
    waived: str | None = Field(default=None, min_length=1)
    machine: NewMachine | None = None
    max_age: Duration = timedelta(days=14)
    growth: float = Field(default=1.5, ge=1, allow_inf_nan=False)
    fixes: LocalPath = Path("fixes")
    housekeeping: Housekeeping = Field(default_factory=Housekeeping)
    dump: dict[Literal["cloud", "cloud_usage", "cloudbridge"], LocalPath] = Field(default_factory=dict)
    bytes_per_second: int | None = Field(default=30_000_000, ge=1024)
    must_not_reach: list[str] = Field(default_factory=list)
    allow: list[str] = Field(default_factory=list)
    isolated_network: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Rehearsal:
        if self.enabled and self.machine is None:
            raise ValueError("enabled needs machine: the name and address of a server that nobody else uses")
        if self.waived is not None and not self.waived.strip():
            raise ValueError("waived: the reason is missing, and it is what the change review shows")
        if self.enabled and self.waived:
            raise ValueError("enabled and waived contradict each other: take one of them out")
        for network in self.allow:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ValueError(f"allow: {network!r} is not a network such as 192.0.2.7/32") from None
        for target in self.must_not_reach:
            address, _, port = target.rpartition(":")
            if not target or (address and port.isdigit() and not 0 < int(port) < 65536):
                raise ValueError(f"mustNotReach: {target!r} is not an address such as 192.0.2.7, or 192.0.2.7:25 with a port")
        if self.dump and "cloud" not in self.dump:
            raise ValueError("dump: names no file for the database cloud")
        return self
