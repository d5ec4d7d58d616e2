"""AgentPackages: the new agents' packages on the KVM hosts ahead of the window, and the present ones kept there for a rollback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parallel_build.configuration import Hypervisor, Phase, StackConfiguration
from parallel_build.errors import CommandFailed, ConfigurationError, ConnectionFailed, StepFailed
from parallel_build.operations.agent_wave import FOLDER, packages_of, section
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import tolerated, window_open
from parallel_build.remote.packages import right
from parallel_build.remote.parallel import Workers
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep


def hosts_of(configuration: StackConfiguration) -> list[Hypervisor]:
    """Hosts that get the packages: those of the wave, and those that are done later."""
    later = set(configuration.agents.upgrade.later) if configuration.agents.upgrade else set()
    return [*configuration.upgraded_agents, *(host for host in configuration.original.hypervisors if host.name in later)]


def parameters(configuration: StackConfiguration) -> Mapping[str, Any]:
    """What distinguishes one wave from a later one."""
    wanted = configuration.agents.upgrade
    found = {"hosts": [host.name for host in hosts_of(configuration)], "packages": list(wanted.packages) if wanted else []}
    return {**found, **({"repository": wanted.repository} if wanted and wanted.repository else {})}


def repository_of(configuration: StackConfiguration) -> tuple[str | None, str | None]:
    """Where hosts take the packages from, and its key: their own repository where the stack names one, else that of the new servers."""
    wanted, own = configuration.agents.upgrade, configuration.new.packages
    return (wanted.repository, wanted.key) if wanted and wanted.repository else (own.repository, own.key)


@step
class AgentPackages(FoundationStep):
    """Files only: nothing is installed, and nothing of the hosts' own package lists is changed.

    Parameters: `hosts` and `packages`, names; `repository`, where the hosts have one of their own.
    """

    type = "AgentPackages"
    phase = Phase.PREPARED
    summary = "agents' packages on the KVM hosts, nothing installed"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Fetch and keep."""
        names = ", ".join(host.name for host in hosts_of(configuration))
        packages, (repository, _) = configuration.agents.upgrade, repository_of(configuration)
        wanted = ", ".join(packages.packages) if packages else ""
        return [
            f"on {names}: download {wanted} {configuration.new.version} and what they need into {FOLDER}/new"
            + (f", from {repository} and the host's own sources" if repository else ", from the host's own sources"),
            f"on {names}: keep the files of the present {wanted} in {FOLDER}/old",
            "nothing is installed or restarted; refused where the new packages would take others away",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Files away."""
        return [f"on {', '.join(host.name for host in hosts_of(configuration))}: remove {FOLDER}"]

    def apply(self, context: Context) -> Outputs:
        """Every host that has not all of it, side by side."""
        hosts, later = hosts_of(context.configuration), set(section(context).later)
        failed: dict[str, str] = {}
        with Workers(section(context).at_once, context.cancel) as pool:
            work = {host.name: pool.submit(self._fetch, context, host) for host in hosts}
        found: dict[str, dict[str, str]] = {}
        for name, future in work.items():
            try:
                found[name] = future.result()
            except (ConnectionFailed, CommandFailed, StepFailed) as error:
                failed[name] = error.reason
        for name in sorted(failed.keys() & later):
            context.progress(f"{name} (agents.upgrade.later) has no packages yet: {failed.pop(name)}")
        if failed:
            raise StepFailed(
                f"{len(failed)} of {len(hosts)} hosts do not have the agents' packages: "
                + "; ".join(f"{name}: {words}" for name, words in list(failed.items())[:5]),
                "the window only installs what lies on the hosts: it fetches nothing",
                "correct that, or put hosts that can wait into agents.upgrade.later; then run `pulumi up` again",
            )
        return {"hosts": _grouped(found)}

    def verify(self, context: Context) -> Outputs:
        """Look again; while a window is open what lies there is the window's."""
        return {} if window_open(context) else self.apply(context)

    def revert(self, context: Context) -> None:
        """Remove the folders, side by side; a host that can't be reached keeps its own."""

        def remove(host: Hypervisor) -> None:
            with tolerated(context, f"{FOLDER} on {host.name} stays"):
                packages_of(context, host).remove()

        with Workers(section(context).at_once, context.cancel) as pool:
            list(pool.map(remove, hosts_of(context.configuration)))

    @staticmethod
    def _fetch(context: Context, host: Hypervisor) -> dict[str, str]:
        release, wanted = context.configuration.new.version, section(context).packages
        kept, (repository, key) = packages_of(context, host), repository_of(context.configuration)
        there = kept.fetched()
        if set(there) == set(wanted) and all(right(name, version, release) for name, version in there.items()):
            return there
        context.intend(f"{host.name}: download {', '.join(wanted)} {release.full}")
        context.progress(f"{host.name}: downloading {', '.join(wanted)} {release.full}")
        try:
            return kept.fetch(wanted, release, repository, key)
        except ConfigurationError as error:  # a repository of the other family of systems
            raise StepFailed(error.fact, f"{error.cause}; name the hosts' own in agents.upgrade.repository", error.remedy) from None


def _grouped(found: Mapping[str, Mapping[str, str]]) -> dict[str, Sequence[str]]:
    """Hosts by what they have: mostly one line for all."""
    groups: dict[str, list[str]] = {}
    for name, versions in found.items():
        groups.setdefault(", ".join(f"{package} {version}" for package, version in versions.items()), []).append(name)
    return dict(groups)
