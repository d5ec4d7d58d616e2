"""Users out and in by each of the three methods, on the lab's running original: proved from a user's address, and from the administrator's."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import requests.adapters

from lab.files import Lab
from lab.machines import NEW_MANAGEMENT, OLD_MANAGEMENT, USER_ADDRESS
from parallel_build.cancel import wait_for
from parallel_build.cloudstack.api import Cloud, Endpoint
from parallel_build.cloudstack.endpoint import of_original
from parallel_build.cloudstack.user_probe import Probe
from parallel_build.configuration import Server, UserProbe
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.machines.container import machine as container
from parallel_build.operations import lasting_barrier, packet_filter
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.user_access_setting import SETTING, own_values, setting
from parallel_build.records.run_folder import RunFolder
from parallel_build.resolved_stack import Site
from parallel_build.steps.hypervisors import stranded
from parallel_build.steps.user_access import UserAccess
from tests.containers.conftest import LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.test_health import with_changes

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

BALANCER = ("10.91.0.1", 8091)
CALL = f"http://{OLD_MANAGEMENT[0].address}:8080/client/api"
URL = f"http://{BALANCER[0]}:{BALANCER[1]}/client/api"


@pytest.fixture(scope="module")
def stand(lab: LabRunner) -> Stand:
    """The lab in phase prepared."""
    return Stand(lab)


@contextmanager
def window(stand: Stand, site: Site) -> Iterator[Context]:
    """A context with the window taken, given back at the end; call it inside the lab's network."""
    run = RunFolder(stand.lab.folder / "user-access-test", "lab", [])
    with stand.connections(site) as opened:
        context = Context(site, opened, run, opened.cancel, lambda line: None, "UserAccess")
        store(context).open()
        try:
            yield context
        finally:
            UserAccess().revert(context)
            store(context).close()


def user_served(stand: Stand) -> list[bool]:
    """Whether a signed call from the user's address is served, by each old management server."""
    with stand.connections() as opened:
        probe = Probe(stand.site, opened, UserProbe(source=USER_ADDRESS))
        return [probe.ask(of_original(stand.site.configuration, server)).served for server in stand.site.configuration.original.management]


def user_connects() -> bool:
    """Whether the user's address gets any answer on port 8080: seen without the tool's own means."""
    connection = http.client.HTTPConnection(OLD_MANAGEMENT[0].address, 8080, timeout=5, source_address=(USER_ADDRESS, 0))
    try:
        connection.request("GET", "/client/api?command=x")
        return connection.getresponse().status == 401
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def user_session() -> Iterator[requests.Session]:
    """Calls from the user's address."""

    class FromTheUser(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            return super().init_poolmanager(*args, **kwargs, source_address=(USER_ADDRESS, 0))

    with requests.Session() as session:
        session.mount("http://", FromTheUser())
        yield session


def access(stand: Stand, **changes: Any) -> Site:
    """The stack with another way of holding users out."""
    section = {"administrators": ["10.91.0.1/32"], "probe": {"source": USER_ADDRESS}, **changes}
    return with_changes(stand, window={"userAccess": section})


def test_the_firewall_holds_users_out_and_lets_administrators_in(stand: Stand) -> None:
    def run() -> None:
        assert user_served(stand) == [True, True] and user_connects()
        with window(stand, access(stand)) as context:
            proved = UserAccess().apply(context)["proved"]
            assert user_served(stand) == [False, False] and not user_connects()
            with user_session() as session:
                answered = session.get(CALL, params={"command": "listZones", "response": "json"}, timeout=5)
            assert answered.status_code == 503 and int(answered.headers["Retry-After"]) > 0
            assert answered.json()["listzonesresponse"]["errorcode"] == 503
            assert Cloud.original(stand.site).call("listCapabilities")
            assert [line.partition(":")[0] for line in proved] == ["before", "administrators are in", "out"]
            tell(proved[-1])
            assert UserAccess().apply(context)["proved"][-1].startswith("out")  # again after an interruption: the same
            UserAccess().revert(context)
            assert user_served(stand) == [True, True] and user_connects()
            UserAccess().revert(context)

    stand.inside(run)


def test_no_call_that_is_sent_meanwhile_ends_without_an_answer(stand: Stand) -> None:
    """Four users, each with a call every 20 ms: a client that takes a port again within two minutes is to the kernel the one that it knows."""
    outcomes: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        with user_session() as session:
            while not ended.wait(0.02):
                try:
                    outcomes.append(
                        str(session.get(CALL, params={"command": "x"}, headers={"Connection": "close"}, timeout=10).status_code)
                    )
                except requests.RequestException as error:
                    outcomes.append(f"{type(error).__name__}: {error}"[-120:])

    def run() -> None:
        with window(stand, access(stand)) as context:
            asking = [threading.Thread(target=ask) for _ in range(4)]
            for each in asking:
                each.start()
            UserAccess().apply(context)
            while_out = len(outcomes)
            UserAccess().revert(context)
            after = len(outcomes)
            wait_for("the last calls", lambda: len(outcomes) > after + 8, timeout=30, cancel=context.cancel)
            ended.set()
            for each in asking:
                each.join()
            tell(
                f"{len(outcomes)} calls, {while_out} until users were out: { {each: outcomes.count(each) for each in sorted(set(outcomes))} }"
            )
            broken = [each for each in outcomes if each not in ("401", "503")]
            # The one call that each has open when the barrier goes up is given three seconds, and a busy machine may take longer for it.
            assert len(broken) <= len(asking) and not [each for each in broken if "reset" not in each], broken
            assert outcomes[0] == outcomes[-1] == "401"

    stand.inside(run)


def test_the_barrier_is_there_again_after_a_reboot_and_gone_for_good_once_users_are_in(stand: Stand) -> None:
    folder, name = Lab(stand.lab.name).new, NEW_MANAGEMENT[1].name

    def run() -> None:
        with window(stand, access(stand)) as context:
            machine = next(each for each in stand.site.configuration.new.management if each.name == name)
            UserAccess().apply(context)
            assert lasting_barrier.kept(context.host(machine))
            tell(f"{name} is switched off and on")
            container.power_off(folder, name)
            container.power_on(folder, name)
            host = context.host(machine)
            wait_for(f"{name} to answer", host.reachable, timeout=60, cancel=context.cancel)
            assert packet_filter.closed(host)
            UserAccess().revert(context)
            left = host.run(["sh", "-c", f"ls {lasting_barrier.UNIT_FILE} {lasting_barrier.SCRIPT}"], ok=None)
            assert not packet_filter.closed(host) and left.stdout == ""
            assert not lasting_barrier.kept(host)

    stand.inside(run)


def test_the_setting_holds_users_out_of_accounts_with_values_of_their_own_too(stand: Stand) -> None:
    def run() -> None:
        cloud = Cloud.original(stand.site)
        with window(stand, access(stand, method="cidr")) as context:
            own, before = own_values(context), setting(cloud)
            assert len(own) > 1, "the lab's accounts have values of their own, which win over the global one"
            proved = UserAccess().apply(context)["proved"]
            assert user_served(stand) == [False, False]
            assert user_connects(), "the setting refuses calls, not connections"
            assert set(own_values(context).values()) == {setting(cloud)} and "10.91.0.1/32" in setting(cloud)
            tell(proved[-1])
            UserAccess().revert(context)
            assert (own_values(context), setting(cloud)) == (own, before)
            assert user_served(stand) == [True, True]

    stand.inside(run)


def test_a_setting_without_effect_is_refused_before_anything_changes(stand: Stand) -> None:
    stand.sql(
        "INSERT INTO cloud.configuration (category, instance, component, name, value, default_value) "
        "VALUES ('Advanced', 'DEFAULT', 'ApiServiceConfiguration', 'api.source.cidr.checks.enabled', 'false', 'true')"
    )

    def run() -> None:
        with window(stand, access(stand, method="cidr")) as context:
            before = setting(Cloud.original(stand.site), SETTING)
            with pytest.raises(GuardFailed, match="has no effect"):
                UserAccess().apply(context)
            assert setting(Cloud.original(stand.site), SETTING) == before

    try:
        stand.inside(run)
    finally:
        stand.sql("DELETE FROM cloud.configuration WHERE name = 'api.source.cidr.checks.enabled'")


class Balancer(http.server.BaseHTTPRequestHandler):
    """A load balancer before the original: forwards what users ask, or says 503 while a file is there."""

    closed: Path

    def do_GET(self) -> None:
        """Forward, or refuse."""
        status, body = 503, b"closed"
        if not self.closed.exists():
            try:
                with urllib.request.urlopen(f"http://{OLD_MANAGEMENT[0].address}:8080{self.path}", timeout=10) as reply:
                    status, body = reply.status, reply.read()
            except urllib.error.HTTPError as error:
                status, body = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def balancer(closed: Path) -> Iterator[None]:
    """The load balancer, while it is needed; inside the lab's network."""
    server = http.server.ThreadingHTTPServer(BALANCER, type("Its", (Balancer,), {"closed": closed}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_load_balancers_command_holds_users_out(stand: Stand, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    probe = {"source": USER_ADDRESS, "url": URL}
    commands = {"method": "command", "close": ["touch", str(closed)], "open": ["rm", "-f", str(closed)], "probe": probe}

    def run() -> None:
        with balancer(closed):
            with window(stand, access(stand, **commands)) as context:
                proved = UserAccess().apply(context)["proved"]
                assert closed.exists() and "HTTP 503" in proved[-1]
                assert Cloud.original(stand.site).call("listCapabilities"), "administrators go past the load balancer"
                UserAccess().revert(context)
                assert not closed.exists()
            # A command that says it did it, and did not.
            with window(stand, access(stand, **{**commands, "close": ["true"]})) as context:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("parallel_build.operations.prove_user_access.SETTLE", 2.0)
                    with pytest.raises(StepFailed, match=f"from {USER_ADDRESS} users are still in: {URL}: HTTP 200") as caught:
                        UserAccess().apply(context)
                tell(str(caught.value))

    stand.inside(run)


def test_a_probe_that_proves_nothing_is_refused_before_anything_changes(stand: Stand) -> None:
    def run() -> None:
        nowhere = {"source": USER_ADDRESS, "url": "http://10.91.0.1:9/client/api"}
        with window(stand, access(stand, probe=nowhere)) as context:
            with pytest.raises(GuardFailed, match="users are not served even now") as caught:
                UserAccess().apply(context)
            assert not context.acted and user_served(stand) == [True, True]
            tell(str(caught.value))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("parallel_build.operations.prove_user_access.SETTLE", 1.0)
                UserAccess().revert(context)  # logged, and no reason not to go back

    stand.inside(run)


@pytest.mark.parametrize("method", ["firewall", "cidr"])
def test_an_administrator_who_would_be_out_too_is_reported_before_anything_changes(stand: Stand, method: str) -> None:
    def run() -> None:
        with window(stand, access(stand, method=method, administrators=["10.91.0.77/32"])) as context:
            with pytest.raises(GuardFailed, match=r"administrators would be out as well: this machine comes from 10\.91\.0\.1") as caught:
                UserAccess().apply(context)
            tell(str(caught.value))
            assert not context.acted and user_served(stand) == [True, True]
            assert Cloud.original(stand.site).call("listCapabilities")

    stand.inside(run)


def test_a_machine_among_the_users_can_be_the_probe(stand: Stand) -> None:
    """kvm2 stands for one: it is reached over SSH and asks with curl."""
    host = stand.site.configuration.original.hypervisors[1]

    def run() -> None:
        with stand.connections() as opened:
            probe = Probe(stand.site, opened, UserProbe(server=Server(**host.model_dump(exclude={"kind"}))))
            answer = probe.ask(of_original(stand.site.configuration))
            assert answer.served or (not answer.asked and "no curl" in answer.words), answer
            tell(f"{probe.where}: {answer.words}")
            silent = probe.ask(Endpoint("http://10.91.0.1:9/client/api"))
            assert not silent.served

    stand.inside(run)


def test_why_a_host_has_not_come_over_is_seen_on_itself(stand: Stand) -> None:
    """What the operator reads in the window, case by case; the lab in phase prepared has all three."""

    def run() -> None:
        with stand.connections() as opened:
            host = opened.host(stand.site.configuration.original.hypervisors[0])
            cause, remedy = stranded(host, ["10.91.0.99"])
            assert "not 10.91.0.99" in cause and "set host=10.91.0.99,10.91.0.11" in remedy
            cause, remedy = stranded(host, ["10.91.0.41"])
            assert cause == "it does not reach port 8250 of 10.91.0.41"
            host.run(["systemctl", "stop", "cloudstack-agent"], timeout=60)
            try:
                cause, remedy = stranded(host, ["10.91.0.41"])
            finally:
                host.run(["systemctl", "start", "cloudstack-agent"], timeout=60)
            assert cause == "cloudstack-agent does not run there" and remedy == "there: systemctl start cloudstack-agent"
        cloud = Cloud.original(stand.site)
        deadline = time.monotonic() + 60
        while any(item["state"] != "Up" for item in cloud.list("listHosts", type="Routing")):
            assert time.monotonic() < deadline, "kvm1 did not come back"

    stand.inside(run)
