"""Where KVM hosts take the agents' packages from: their own repository where the stack names one, of their own family of systems."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from parallel_build.cancel import CancelToken
from parallel_build.errors import ConfigurationError, StepFailed
from parallel_build.remote import dnf
from parallel_build.steps import agent_packages
from parallel_build.versions import CloudStackVersion
from tests.fast.sites import site

APT, RPM = "deb https://packages.example/apt jammy 4.22", "https://packages.example/centos/9/4.22/"


class Kept:
    """The folder of a host of the EL family."""

    def __init__(self) -> None:
        self.asked: tuple[Any, ...] = ()

    def fetched(self) -> dict[str, str]:
        return {}

    def fetch(self, wanted: list[str], release: CloudStackVersion, repository: str, key: str | None) -> dict[str, str]:
        dnf.repository_text(repository, key, release)
        self.asked = (repository, key)
        return dict.fromkeys(wanted, f"{release}-1")


def apply(monkeypatch: pytest.MonkeyPatch, kept: Kept, **upgrade: Any) -> Any:
    found = site(agents={"upgrade": upgrade}, new={"packages": {"repository": APT}})
    monkeypatch.setattr(agent_packages, "packages_of", lambda context, host: kept)
    monkeypatch.setattr(agent_packages, "section", lambda context: found.configuration.agents.upgrade)
    quiet = SimpleNamespace(configuration=found.configuration, cancel=CancelToken(), intend=lambda *_: None, progress=lambda *_: None)
    return agent_packages.AgentPackages({}).apply(cast(Any, quiet))


def test_the_hosts_own_repository_counts_before_that_of_the_new_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    apply(monkeypatch, kept, repository=RPM, key="KEY")
    assert kept.asked == (RPM, "KEY")
    configuration = site(agents={"upgrade": {"repository": RPM}}, new={"packages": {"repository": APT}}).configuration
    assert RPM in agent_packages.AgentPackages({}).plan(configuration)[0]
    assert agent_packages.parameters(configuration)["repository"] == RPM


def test_without_one_it_is_the_new_servers_and_nothing_is_new_in_the_state() -> None:
    configuration = site(agents={"upgrade": {}}, new={"packages": {"repository": APT, "key": "KEY"}}).configuration
    assert agent_packages.repository_of(configuration) == (APT, "KEY")
    assert set(agent_packages.parameters(configuration)) == {"hosts", "packages"}


def test_a_repository_of_the_other_family_leads_to_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepFailed, match=r"kvm1: .*takes packages by dnf; name the hosts' own in agents\.upgrade\.repository"):
        apply(monkeypatch, Kept())


def test_what_is_no_repository_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"agents\.upgrade\.repository.*a repository is one line such as"):
        site(agents={"upgrade": {"repository": "packages.example"}})
