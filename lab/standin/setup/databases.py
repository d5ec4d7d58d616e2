"""cloudstack-setup-databases: writes db.properties and the key file, and only with --deploy-as touches a database.

[CloudStack 4.20 and 4.22 setup/bindir/cloud-setup-databases.in; order, texts and files as seen running]
"""

from __future__ import annotations

import grp
import optparse
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from ..shared import paths
from ..shared.encryption import Encryptor
from ..shared.properties import SetupProperties, WrongFormat
from ..shared.release import Version, code_version
from . import deploy, options
from .console import SetupError, apology, info

FORBIDDEN = "' \\`"
KEY_MODE = 0o640


@dataclass
class Target:
    """The database that the servers are going to use."""

    user: str
    password: str
    host: str
    port: int


def parse_target(arguments: list[str]) -> Target:
    """Read user:password@host:port; raises SetupError in the words of the real command."""
    if not arguments:
        raise SetupError("Please specify user:password@hostname")
    if len(arguments) > 1:
        raise SetupError(f"There are more than one parameters for user:password@hostname ({arguments})")
    credentials, at, where = arguments[0].rpartition("@")
    if not at:
        credentials, where = where, "localhost"
    user, password = parse_credentials(credentials)
    host, _, port = where.partition(":")
    if port and not port.isdigit():
        raise SetupError(f"The database port must be an integer ({port})")
    return Target(user, password, host or "localhost", int(port or 3306))


def parse_credentials(text: str) -> tuple[str, str]:
    """Split user:password and refuse what would not survive the way to the database."""
    parts = text.split(":")
    if len(parts) > 2:
        raise SetupError(f"Invalid user name and password format, must be in format of user:password ({text})")
    user, password = parts[0], parts[1] if len(parts) == 2 else ""
    for character in FORBIDDEN:
        if character in user:
            raise SetupError(f"User name cannot have the '{character}' characters")
        if character in password:
            raise SetupError(f"Password cannot have the '{character}' characters")
    return user, password


class SetupDatabases:
    """One run of the command."""

    def __init__(self, version: Version, arguments: list[str]) -> None:
        self.version = version
        parser = options.parser(version, paths.MANAGEMENT_CONFIGURATION, paths.MANAGEMENT_SHARE, paths.COMMON_SHARE)
        self.options: optparse.Values
        self.options, self.positional = parser.parse_args(arguments)
        self.properties_file = Path(self.options.dbConfPath) / "db.properties"
        self.node = ""

    def run(self) -> None:
        """Do everything, in the real order; raises SetupError, with db.properties put back."""
        origin = self.properties_file.with_name("db.properties.origin")
        if self.properties_file.exists():
            shutil.copy2(self.properties_file, origin)
        try:
            self._read_arguments()
            self._check_files()
            self._check_machine()
            self._prepare()
        except BaseException:
            if origin.exists():
                shutil.copyfile(origin, self.properties_file)
                origin.unlink()
            raise
        info("Finalizing setup ...", None)
        origin.unlink()
        info(None, True)
        sys.stdout.write(
            f"\nCloudStack has successfully initialized database, you can check your database configuration in {self.properties_file}\n\n"
        )

    def _read_arguments(self) -> None:
        self.target = parse_target(self.positional)
        info(f"Mysql user name:{self.target.user}", True)
        info("Mysql user password:" + ("******" if self.target.password else ""), True)
        info(f"Mysql server ip:{self.target.host}", True)
        info(f"Mysql server port:{self.target.port}", True)
        self.root: tuple[str, str] | None = None
        if self.options.rootcreds:
            self.root = parse_credentials(self.options.rootcreds)
            if self.root[0] == self.target.user:
                raise SetupError("--deploy-as= user name cannot be the user name supplied for the connection credentials")
            info(f"Mysql root user name:{self.root[0]}", True)
            info("Mysql root user password:******", True)
            if self.options.schemaonly:
                raise SetupError("--schema-only and --deploy-as cannot be passed together\n")
        kind = self.options.encryptiontype
        if kind not in ("file", "web", "env"):
            raise SetupError(f'Wrong encryption type {kind}, --encrypt-type can only be "file" or "web" or "env"')
        if self.options.mshostip:
            self.node = self.options.mshostip
            info(f"Using specified cluster management server node IP {self.node}", True)
        self.management_key = self.options.mgmtsecretkey
        if kind == "env":
            self.management_key = os.environ.get("CLOUD_SECRET_KEY", "")
            if not self.management_key:
                raise SetupError("Please set environment variable CLOUD_SECRET_KEY if the encryption type is 'env'")

    def _check_files(self) -> None:
        info("Checking Cloud database files ...", None)
        if not self.properties_file.is_file():
            raise SetupError(f"Cannot find {self.properties_file}")
        for name in deploy.SCRIPTS:
            script = Path(self.options.dbFilesPath) / name
            if not script.is_file():
                raise SetupError(f"Cannot find {script}")
        if not Path(self.options.encryptionJarPath).is_file():
            raise SetupError(f"Cannot find {self.options.encryptionJarPath}")
        info(None, True)

    def _check_machine(self) -> None:
        info("Checking local machine hostname ...", None)
        socket.getfqdn()
        info(None, True)
        info("Checking SELinux setup ...", None)
        info(None, True)
        if not self.node:
            try:
                self.node = socket.gethostbyname(socket.gethostname())
            except OSError:
                self.node = "127.0.0.1"
            info(f"Detected local IP address as {self.node}, will use as cluster management server node IP", True)

    def _prepare(self) -> None:
        info(f"Preparing {self.properties_file}", None)
        try:
            properties = SetupProperties(self.properties_file)
        except WrongFormat as cause:
            raise SetupError(f"Wrong format in {cause}") from cause
        properties.replace("cluster.node.IP", self.node)
        for database in ("cloud", "usage"):
            properties.replace(f"db.{database}.username", self.target.user)
            properties.replace(f"db.{database}.password", self.target.password)
            properties.replace(f"db.{database}.host", self.target.host)
            properties.replace(f"db.{database}.port", str(self.target.port))
        properties.put("region.id", self.options.regionid)
        info(None, True)
        self._deploy()
        self._encrypt(properties)

    def _deploy(self) -> None:
        if self.root is None and not self.options.schemaonly:
            info("No mysql root user specified, will not create Cloud DB schema\n", None)
            return
        client = deploy.Client(self.target, self.root, Path(self.options.mysqlbinpath or "/usr/bin"), Path(self.options.dbFilesPath))
        if self.root is not None and self.version >= options.FORCE_RECREATE and not self.options.forcerecreate:
            client.refuse_existing()
        skip_users = self.version >= options.FORCE_RECREATE and self.options.skipUsersAutoCreation
        client.apply(schema_only=self.options.schemaonly, skip_users=skip_users)

    def _encrypt(self, properties: SetupProperties) -> None:
        info("Processing encryption ...", None)
        if self.options.encryptiontype == "file":
            self._write_key(Path(self.options.encryptionKeyFile))
        # The command encrypts with V2 whatever else but V1 is asked for, an empty version too.
        encryptor = Encryptor(self.management_key, "V1" if self.options.encryptorVersion == "V1" else "V2")
        properties.put("db.cloud.encryption.type", self.options.encryptiontype)
        properties.put("db.cloud.encrypt.secret", f"ENC({encryptor.encrypt(self.options.dbsecretkey)})")
        properties.put("db.cloud.encryptor.version", self.options.encryptorVersion)
        for database in ("cloud", "usage"):
            if self.target.password:
                properties.put(f"db.{database}.password", f"ENC({encryptor.encrypt(self.target.password)})")
        properties.write()
        info(None, True)

    def _write_key(self, key: Path) -> None:
        key.write_text(self.management_key)
        key.chmod(KEY_MODE)
        try:
            os.chown(key, -1, grp.getgrnam("cloud").gr_gid)
        except KeyError:
            raise SetupError("chgrp: invalid group: 'cloud'") from None


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        SetupDatabases(code_version(), arguments).run()
    except SetupError as error:
        sys.stdout.flush()
        sys.stderr.write(apology(str(error), "cloudstack-setup-databases"))
        return 1
    return 0
