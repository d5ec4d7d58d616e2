"""One server, and how servers are reached."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from parallel_build.configuration.values import (
    HOST_KEY,
    HOST_NAME,
    SSH_DESTINATION,
    USER_NAME,
    Duration,
    LocalPath,
    Model,
    parse_address,
)


class Ssh(Model):
    """How servers are reached. The user's own `~/.ssh/config` counts (jump hosts, agent) unless `configFile` names another.

    Attributes:
        user: account on the servers; not root needs passwordless sudo.
        identity_file: private key file; None leaves the choice to ssh and its agent.
        public_key_file: the operator's public key put on new machines; default is `identityFile` with `.pub`.
        config_file: an ssh configuration file used instead of the user's own.
        known_hosts: file that holds the host keys of the servers that exist already.
        connect_timeout: time limit of one connection attempt.
    """

    user: Annotated[str, Field(pattern=USER_NAME.pattern)] = "root"
    identity_file: LocalPath | None = None
    public_key_file: LocalPath | None = None
    config_file: LocalPath | None = None
    known_hosts: LocalPath | None = None
    connect_timeout: Duration = timedelta(seconds=10)


class Server(Model):
    """A server that is there, or will be.

    Attributes:
        name: short host name; unique in the stack, and part of file and resource names.
        address: IP address other servers reach it at.
        ssh_host: what to hand to ssh instead of the address, such as a name in the ssh configuration.
        ssh_port: port of its ssh server.
        ssh_user: account there, when it is not the one of the section `ssh`.
        host_key: public SSH host key (`ssh-ed25519 AAAA...`), when it is not in `ssh.knownHosts`.
    """

    name: str
    address: str
    ssh_host: str | None = None
    ssh_port: int | None = Field(default=None, ge=1, le=65535)
    ssh_user: str | None = None
    host_key: str | None = None

    @field_validator("name")
    @classmethod
    def _host_name(cls, value: str) -> str:
        if not HOST_NAME.fullmatch(value):
            raise ValueError("a server's name is a lower-case host name of letters, digits and hyphens")
        return value

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        return parse_address(value)

    @field_validator("ssh_host")
    @classmethod
    def _destination(cls, value: str | None) -> str | None:
        if value is not None and not SSH_DESTINATION.fullmatch(value):
            raise ValueError("what ssh connects to is a name or an address")
        return value

    @field_validator("ssh_user")
    @classmethod
    def _user(cls, value: str | None) -> str | None:
        if value is not None and not USER_NAME.fullmatch(value):
            raise ValueError("an account's name has letters, digits, _ . and -")
        return value

    @field_validator("host_key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        if value is not None and not HOST_KEY.fullmatch(value):
            raise ValueError("a host key is one line such as `ssh-ed25519 AAAA...`, as ssh-keyscan prints it without the name")
        return value
