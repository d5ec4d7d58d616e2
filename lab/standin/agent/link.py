"""The connection of one agent - the host's, or that of a system VM on it - to a management server.

The list of servers is dialled in turn with a constant pause; it is in a file which a server may have rewritten.
[CloudStack 4.22 agent/.../Agent.java]
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..shared import properties
from ..shared.protocol import Channel, Message
from ..shared.settings import Settings

log = logging.getLogger("c.c.a.Agent")

CONNECT_SECONDS = 5
SILENCE_SECONDS = 30
DEFAULT_PING = 2.0


class Link:
    """Keeps one agent connected.

    Args:
        name: for the log.
        file: the agent.properties that holds `host` and `port`.
        startup: gives what is sent to a server first.
        settings: of this host.
        ready: called with the server's first message.
        command: carries out a command and returns its answer; raises Exception with the reason.
        report: gives what each ping carries.
    """

    def __init__(
        self,
        name: str,
        file: Path,
        startup: Callable[[str], Message],
        settings: Settings,
        ready: Callable[[Message], None],
        command: Callable[[str, dict[str, Any]], dict[str, Any]],
        report: Callable[[], dict[str, Any]],
    ) -> None:
        self.name, self._file, self._startup, self._settings = name, file, startup, settings
        self._ready, self._command, self._report = ready, command, report
        self.stopping = threading.Event()
        self._channel: Channel | None = None

    def run(self) -> None:
        """Connect, serve, and connect again, until it is stopped."""
        turn = 0
        while not self.stopping.is_set():
            addresses, port = self._addresses()
            address = addresses[turn % len(addresses)]
            turn += 1
            try:
                self._serve(address, port)
            except (OSError, ValueError, KeyError) as failure:
                log.info("%s: unable to stay connected to %s:%d due to %s", self.name, address, port, failure)
            self.stopping.wait(self._settings.agent_backoff_seconds)

    def stop(self, *, announce: bool) -> None:
        """End it; where it is announced the server takes the host as gone at once."""
        self.stopping.set()
        channel = self._channel
        if channel is not None:
            try:
                if announce:
                    channel.send(type="shutdown")
            except OSError:
                pass
            channel.close()

    def _addresses(self) -> tuple[list[str], int]:
        values = properties.read(self._file)
        listed = values.get("host", "localhost").split("@", 1)[0]
        addresses = [part.strip() for part in listed.split(",") if part.strip()] or ["localhost"]
        return addresses, int(values.get("port", "8250") or 8250)

    def _serve(self, address: str, port: int) -> None:
        if self._settings.agent_refuses_to_connect:
            raise OSError("planted fault agent_refuses_to_connect")
        log.info("%s: connecting to %s:%d", self.name, address, port)
        channel = Channel(socket.create_connection((address, port), CONNECT_SECONDS))
        self._channel = channel
        done = threading.Event()
        try:
            channel.send(**self._startup(channel.local_address()))
            first = channel.receive(SILENCE_SECONDS)
            if first is None or first.get("type") != "ready":
                raise OSError(str((first or {}).get("reason", "the server closed the connection")))
            log.info("%s: connected to %s as host %s", self.name, address, first["host_id"])
            self._take_hosts(first)
            self._ready(first)
            pinger = threading.Thread(target=self._ping, args=(channel, float(first.get("ping_seconds", DEFAULT_PING)), done), daemon=True)
            pinger.start()
            while (message := channel.receive(None)) is not None:
                self._handle(channel, message)
        finally:
            done.set()
            self._channel = None
            channel.close()

    def _ping(self, channel: Channel, seconds: float, done: threading.Event) -> None:
        try:
            while not done.is_set():
                channel.send(type="ping", **self._report())
                done.wait(seconds)
        except OSError:
            channel.close()

    def _handle(self, channel: Channel, message: Message) -> None:
        if message["type"] == "hosts":
            self._take_hosts(message)
        elif message["type"] == "command":
            # Commands of one connection run side by side: a restart of several networks must not queue up here.
            threading.Thread(target=self._answer, args=(channel, message), daemon=True).start()

    def _answer(self, channel: Channel, message: Message) -> None:
        try:
            answer = {"ok": True, **self._command(message["name"], message["arguments"])}
        except Exception as failure:  # whatever it is, the server has to learn it
            log.warning("%s: %s failed: %s", self.name, message["name"], failure)
            answer = {"ok": False, "detail": str(failure)}
        try:
            channel.send(type="answer", number=message["number"], **answer)
        except OSError as failure:
            log.info("%s: the answer to %s can't be sent: %s", self.name, message["name"], failure)

    def _take_hosts(self, message: Message) -> None:
        wanted = str(message.get("hosts", ""))
        if not wanted or self._settings.agent_ignores_host_list:
            return
        if properties.read(self._file).get("host") != wanted:
            properties.store(self._file, "host", wanted)
            log.info("%s: the list of management servers is now %s", self.name, wanted)
