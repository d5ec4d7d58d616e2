"""The agent inside a secondary storage VM or a console proxy."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from ..shared import logs, paths, settings
from ..shared.protocol import Channel, Message
from . import machines
from .dialer import Dialer

log = logging.getLogger("c.c.a.AgentShell")

HOST_TYPES = {"SecondaryStorageVm": "SecondaryStorageVM", "ConsoleProxy": "ConsoleProxy"}


def main(name: str) -> int:
    """Run the agent of a system VM until its machine stops; returns the exit code."""
    machine = machines.load(name)
    if machine is None:
        return 1
    logs.open_log(paths.AGENT_LOG / f"systemvm-{name}.log")

    def startup(_channel: Channel) -> Message:
        return {
            "type": "startup",
            "kind": HOST_TYPES[machine.kind],
            "guid": machine.uuid,
            "name": machine.name,
            "version": machine.version,
            "address": machine.private_address,
        }

    def handle(channel: Channel, message: Message) -> None:
        if message["type"] == "command":
            channel.send(
                type="answer", number=message["number"], ok=message["name"] == "reconnect", detail=f"Unsupported command {message['name']}"
            )

    dialer = Dialer(machine.properties, settings.load(), startup, handle, dict)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: threading.Thread(target=dialer.stop).start())
    dialer.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
