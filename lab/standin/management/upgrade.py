"""The check of the database's version at the start, and the upgrade step by step.

What a kill or a failure leaves behind is left behind as by the real one: data definition commits by itself, a step's row
in `version` comes after its statements, and views are re-created only after the last step - by whoever ran that step.
[CloudStack 4.22 engine/schema/.../DatabaseUpgradeChecker.java]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import logging
import os
import re
import time
from dataclasses import dataclass

import pymysql

from .. import sql
from ..shared.database import Database, utcnow
from ..shared.encryption import DecryptionFailed, Encryptor, masked
from ..shared.release import Version
from . import registration
from .failures import StartFailed, in_lifecycle
from .server import ManagementServer

log = logging.getLogger("c.c.u.DatabaseUpgradeChecker")
encryptor_log = logging.getLogger("c.c.u.c.CloudStackEncryptor")
script_log = logging.getLogger("c.c.u.d.ScriptRunner")

LOCK = "DatabaseUpgrade"
LOCK_SECONDS = 1200
CLUSTERED_EXIT = 5
DUPLICATE_KEY = 121

#: What `scope` of `configuration` becomes in 4.21: a bit a scope instead of its name.
SCOPES = {"Global": 1, "Zone": 2, "Cluster": 4, "StoragePool": 8, "ManagementServer": 16, "ImageStore": 32, "Domain": 64, "Account": 128}
#: Settings that came with 4.21 and 4.22: name, default value, component.
NEW_SETTINGS = (
    ("enforce.post.requests.and.timestamps", "false", "ApiServer"),
    ("expose.errors.to.user", "false", "ApiServer"),
    ("extension.path.state.check.interval", "300", "ExtensionsManager"),
    ("instance.lease.enabled", "false", "VMLeaseManager"),
    ("kvm.incremental.snapshot", "false", "SnapshotManager"),
    ("management.server.maintenance.timeout", "60", "ManagementServerMaintenanceManager"),
    ("reconcile.commands.enabled", "false", "ReconcileCommandService"),
)


@dataclass(frozen=True)
class Step:
    """One upgrade class: its short name, the versions in its log line, and the row it adds to `version`."""

    name: str
    start: str
    target: str


STEPS = (
    Step("42010to42100", "4.20.1.0-4.21.0.0", "4.21.0.0"),
    Step("42100to42200", "4.21.0.0-4.22.0.0", "4.22.0.0"),
    Step("42200to42210", "4.22.0.0-4.22.1.0", "4.22.1.0"),
    Step("42210to42300", "4.22.1.0-4.23.0.0", "4.23.0.0"),
)
OLDEST = Version("4.20.1.0")


def check(server: ManagementServer, secret: str, encryptor_version: str) -> None:
    """Bring the databases to the code's version, as the first thing that a management server does with them.

    Args:
        server: gets its encryptor here.
        secret: the database key; empty where values are not encrypted.
        encryptor_version: V1, V2 or empty.

    Raises:
        StartFailed: the web application can't start.
        SystemExit: with 5 where other servers are running on the database.
    """
    log.info("Grabbing lock to check for database upgrade.")
    with server.cloud.lock(LOCK, LOCK_SECONDS) as got:
        if not got:
            raise in_lifecycle("Unable to acquire lock to check for database integrity.")
        _encryptors(server, secret, encryptor_version)
        registration.look_for_metadata()
        current = _current_version(server.cloud)
        log.info("DB version = %s Code Version = %s", current, server.version)
        if current == server.version:
            log.info("DB version and code version matches so no upgrade needed.")
            return
        if current > server.version:
            message = f"Database version {current} is higher than management software version {server.version}"
            log.error(message)
            raise in_lifecycle(message)
        _refuse_cluster(server)
        Upgrade(server, current).run()


def _encryptors(server: ManagementServer, secret: str, version: str) -> None:
    try:
        value = server.cloud.value("SELECT value FROM configuration WHERE name = 'init'")
    except pymysql.MySQLError as failure:
        raise _without_init(f"Caused by: java.sql.SQLException: {failure.args[-1]}") from None
    if secret:
        server.encryptor = Encryptor(secret, version)
        encryptor_log.debug("Calling to initialize for class com.cloud.utils.crypt.DBEncryptionUtil")
        if value is not None:
            try:
                value = server.encryptor.decrypt(value)
            except DecryptionFailed as failure:
                raise _undecryptable(value, failure) from None
        encryptor_log.debug("Initialized with encryptor : %s", server.encryptor.name)
    log.info("init = %s", "null" if value is None else value)


def _undecryptable(value: str, failure: DecryptionFailed) -> StartFailed:
    decrypting = f"Error decrypting value: {masked(value)}"
    log.error(decrypting)
    return _without_init(
        f"Caused by: com.cloud.utils.exception.CloudRuntimeException: {decrypting}",
        f"Caused by: com.cloud.utils.crypt.EncryptionException: Failed to decrypt {masked(value)}. Error: {failure}",
    )


def _without_init(*causes: str) -> StartFailed:
    message = (
        "Unable to initialize the database encryptors due to Unable to get the 'init' value from 'configuration' table "
        "in the 'cloud' database. Please check if database encryption key and database encryptor version are correct."
    )
    log.error(message)
    result = in_lifecycle(message)
    result.causes += causes
    return result


def _current_version(cloud: Database) -> Version:
    current = cloud.value("SELECT version FROM version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1")
    if current is None:
        raise in_lifecycle("Version table contains records for which upgrade wasn't completed")
    return Version(current)


def _refuse_cluster(server: ManagementServer) -> None:
    if server.cloud.value("SELECT COUNT(*) FROM mshost WHERE UPPER(state) = 'UP'"):
        log.error(
            "Database upgrade is required but the management server is running in a clustered environment. Please "
            "perform the database upgrade when the management server is not running in a clustered environment."
        )
        time.sleep(server.settings.exit_seconds)
        # Not sys.exit: no thread may keep this process alive, nothing may be tidied up.
        os._exit(CLUSTERED_EXIT)


class Upgrade:
    """All steps from one version to the code's."""

    def __init__(self, server: ManagementServer, current: Version) -> None:
        self._server = server
        self._cloud = server.cloud
        self._current = current
        target = server.version
        self._steps = [step for step in STEPS if current < Version(step.target) <= target]

    def run(self) -> None:
        """Run the procedures, the steps, the views and the system VM templates' part."""
        if self._current < OLDEST or not self._steps:
            raise in_lifecycle(f"There is no upgrade path from {self._current} to {self._server.version}")
        self._procedures()
        log.info("Database upgrade must be performed from %s to %s", self._current, self._server.version)
        for step in self._steps:
            self._step(step)
        self._views()
        registration.update_templates(self._server, f"Upgrade{self._steps[-1].name}")
        self._cloud.forget_columns()

    def _procedures(self) -> None:
        where = "scripts that are under resource directory [META-INF/db/procedures]."
        log.info("Executing Stored Procedure %s", where)
        for script in sql.procedures(self._server.version.text):
            log.debug("Executing PROCEDURE script [META-INF/db/procedures/%s.sql].", script.name)
            for statement in script.statements:
                self._execute(statement)
        log.info("Finished execution of PROCEDURE %s", where)

    def _step(self, step: Step) -> None:
        name = f"Upgrade{step.name}"
        reported = f"{name} to upgrade from {step.start} to {step.target}"
        log.debug("Running upgrade %s", reported)
        self._prepare(step)
        self._migrate(step, name)
        row = self._cloud.insert("version", version=step.target, updated=utcnow(), step="Upgrade")
        log.info("Cleanup upgrade %s", reported)
        for statement in sql.upgrade(f"{step.name}-cleanup"):
            self._execute(statement.sql)
        log.debug("Cleanup script %s is executed successfully", name)
        self._cloud.update("version", row, step="Complete", updated=utcnow())
        log.debug("Upgrade completed for version %s", step.target)

    def _prepare(self, step: Step) -> None:
        settings = self._server.settings
        statements = [
            statement.sql for statement in sql.upgrade(step.name) if statement.only_with is None or self._cloud.has(statement.only_with)
        ]
        half = (len(statements) + 1) // 2
        for index, statement in enumerate(statements):
            if index == half:
                time.sleep(settings.step_seconds.get(step.target, 0))
                if settings.fail_step == step.target:
                    # The planted fault: what is done already is done again, which the database refuses.
                    self._execute(statements[0])
            self._execute(statement)

    def _migrate(self, step: Step, name: str) -> None:
        if step.target != "4.21.0.0":
            return
        logging.getLogger(f"c.c.u.d.{name}").info("Data type of the column scope of table configuration is %s", "varchar(255)")
        self._execute("ALTER TABLE `cloud`.`configuration` ADD COLUMN `scope_bitmask` bigint NOT NULL DEFAULT 0")
        for scope, bit in SCOPES.items():
            self._cloud.execute("UPDATE configuration SET scope_bitmask = %s WHERE scope = %s", bit, scope)
        self._execute("ALTER TABLE `cloud`.`configuration` DROP COLUMN `scope`")
        self._execute(
            "ALTER TABLE `cloud`.`configuration` CHANGE COLUMN `scope_bitmask` `scope` bigint NOT NULL DEFAULT 0 "
            "COMMENT 'Bitmask for scope(s) of this parameter'"
        )
        for setting, value, component in NEW_SETTINGS:
            self._cloud.execute(
                "INSERT IGNORE INTO configuration (category, instance, component, name, value, default_value, scope, "
                "is_dynamic) VALUES ('Advanced', 'DEFAULT', %s, %s, %s, %s, 1, 1)",
                component,
                setting,
                value,
                value,
            )

    def _views(self) -> None:
        where = "scripts that are under resource directory [META-INF/db/views]."
        log.info("Executing VIEW %s", where)
        scripts = sql.views(self._server.version.text)
        self._cloud.forget_columns()
        for index, script in enumerate(scripts):
            if index == len(scripts) // 2:
                time.sleep(self._server.settings.views_seconds)
            # A generated database has only the tables that the lab needs, so it gets only the views over those.
            if not all(self._cloud.has(table) for table in script.requires):
                continue
            log.debug("Executing VIEW script [META-INF/db/views/%s.sql].", script.name)
            for statement in script.statements:
                self._execute(statement)
        log.info("Finished execution of VIEW %s", where)

    def _execute(self, statement: str) -> None:
        script_log.debug(re.sub(r"\s+", " ", statement))
        try:
            self._cloud.execute(statement)
        except pymysql.MySQLError as failure:
            text = str(failure.args[1]) if len(failure.args) > 1 else str(failure)
            script_log.error("Error executing: %s ", re.sub(r"\s+", " ", statement))
            script_log.error("java.sql.SQLException: %s", text)
            log.error("Unable to execute upgrade script java.sql.SQLException: %s", text)
            message = "Unable to upgrade the database"
            log.error("%s com.cloud.utils.exception.CloudRuntimeException: Unable to execute upgrade script", message)
            raised = in_lifecycle(message)
            raised.causes += (f"Caused by: java.sql.SQLException: {text}",)
            raise raised from None
