"""The life of the process: start, serve, stop on SIGTERM - or answer 503 for good after a failed start."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time

import pymysql

from ..shared import logs, paths, properties, settings
from ..shared.release import code_version
from . import failures, passwords, startup, web
from .agents import AgentManager
from .api import Api
from .cluster import ClusterManager
from .connectors import Connectors
from .direct import DirectHosts
from .jobs import Jobs
from .server import ManagementServer
from .statistics import Statistics
from .systemvms import SystemVms
from .templates import Templates

lifecycle_log = logging.getLogger("o.a.c.s.l.CloudStackExtendedLifeCycle")
agents_log = logging.getLogger("c.c.a.m.ClusteredAgentManagerImpl")
#: What a JVM ends with after SIGTERM; systemd then calls a unit that was stopped failed.
STOPPED = 143
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the management server until it is asked to stop; returns the exit code, 143."""
    logs.open_log(paths.MANAGEMENT_LOG / "management-server.log")
    # Until the server serves, a signal ends it wherever it is, as it ends a JVM: within an upgrade step too.
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: os._exit(STOPPED))
    connectors = startup.announce(properties.read(paths.MANAGEMENT_CONFIGURATION / "server.properties"))
    try:
        server = startup.prepare(settings.load())
        return _serve(server, connectors)
    except failures.StartFailed as failure:
        failures.report(failure, code_version().text)
        web.serve_failure(connectors)
        threading.Event().wait()
    except pymysql.MySQLError as failure:
        # A database that is not CloudStack's, or that went away: the web application fails, the process stays.
        logging.getLogger("c.c.u.DatabaseUpgradeChecker").error("DB Exception: %s", failure.args[-1])  # noqa: TRY400
        failures.report(failures.in_lifecycle(f"Unable to use the database: {failure.args[-1]}"), code_version().text)
        web.serve_failure(connectors)
        threading.Event().wait()
    return STOPPED


def _serve(server: ManagementServer, connectors: Connectors) -> int:
    stop = server.stopping
    startup.enable_operator(server, passwords.hashed("password"))
    lifecycle_log.info("Starting CloudStack Components")
    lifecycle_log.info("Done Starting CloudStack Components")
    lifecycle_log.info("Starting CloudStack Components")
    agents_log.debug("Scheduled direct agent scan task to run at an interval of %d seconds", 90000)
    cluster = ClusterManager(server)
    jobs = Jobs(server)
    agents = AgentManager(server, cluster)
    templates = Templates(server)
    system_vms = SystemVms(server, agents, jobs)
    cluster.refuse_conflict()
    agents.listen()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: stop.set())
    cluster.start(agents.execute_for_peer)
    logging.getLogger("c.c.s.ManagementServerImpl").info("Startup CloudStack management server...")
    lifecycle_log.info("Done Starting CloudStack Components")
    jobs.fail_interrupted()
    for background in (DirectHosts(server, cluster), system_vms, templates, agents, Statistics(server)):
        background.start()
    listening = web.serve(connectors, Api(server, agents, cluster, jobs, system_vms, templates))
    while not stop.wait(60):
        continue
    for each in listening:
        each.shutdown()
    agents.stop()
    cluster.stop()
    time.sleep(server.settings.exit_seconds)
    logging.shutdown()
    # Threads that wait for a host or a database must not keep the process alive.
    sys.stdout.flush()
    os._exit(STOPPED)
