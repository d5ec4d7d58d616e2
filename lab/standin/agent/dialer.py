"""How an agent finds a management server: it dials its list in turn, and learns a new list from whoever answers.

[CloudStack 4.22 agent/.../Agent.java: constant back-off; the list is kept as host=a,b@ALGORITHM]
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from ..shared import properties
from ..shared.protocol import Channel, Message
from ..shared.settings import Settings

log = logging.getLogger("c.c.a.Agent")

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
SILENT_PINGS = 4
DEFAULT_PORT = 8250


class Dialer:
    """One agent's connection, kept up until it is asked to stop."""

    def __init__(
        self,
        file: Path,
        settings: Settings,
        startup: Callable[[Channel], Message],
        handle: Callable[[Channel, Message], None],
        ping: Callable[[], Message],
    ) -> None:
        """Take what differs between agents.

        Args:
            file: its agent.properties.
            settings: the host's settings.
            startup: makes the first message.
            handle: takes every message but those about the list of servers; called in the reading thread.
            ping: makes a sign of life.
        """
        self._file = file
        self._settings = settings
        self._startup = startup
        self._handle = handle
        self._ping = ping
        self._stop = threading.Event()
        self._channel: Channel | None = None
        self._check_interval = 0
        self._prefer_first = False

    def run(self) -> None:
        """Dial until stopped: after every failure and every lost connection the next one of the list."""
        index = 0
        while not self._stop.is_set():
            addresses, port = self.servers()
            address = addresses[index % len(addresses)]
            if not self._settings.agent_refuses_to_connect:
                log.info("Connecting to %s:%d", address, port)
                self._converse(address, port)
            if self._stop.wait(self._settings.agent_backoff_seconds):
                return
            # The list may be different by now.
            addresses, _ = self.servers()
            index = 0 if self._prefer_first or address not in addresses else addresses.index(address) + 1
            self._prefer_first = False

    def stop(self) -> None:
        """Say goodbye and end."""
        self._stop.set()
        channel = self._channel
        if channel is not None:
            try:
                channel.send(type="shutdown")
            except OSError:
                log.debug("The management server is gone already")
            channel.close()

    def reconnect(self) -> None:
        """Give up the connection; a new one is made after the back-off."""
        if self._channel is not None:
            self._channel.close()

    def servers(self) -> tuple[list[str], int]:
        """Return the addresses to dial and the port."""
        values = properties.read(self._file)
        text = values.get("host", "localhost").partition("@")[0]
        addresses = [part.strip() for part in text.split(",") if part.strip()]
        return addresses or ["localhost"], int(values.get("port") or DEFAULT_PORT)

    def _converse(self, address: str, port: int) -> None:
        try:
            connection = socket.create_connection((address, port), timeout=CONNECT_SECONDS)
        except OSError as failure:
            log.warning("Unable to connect to %s:%d: %s", address, port, failure)
            return
        channel = Channel(connection)
        finished = threading.Event()
        try:
            channel.send(**self._startup(channel))
            answer = channel.receive(ANSWER_SECONDS)
            if answer is None or answer["type"] != "ready":
                log.warning("Refused by %s: %s", address, (answer or {}).get("reason", "no answer"))
                return
            self._channel = channel
            log.info("Connected to the host: %s", address)
            self._learn(answer)
            self._handle(channel, answer)
            seconds = float(answer["ping_seconds"])
            threading.Thread(target=self._pings, args=(channel, seconds, address, finished), name="Agent-Ping", daemon=True).start()
            for message in channel.messages(seconds * SILENT_PINGS):
                if message["type"] == "hosts":
                    self._learn(message)
                elif message["type"] != "pong":
                    self._handle(channel, message)
        except (OSError, ValueError, KeyError) as failure:
            log.warning("Lost connection to host: %s. %s", address, failure or type(failure).__name__)
        finally:
            finished.set()
            self._channel = None
            channel.close()

    def _pings(self, channel: Channel, seconds: float, address: str, finished: threading.Event) -> None:
        waited = 0.0
        while not finished.wait(seconds):
            try:
                channel.send(type="ping", **self._ping())
            except OSError:
                channel.close()
                return
            waited += seconds
            if self._check_interval and waited >= self._check_interval:
                waited = 0.0
                if self._first_is_back(address):
                    self._prefer_first = True
                    channel.close()
                    return

    def _first_is_back(self, address: str) -> bool:
        addresses, port = self.servers()
        if addresses[0] == address:
            return False
        try:
            socket.create_connection((addresses[0], port), timeout=CONNECT_SECONDS).close()
        except OSError:
            return False
        log.info("Preferred host %s is reachable again", addresses[0])
        return True

    def _learn(self, message: Message) -> None:
        """Write down the list that a management server gave."""
        self._check_interval = int(message.get("check_interval") or 0)
        wanted = str(message["hosts"])
        if self._settings.agent_ignores_host_list:
            return
        if properties.read(self._file).get("host") != wanted:
            properties.store(self._file, "host", wanted)
            log.info("Processed new management server list: %s", wanted)
