"""Agents of the world's KVM hosts: each has a list of management servers in its file, and a connection to one of them, of one side or the other.

An agent stays connected to a server that runs, whether or not the operator can reach that server. When it loses its server it dials the next of its
list; a server that runs takes it, even one whose database is closed to it. Whoever takes it gives it the list that its side's `host` has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from parallel_build.cloudstack.agents import AGENT_FILE
from parallel_build.cloudstack.endpoint import ApiUnavailable
from parallel_build.cloudstack.services import AGENT, MANAGEMENT
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import hosts_back, original_management, serve_original
from parallel_build.remote.openssh import Result
from tests.fast.window_world import ADDRESSES, DATABASE, NEW, OLD, Machine

if TYPE_CHECKING:
    from tests.fast.several_operators import Shared

KVM = {"kvm1": "10.91.0.21", "kvm2": "10.91.0.22"}
OLD_LIST, NEW_LIST = ["10.91.0.11", "10.91.0.12"], ["10.91.0.41", "10.91.0.42"]
REAL = {  # behind what `switched_cloud` puts in their places
    (hosts_back, "take_agents"): hosts_back.take_agents,
    (hosts_back, "missing"): hosts_back.missing,
    (serve_original, "redirect_agents"): serve_original.redirect_agents,
}


@dataclasses.dataclass
class Agent:
    """One agent.

    Attributes:
        listed: addresses in its file.
        learns: it writes down the list that a server gives it.
        at: the server that it is connected to; empty for none.
        last: the address that it dialled last.
        aside: the operator has put its host into maintenance.
        restless: it loses its server twice while a command waits for it, and so comes by all of its list.
    """

    listed: list[str] = dataclasses.field(default_factory=lambda: [*OLD_LIST, *NEW_LIST])
    learns: bool = True
    at: str = ""
    last: str = ""
    aside: bool = False
    restless: bool = False


class Agents:
    """All of them.

    Attributes:
        lists: the value of `host`, by side.
        written: what commands of an operator have written into their files.
    """

    def __init__(self, world: Shared) -> None:
        self._world = world
        self.by_host = {name: Agent() for name in KVM}
        self.lists = {"original": [*OLD_LIST, *NEW_LIST], "new": [*NEW_LIST, *OLD_LIST]}
        self.written: list[tuple[str, str]] = []

    def look(self, host: str) -> Agent:
        """One, connected as it is by now."""
        agent = self.by_host[host]
        if not self.runs(host):
            agent.at = ""
        elif not (agent.at and self._takes(agent.at)):
            self._dial(agent)
        return agent

    def runs(self, host: str) -> bool:
        """Whether its service does."""
        return self._world.units[host, AGENT]["active"]

    def _takes(self, server: str) -> bool:
        return self._world.units[server, MANAGEMENT]["active"] and server not in self._world.powered_off

    def _dial(self, agent: Agent) -> None:
        after = agent.listed.index(agent.last) + 1 if agent.last in agent.listed else 0
        agent.at = ""
        for address in [*agent.listed[after:], *agent.listed[:after]]:
            if self._takes(ADDRESSES[address]):
                agent.at, agent.last = ADDRESSES[address], address
                break
        if agent.at and agent.learns:
            agent.listed = list(self.lists["original" if agent.at in OLD else "new"])

    def lose(self, host: str) -> None:
        """Its connection breaks: it dials the next of its list."""
        self.by_host[host].at = ""

    def on(self, side: Sequence[str] | dict[str, Any]) -> list[str]:
        """Hosts whose agents are connected to a server of a side."""
        return [host for host in KVM if self.look(host).at in side]

    def check_taken(self) -> None:
        """What has to be true when the original serves again."""
        asked = [host for host in self.on(NEW) if host not in self._world.lost]
        if asked:
            self._world.wrong.append(f"rolled back, and the agents of {asked} can be asked and are connected to the new side")

    def check_rolled_back(self, left: str) -> None:
        """What has to be true when a rollback says that it is done.

        Args:
            left: what it says that is not; empty where the window is closed.
        """
        self.check_taken()
        there = self.on(OLD)
        away = [host for host in KVM if host not in there and (self.by_host[host].at or not self.by_host[host].aside) and host not in left]
        if away:
            self._world.wrong.append(f"rolled back, and nothing is said of {away}, which are not connected to the original")

    def listed(self) -> list[dict[str, str]]:
        """Hosts, as the original has them when somebody asks."""
        acting = self._world.acting
        for host, agent in self.by_host.items():
            if agent.restless and not acting.has_waited:
                self.lose(host)
                self.look(host)
                self.lose(host)
        acting.has_waited = True
        there = self.on(OLD)
        return [
            {"id": f"id-{host}", "state": "Up" if host in there else "Alert", "resourcestate": "Maintenance" if agent.aside else "Enabled"}
            for host, agent in self.by_host.items()
        ]


class AgentHost(Machine):
    """A KVM host, as far as its agent is concerned."""

    @property
    def _agent(self) -> Agent:
        world: Any = self.world
        if self.name in world.lost:
            raise ConnectionFailed(f"{self.name} can't be reached over SSH", "", "")
        world.reach(self.name)
        found: Agent = world.agents.look(self.name)
        return found

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """What its agent is connected to, the file's mode, and a restart."""
        agent, world = self._agent, self.world
        if argv == hosts_back.CONNECTED:
            at = {name: address for address, name in ADDRESSES.items()}.get(agent.at)
            return Result(0, f"Recv-Q Send-Q\n0 0 {KVM[self.name]}:51234 {at}:8250\n" if at else "", "")
        if argv[0] == "stat":
            return Result(0, "640 root:root\n", "")
        assert list(argv) == ["systemctl", "restart", AGENT], argv
        world.act(f"restart {AGENT} on {self.name}", self.name)
        agent.at, agent.last = "", ""
        world.units[self.name, AGENT]["active"] = True
        return Result(0, "", "")

    def read(self, path: str, **_: Any) -> bytes | None:
        """Its agent's file."""
        assert path == AGENT_FILE
        return f"guid=a\nhost={','.join(self._agent.listed)}\n".encode()

    def write(self, path: str, content: Any, **_: Any) -> None:
        """Its agent's file, as a whole."""
        agent, world = self._agent, self.world
        value = content.decode().partition("host=")[2].strip()
        world.act(f"write {path} on {self.name}", self.name)
        agent.listed = value.split(",")
        world.agents.written.append((self.name, value))  # type: ignore[attr-defined]


class OriginalTable:
    """The original's database, for those who look for its hosts."""

    def __init__(self, world: Shared) -> None:
        self._agents = world.agents

    def value(self, statement: str) -> str:
        """Its `host`."""
        assert "'host'" in statement
        return ",".join(self._agents.lists["original"])

    def rows(self, statement: str) -> list[dict[str, str]]:
        """Its hosts."""
        assert statement == hosts_back.ROWS
        return self._agents.listed()


class Api:
    """The original's API, where one of its servers can be asked."""

    def __init__(self, world: Shared) -> None:
        self._world = world

    def list(self, command: str, **_: str) -> list[dict[str, str]]:
        """Its hosts."""
        world = self._world
        assert command == "listHosts"
        if not [name for name in world.managers if world.units[name, MANAGEMENT]["active"] and name not in world.lost]:
            raise ApiUnavailable("no answer", "", "", None)
        return world.agents.listed()


def arrange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a rollback really look after the hosts."""

    class Session:
        def __init__(self, host: Machine, **_: Any) -> None:
            self._host = host

        def __enter__(self) -> OriginalTable:
            world: Any = self._host.world
            if self._host.name in world.lost or not world.units[self._host.name, DATABASE]["active"]:
                raise ConnectionFailed(f"{self._host.name}: no database server listens there", "", "")
            return OriginalTable(world)

        def __exit__(self, *_: object) -> None:
            """Nothing is left of it."""

    for (module, name), real in REAL.items():
        monkeypatch.setattr(module, name, real)
    for module in (hosts_back, serve_original):
        monkeypatch.setattr(module, "session", Session)
    monkeypatch.setattr(hosts_back, "TAKE_EVERY", -1.0)
    monkeypatch.setattr(original_management, "answering", lambda context: Api(context.connections))
