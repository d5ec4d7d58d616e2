"""The start of a management server up to the moment where its components run, with the real log lines in real order."""

from __future__ import annotations

import ipaddress
import logging
import socket
import subprocess
import time

from ..shared import paths
from ..shared.release import code_version
from ..shared.settings import Settings
from . import connectors, failures, keypair, sources, upgrade
from .connectors import Connectors
from .failures import StartFailed
from .server import ManagementServer

daemon_log = logging.getLogger("o.a.c.ServerDaemon")
lifecycle_log = logging.getLogger("o.a.c.s.l.CloudStackExtendedLifeCycle")
integrity_log = logging.getLogger("c.c.u.DatabaseIntegrityChecker")
lock_log = logging.getLogger("c.c.u.d.Merovingian2")
cluster_log = logging.getLogger("c.c.c.ClusterManagerImpl")
configuration_log = logging.getLogger("c.c.s.ConfigurationServerImpl")

UPGRADE_CHECKER = "com.cloud.upgrade.DatabaseUpgradeChecker"
INTEGRITY_CHECKER = "com.cloud.upgrade.DatabaseIntegrityChecker"
NODE_CHECKER = "org.apache.cloudstack.utils.identity.ManagementServerNode"
LISTENERS = (
    "com.cloud.agent.manager.ClusteredAgentManagerImpl",
    "com.cloud.cluster.ClusterFenceManagerImpl",
    "com.cloud.vm.ClusteredVirtualMachineManagerImpl",
)
INJECT_KEYS = "/usr/share/cloudstack-common/scripts/vm/systemvm/injectkeys.sh"
OPERATOR_USER = 2
#: Warnings and errors that every good start logs: nothing is wrong.
HARMLESS = (
    (logging.WARNING, "c.c.s.d.DownloadMonitorImpl", "Only realhostip.com ssl cert is supported, ignoring self-signed and other certs"),
    (logging.ERROR, "c.c.u.PropertiesUtil", "Unable to find properties file: commands.properties"),
    (
        logging.WARNING,
        "o.a.c.s.l.r.RegistryLifecycle",
        "Bean registration failed for com.cloud.agent.manager.allocator.impl.RandomAllocator@6cee8f5d",
    ),
)


def announce(settings: dict[str, str]) -> Connectors:
    """Write the first two lines and return the listeners."""
    daemon_log.info("Server configuration file found: %s", "/etc/cloudstack/management/server.properties")
    logging.getLogger("c.c.u.c.EncryptionSecretKeyChecker").debug("Encryption Type: null")
    daemon_log.info(
        "Initializing server daemon on null, with http.enable=%s, http.port=%s, https.enable=%s, https.port=%s, context.path=%s",
        settings.get("http.enable", "true"),
        settings.get("http.port", "8080"),
        settings.get("https.enable", "false"),
        settings.get("https.port", "8443"),
        settings.get("context.path", "/client"),
    )
    return connectors.of(settings)


def prepare(settings: Settings) -> ManagementServer:
    """Read the files, connect, check and upgrade the databases, configure the components.

    Raises:
        StartFailed: the web application can't start.
        SystemExit: the process has to end.
    """
    values = sources.decrypted_properties()
    logging.getLogger("c.c.u.LogUtils").info("log4j configuration found at %s", "/etc/cloudstack/management/log4j-cloud.xml")
    time.sleep(settings.start_seconds)
    cloud = sources.connect(sources.database(values, "cloud"))
    server = ManagementServer(
        version=code_version(),
        settings=settings,
        node_ip=values.get("cluster.node.IP", "127.0.0.1").strip(),
        cloud=cloud,
        usage=sources.database(values, "usage"),
        encryptor=None,
        database_secret=values.get("db.cloud.encrypt.secret", ""),
    )
    lock_log.info("Cleaning up locks for %d", server.msid)
    lock_log.info("Released %d locks for %d", _release_locks(server), server.msid)
    _checker(UPGRADE_CHECKER)
    upgrade.check(server, server.database_secret, values.get("db.cloud.encryptor.version", ""))
    lifecycle_log.info("Configuring CloudStack Components")
    lifecycle_log.info("Done Configuring CloudStack Components")
    # Two servers that start at once share the machine's processors and the database, and both take longer for it.
    with cloud.lock("standin.components", 0) as alone:
        time.sleep(settings.components_seconds * (1 if alone else 2))
    _configure(server)
    return server


def _release_locks(server: ManagementServer) -> int:
    if not server.cloud.has("op_lock"):
        return 0
    return server.cloud.execute("DELETE FROM op_lock WHERE mac = %s", str(server.msid))


def _checker(name: str) -> None:
    lifecycle_log.info("Running system integrity checker %s@%08x", name, abs(hash(name)) % 0x7FFFFFFF)


def _configure(server: ManagementServer) -> None:
    _checker(INTEGRITY_CHECKER)
    integrity_log.info("Grabbing lock to check for database integrity.")
    integrity_log.info("Performing database integrity check")
    _checker(NODE_CHECKER)
    lifecycle_log.info("Configuring CloudStack Components")
    _inject_keys(server)
    for listener in LISTENERS:
        cluster_log.info("register cluster listener class %s", listener)
    cluster_log.info("Start configuring cluster manager : ClusterManagerImpl")
    cluster_log.info("Cluster node IP : %s", server.node_ip)
    if not is_local(server.node_ip):
        message = "cluster node IP should be valid local address where the server is running, please check your configuration"
        cause = f"javax.naming.ConfigurationException: {message}"
        raise StartFailed(
            "core",
            message,
            (f"Caused by: {cause}",),
            "Failed to start bean 'cloudStackLifeCycle'; nested exception is "
            "com.cloud.utils.exception.CloudRuntimeException: Failed to configure ClusterManagerImpl due to ",
        )
    cluster_log.info("Cluster manager is configured.")
    for level, logger, words in HARMLESS:
        logging.getLogger(logger).log(level, words)
    for module in server.settings.fail_modules:
        failures.report_single(module)
    lifecycle_log.info("Done Configuring CloudStack Components")


def is_local(address: str) -> bool:
    """Tell whether an address is one of this machine's own (127.0.0.1 is, 127.0.1.1 is not)."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return False
    if wanted.is_loopback:
        return address == "127.0.0.1"
    with socket.socket(socket.AF_INET6 if wanted.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _inject_keys(server: ManagementServer) -> None:
    private = paths.MANAGEMENT_HOME / ".ssh/id_rsa"
    keypair.write(server, private)
    command = f"/bin/bash {INJECT_KEYS} {private}"
    configuration_log.debug("Executing command [%s ].", command)
    outcome = subprocess.run(
        ["/bin/bash", str(paths.COMMON_SHARE / "scripts/vm/systemvm/injectkeys.sh"), str(private)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    result = "null" if outcome.returncode == 0 else outcome.stderr.strip()
    configuration_log.info("The script injectkeys.sh was run with result : %s", result)


def enable_operator(server: ManagementServer, password_hash: str) -> None:
    """Enable the built-in admin and give it its first password, where it is disabled.

    [CloudStack 4.22 ManagementServerImpl.enableAdminUser: a trap for whoever disabled it to keep users out]
    """
    server.cloud.execute(
        "UPDATE user SET state = 'enabled', password = %s WHERE id = %s AND UPPER(state) = 'DISABLED'", password_hash, OPERATOR_USER
    )
