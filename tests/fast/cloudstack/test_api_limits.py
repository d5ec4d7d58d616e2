"""The cloud's own limits: the page size that it allows, and how many calls an account may make; and many hosts are asked side by side."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import cs
import pytest

from parallel_build.cancel import CancelToken
from parallel_build.cloudstack import agents, api, left_running
from parallel_build.cloudstack.api import ApiRefused, Cloud, Endpoint
from parallel_build.cloudstack.left_running import Guest
from parallel_build.configuration import Hypervisor
from parallel_build.errors import Cancelled, ConnectionFailed
from parallel_build.operations import agent_survey, prove_appliances
from parallel_build.operations.context import Context
from parallel_build.remote.openssh import Result
from parallel_build.secret import Secret
from tests.fast.sites import site


def refused(code: int, words: str) -> cs.CloudStackApiException:
    """The API's own refusal."""
    return cs.CloudStackApiException(f"HTTP {code}", error={"errorcode": code, "errortext": words}, response=None)


class Client:
    """A cloud that allows pages of so many items, and refuses calls that come too fast.

    Args:
        allowed: `default.page.size`, as it is given to those who ask; None where nobody may read it.
        limit: the size that it really refuses beyond.
    """

    def __init__(self, limit: int = 100, allowed: str | None = "100", throttled: int = 0) -> None:
        self.limit, self.allowed, self.throttled, self.calls = limit, allowed, throttled, list[tuple[str, dict[str, Any]]]()

    def __getattr__(self, command: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append((command, parameters))
            if self.throttled:
                self.throttled -= 1
                raise refused(429, "The given user has reached his/her account api limit, please retry after 400 ms.")
            if command == "listConfigurations":
                if self.allowed is None:
                    raise refused(401, "not allowed")
                return {"count": 1, "configuration": [{"name": "default.page.size", "value": self.allowed}]}
            if command == "listNothing":
                raise refused(431, "Unable to find the domain")
            if parameters.get("pagesize", 500) > self.limit:
                raise refused(431, f"Page size can not exceed max allowed page size value: {self.limit}")
            return [{"id": 1}]

        return call


def cloud(client: Client) -> Cloud:
    """The API behind that client."""
    made = Cloud(Endpoint("http://10.91.0.11:8080/client/api"), Secret("k" * 20), Secret("s" * 20))
    made._client = cast(Any, client)
    return made


@pytest.mark.parametrize("allowed", ["100", None, "-1"])
def test_pages_are_as_large_as_the_cloud_allows(allowed: str | None) -> None:
    client = Client(allowed=allowed)
    where = cloud(client)
    assert where.list("listHosts", type="Routing") == [{"id": 1}]
    assert client.calls[-1] == ("listHosts", {"fetch_list": True, "pagesize": 100, "type": "Routing"})
    asked = len(client.calls)
    where.list("listSystemVms")
    assert len(client.calls) == asked + 1, "the size is known by now"


def test_a_cloud_with_usual_pages_is_asked_nothing_more() -> None:
    client = Client(limit=500)
    cloud(client).list("listHosts")
    assert [name for name, _ in client.calls] == ["listHosts"]


def test_another_refusal_of_a_parameter_stays_one() -> None:
    client = Client()
    with pytest.raises(ApiRefused, match="listNothing"):
        cloud(client).list("listNothing")
    assert len(client.calls) == 1


def test_a_call_beyond_the_accounts_rate_is_made_again_when_the_cloud_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("parallel_build.cloudstack.api.time.sleep", slept.append)
    client = Client(limit=500, throttled=3)
    assert cloud(client).call("restartNetwork", id="n") == {"result": [{"id": 1}]}
    assert slept == [0.4] * 3 and len(client.calls) == 4


def test_a_cloud_that_never_allows_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[float] = [0.0]
    monkeypatch.setattr("parallel_build.cloudstack.api.time.sleep", passed.append)
    monkeypatch.setattr("parallel_build.cloudstack.api.time.monotonic", lambda: sum(passed))
    with pytest.raises(ApiRefused, match="429"):
        cloud(Client(throttled=10**9)).call("listHosts")
    assert api.THROTTLED_FOR <= sum(passed) < api.THROTTLED_FOR + api.THROTTLED_WAIT


class Counting:
    """Counts how many are at it at once: each waits until two are."""

    def __init__(self) -> None:
        self.together = threading.Barrier(2, timeout=10)

    def ask(self, answer: Any) -> Any:
        """The answer, once another is asked as well."""
        self.together.wait()
        return answer


HOSTS = [{"id": n, "name": f"kvm{n}", "ipaddress": f"10.91.0.2{n}", "hypervisor": "KVM", "state": "Up"} for n in (1, 2)]


def context(cancel: CancelToken | None = None) -> Context:
    """Enough of a step's context for a survey."""
    return cast(Context, SimpleNamespace(configuration=site().configuration, cancel=cancel or CancelToken(), host=lambda server: server))


class Listing:
    """An API with two hosts, each with a system VM."""

    def list(self, command: str, **_: Any) -> list[dict[str, Any]]:
        return HOSTS if command == "listHosts" else []


def test_hosts_and_system_vms_are_surveyed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, vms = Counting(), Counting()
    monkeypatch.setattr(agents, "learnt", lambda host: hosts.ask([host.name]))
    monkeypatch.setattr(agents, "learnt_by_system_vm", lambda host, vm: vms.ask([host.name]))
    monkeypatch.setattr(agent_survey, "system_vms", lambda cloud: [{"name": f"s-{n}-VM", "hostid": n, "state": "Running"} for n in (1, 2)])
    found = agent_survey.survey_agents(context(), cast(Cloud, Listing()), bool)
    assert found.proved == ["kvm1", "kvm2"] and found.system_vms == ["s-1-VM", "s-2-VM"] and not found.waiting


def test_a_survey_that_is_cancelled_asks_nobody_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel = CancelToken()
    cancel.set("a test")
    monkeypatch.setattr(agents, "learnt", lambda host: pytest.fail("nobody is asked"))
    with pytest.raises(Cancelled):
        agent_survey.survey_agents(context(cancel), cast(Cloud, Listing()), bool)


def test_appliances_are_proved_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counting()
    monkeypatch.setattr("parallel_build.cloudstack.systemvms.read_on_system_vm", lambda *_: asked.ask(Result(0, "4.22.1.0", "")))
    database = SimpleNamespace(rows=lambda _, ids: [{"uuid": n, "template": None, "template_version": "4.22.1.0"} for n in ids])
    vms = [{"id": n, "name": f"r-{n}-VM", "hostname": f"kvm{n}", "linklocalip": "169.254.0.2", "version": "4.22.1.0", "requiresupgrade": False}
           for n in (1, 2)]  # fmt: skip
    proofs = prove_appliances.proofs(context(), vms, "4.22.1.0", cast(Any, lambda: database))
    assert [(proof.name, proof.problems, proof.appliance) for proof in proofs] == [("r-1-VM", (), "4.22.1.0"), ("r-2-VM", (), "4.22.1.0")]


def test_a_guest_that_was_moved_to_another_host_is_not_gone() -> None:
    domains: dict[str, str | None] = {"kvm1": "", "kvm2": "r-7-VM\n"}

    def host(hypervisor: Hypervisor) -> Any:
        def run(argv: list[str]) -> Result:
            listed = domains[hypervisor.name]
            if listed is None:
                raise ConnectionFailed("it can't be reached", "", "")
            return Result(0, listed, "")

        return SimpleNamespace(run=run)

    guests = [Guest("r-7-VM", "DomainRouter", "kvm1", "KVM"), Guest("r-8-VM", "DomainRouter", "kvm1", "KVM")]
    hypervisors = site().configuration.original.hypervisors
    assert [guest.name for guest in left_running.not_proved_gone(hypervisors, host, guests)] == ["r-7-VM"]
    domains["kvm1"] = None
    assert len(left_running.not_proved_gone(hypervisors, host, guests)) == 2
