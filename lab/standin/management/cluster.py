"""The cluster of management servers: rows of `mshost`, heartbeats, peers, and calls from one server to another.

[CloudStack 4.22 framework/cluster/.../ClusterManagerImpl.java; times and lines as seen]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import hashlib
import hmac
import http.client
import http.server
import json
import logging
import platform
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql

from ..shared import logs
from ..shared.database import Row, utcnow
from . import alerts, configuration
from .failures import StartFailed
from .listener import Server
from .server import ManagementServer

log = logging.getLogger("c.c.c.ClusterManagerImpl")

PORT = 9090
CALL_SECONDS = 120
PING_SECONDS = 2
JAVA = ("Debian", "17.0.15+6-Debian-1deb12u1")
Executor = Callable[[int, str, dict[str, Any]], dict[str, Any]]


class PeerUnreachable(Exception):
    """Another management server does not answer."""


class ClusterManager:
    """This server's place among the others."""

    def __init__(self, server: ManagementServer) -> None:
        self._server = server
        self._known: set[int] = set()
        self._listener: Server | None = None

    def refuse_conflict(self) -> None:
        """End the start where another living server has this one's address.

        Raises nothing itself; the process ends as the real one does.
        """
        threshold = utcnow() - timedelta(seconds=self._threshold())
        for row in self._server.cloud.rows(
            "SELECT * FROM mshost WHERE service_ip = %s AND msid <> %s AND removed IS NULL AND state <> 'Down' AND last_update > %s",
            self._server.node_ip,
            self._server.msid,
            threshold,
        ):
            if self._answers(row):
                message = (
                    f"Detected that another management node with the same IP {self._server.node_ip} is already running, "
                    "please check your cluster configuration"
                )
                log.error(message)
                raise StartFailed("core", message)

    def start(self, executor: Executor) -> None:
        """Open port 9090, enter the row of this server, begin the heartbeats.

        Args:
            executor: carries out what another server asks for a host that is connected here.
        """
        server = self._server
        self._listener = _listen(server, executor)
        row = server.cloud.row("SELECT * FROM mshost WHERE msid = %s", server.msid)
        log.info("Starting Cluster manager, msid: %d, mshost: %s", server.msid, row["name"] if row else "null")
        values = {
            "runid": server.runid,
            "name": server.name,
            "state": "Up",
            "version": server.version.text,
            "service_ip": server.node_ip,
            "service_port": PORT,
            "last_update": utcnow(),
            "removed": None,
            "alert_count": 0,
        }
        if row is None:
            server.mshost_uuid = str(uuid.uuid4())
            server.mshost_id = server.cloud.insert("mshost", msid=server.msid, uuid=server.mshost_uuid, **values)
        else:
            server.mshost_id, server.mshost_uuid = row["id"], row["uuid"] or str(uuid.uuid4())
            server.cloud.update("mshost", server.mshost_id, uuid=server.mshost_uuid, **values)
        self._status(last_jvm_start=utcnow())
        log.info("New instance of management server %s, runId %d is being started", server.describe(), server.runid)
        log.info("Management server (host : %s) is being started at %s:%d", server.describe(), server.node_ip, PORT)
        log.info("Cluster manager was started successfully")
        logs.named_thread("Cluster-Heartbeat-1", self._heartbeats)

    def stop(self) -> None:
        """Leave the cluster: the row becomes Down."""
        server = self._server
        self._status(last_jvm_stop=utcnow())
        server.cloud.execute(
            "UPDATE mshost SET state = 'Down', last_update = %s WHERE id = %s AND runid = %s", utcnow(), server.mshost_id, server.runid
        )
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
        log.info("Stopping Cluster manager, msid : %d, runId : %d", server.msid, server.runid)
        log.info("Cluster manager is stopped")

    def living(self) -> set[int]:
        """Return the msids of all servers that are Up and beat."""
        threshold = utcnow() - timedelta(seconds=self._threshold())
        rows = self._server.cloud.rows("SELECT msid FROM mshost WHERE removed IS NULL AND state <> 'Down' AND last_update > %s", threshold)
        return {row["msid"] for row in rows}

    def call(self, msid: int, host_id: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Have another server carry out a command on a host that is connected to it.

        Raises PeerUnreachable.
        """
        row = self._server.cloud.row("SELECT * FROM mshost WHERE msid = %s AND state <> 'Down'", msid)
        if row is None:
            raise PeerUnreachable(f"management server {msid} is not up")
        body = json.dumps({"host": host_id, "name": name, "arguments": arguments})
        connection = http.client.HTTPConnection(row["service_ip"], row["service_port"], timeout=CALL_SECONDS)
        try:
            connection.request("POST", "/clusterservice", body, {"X-Proof": _proof(self._server, body)})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, ValueError, http.client.HTTPException) as cause:
            raise PeerUnreachable(f"management server {msid} at {row['service_ip']} does not answer: {cause}") from cause
        finally:
            connection.close()

    def _threshold(self) -> int:
        return configuration.number(self._server, "cluster.heartbeat.threshold", 150_000) // 1000

    def _status(self, **values: datetime) -> None:
        cloud, now = self._server.cloud, utcnow()
        if not cloud.has("mshost_status"):
            return
        values |= {"updated": now}
        row = cloud.row("SELECT id FROM mshost_status WHERE ms_id = %s", self._server.mshost_uuid)
        facts: dict[str, Any] = {
            "last_system_boot": _boot_time(),
            "os_distribution": _distribution(),
            "java_name": JAVA[0],
            "java_version": JAVA[1],
            **values,
        }
        if row is None:
            cloud.insert("mshost_status", ms_id=self._server.mshost_uuid, created=now, **facts)
        else:
            cloud.update("mshost_status", row["id"], **facts)

    def _heartbeats(self) -> None:
        self._scan(first=True)
        while not self._server.stopping.wait(self._server.settings.heartbeat_seconds):
            logs.new_context()
            try:
                self._beat()
                self._scan(first=False)
            except pymysql.MySQLError as failure:
                log.error("Runtime DB exception java.sql.SQLException: %s", failure.args[-1])

    def _beat(self) -> None:
        self._server.cloud.execute(
            "UPDATE mshost SET last_update = %s, removed = NULL, alert_count = 0, state = IF(state = 'Down', 'Up', state) WHERE id = %s AND runid = %s",
            utcnow(),
            self._server.mshost_id,
            self._server.runid,
        )
        if self._server.is_new:
            self._server.cloud.execute(
                "UPDATE mshost SET state = 'ReadyToShutDown' WHERE id = %s AND state = 'PreparingForShutDown' AND NOT EXISTS "
                "(SELECT * FROM async_job WHERE job_status = 0 AND removed IS NULL AND job_executing_msid = %s)",
                self._server.mshost_id,
                self._server.msid,
            )

    def _scan(self, *, first: bool) -> None:
        server = self._server
        threshold = utcnow() - timedelta(seconds=self._threshold())
        peers = server.cloud.rows("SELECT * FROM mshost WHERE removed IS NULL AND id <> %s", server.mshost_id)
        inactive = [row for row in peers if row["state"] != "Down" and row["last_update"] < threshold]
        if first:
            log.info("We are good, no orphan management server msid in host table is found")
            self._joined({"id": server.mshost_id, "service_ip": server.node_ip})
        if not inactive:
            log.info("No inactive management server node found")
        else:
            log.info("Found %d inactive management server node based on timestamp", len(inactive))
        for row in inactive:
            log.info(
                "management server node msid: %d, name: %s, service ip: %s, version: %s",
                row["msid"],
                row["name"],
                row["service_ip"],
                row["version"],
            )
            if not self._answers(row):
                server.cloud.execute("UPDATE mshost SET state = 'Down' WHERE id = %s AND last_update < %s", row["id"], threshold)
        for row in peers:
            up = row["state"] != "Down" and row not in inactive
            self._remember(row, up)
            if up and row["id"] not in self._known:
                self._joined(row)
            elif not up and row["id"] in self._known:
                self._left(row)
        log.debug("Peer scan is finished. profiler: Done. Duration: 1ms")

    def _remember(self, peer: Row, up: bool) -> None:
        if not self._server.cloud.has("mshost_peer"):
            return
        state = "Up" if up else "Down"
        present = self._server.cloud.row(
            "SELECT id, peer_state, peer_runid FROM mshost_peer WHERE owner_mshost = %s AND peer_mshost = %s",
            self._server.mshost_id,
            peer["id"],
        )
        if present is None:
            self._server.cloud.insert(
                "mshost_peer",
                owner_mshost=self._server.mshost_id,
                peer_mshost=peer["id"],
                peer_runid=peer["runid"] or 0,
                peer_state=state,
                last_update=utcnow(),
            )
        elif up or present["peer_state"] != state:
            self._server.cloud.update("mshost_peer", present["id"], peer_state=state, peer_runid=peer["runid"] or 0, last_update=utcnow())

    def _joined(self, row: Row) -> None:
        self._known.add(row["id"])
        log.debug("Detected management node joined, id:%d, nodeIP:%s", row["id"], row["service_ip"])
        alerts.raise_alert(self._server, alerts.MANAGEMENT_NODE, f"Management server node {row['service_ip']} is up", once=True)

    def _left(self, row: Row) -> None:
        self._known.discard(row["id"])
        log.debug("Detected management node left, id:%d, nodeIP:%s", row["id"], row["service_ip"])
        alerts.raise_alert(self._server, alerts.MANAGEMENT_NODE, f"Management server node {row['service_ip']} is down", once=True)

    def _answers(self, row: Row) -> bool:
        try:
            with socket.create_connection((row["service_ip"], row["service_port"]), timeout=PING_SECONDS):
                return True
        except OSError:
            return False


def _proof(server: ManagementServer, body: str) -> str:
    return hmac.new(server.database_secret.encode(), body.encode(), hashlib.sha256).hexdigest()


def _listen(server: ManagementServer, executor: Executor) -> Server:
    class PeerHandler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing: a peer's calls are logged by what they do."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if not hmac.compare_digest(self.headers.get("X-Proof", ""), _proof(server, body)):
                self.send_error(403)
                return
            logs.new_context()
            asked = json.loads(body)
            answer = json.dumps(executor(asked["host"], asked["name"], asked["arguments"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    listener = Server(("", PORT), PeerHandler)
    threading.Thread(target=listener.serve_forever, args=(0.1,), name="Cluster-Listener", daemon=True).start()
    return listener


def _boot_time() -> datetime:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return (datetime.now(UTC) - timedelta(seconds=uptime)).replace(tzinfo=None, microsecond=0)


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
