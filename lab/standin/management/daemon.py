"""The life of the process: start, serve, stop on SIGTERM - or answer 503 for good after a failed start."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time

from ..shared import logs, paths, properties, settings
from ..shared.release import code_version
from . import failures, passwords, startup, web
from .agents import AgentManager
from .api import Api
from .cluster import ClusterManager
from .direct import DirectHosts
from .jobs import Jobs
from .server import ManagementServer
from .statistics import Statistics
from .systemvms import SystemVms
from .templates import Templates

lifecycle_log = logging.getLogger("o.a.c.s.l.CloudStackExtendedLifeCycle")
agents_log = logging.getLogger("c.c.a.m.ClusteredAgentManagerImpl")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the management server until it is told to stop; returns the exit code."""
    logs.open_log(paths.MANAGEMENT_LOG / "management-server.log")
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda _number, _frame: _stop(stop))
    chosen = settings.load()
    ports = startup.announce(properties.read(paths.MANAGEMENT_CONFIGURATION / "server.properties"))
    try:
        server = startup.prepare(chosen)
    except failures.StartFailed as failure:
        failures.report(failure, code_version().text)
        web.serve_failure(ports.http)
        stop.wait()
        return 0
    if stop.is_set():
        return 0
    return _serve(server, ports, stop)


def _stop(stop: threading.Event) -> None:
    stop.set()


def _serve(server: ManagementServer, ports: startup.Ports, stop: threading.Event) -> int:
    server.stopping = stop
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
    cluster.start(agents.execute_for_peer)
    logging.getLogger("c.c.s.ManagementServerImpl").info("Startup CloudStack management server...")
    lifecycle_log.info("Done Starting CloudStack Components")
    jobs.fail_interrupted()
    for background in (DirectHosts(server, cluster), system_vms, templates, agents, Statistics(server)):
        background.start()
    api = web.serve(ports.http, Api(server, agents, cluster, jobs, system_vms, templates))
    while not stop.wait(60):
        continue
    api.shutdown()
    agents.stop()
    cluster.stop()
    time.sleep(server.settings.exit_seconds)
    logging.shutdown()
    # Threads that wait for a host or a database must not keep the process alive.
    sys.stdout.flush()
    os._exit(0)
