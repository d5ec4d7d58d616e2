"""check-cloud over a real connection to an API on loopback: what it finds, that it only lists, and whose keys it refuses."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_build import cli
from parallel_build.__main__ import main
from parallel_build.cloudstack.lists import CloudLists
from parallel_build.cloudstack.releases import NEWEST
from parallel_build.errors import ConfigurationError, GuardFailed, ParallelBuildError
from parallel_build.health import RULES, Severity
from parallel_build.plan.cloud import access, report
from parallel_build.plan.cloud.check import BY_API, CloudCheck, check
from parallel_build.project import PROJECT
from parallel_build.versions import CloudStackVersion
from tests.fast.plan.test_plan_faults import HEALTHY, KVM

pytestmark = pytest.mark.processes

KEY, SECRET = "apikey-0123456789", "apisecret-0123456789"
DATA = PROJECT.parent / "shared" / "data"
ITEMS = {
    "listAsyncJobs": "asyncjobs", "listHosts": "host", "listClusters": "cluster", "listZones": "zone", "listPods": "pod", "listRouters": "router",
    "listSystemVms": "systemvm", "listNetworks": "network", "listVPCs": "vpc", "listVirtualMachines": "virtualmachine", "listVolumes": "volume",
    "listStoragePools": "storagepool", "listImageStores": "imagestore", "listTemplates": "template", "listConfigurations": "configuration",
    "listManagementServers": "managementserver", "listUsers": "user", "listServiceOfferings": "serviceoffering", "listOsTypes": "ostype",
    "listNetworkOfferings": "networkoffering", "listAlerts": "alert", "listCapacity": "capacity", "listCapabilities": "capability",
}  # fmt: skip
HOME = {**HEALTHY["listUsers"][0], "account": "admin", "apikey": KEY}
CLOUD: dict[str, list[dict[str, Any]]] = {
    **HEALTHY,
    "listHosts": [{**KVM, "version": "4.20.3.0"}],
    "listUsers": [HOME],
    "listVolumes": [],
    "listVPCs": [],
    "listPods": [{"name": "pod1"}],
    "listAlerts": [],
    "listCapacity": [{"type": 0, "zonename": "zone1", "capacityused": 10, "capacitytotal": 100}],
    "listSystemVms": [
        {
            "name": "s-1-VM",
            "state": "Running",
            "systemvmtype": "secondarystoragevm",
            "agentstate": "Up",
            "zonename": "zone1",
            "serviceofferingid": "o1",
        }
    ],
}


class Called(list[str]):
    """Commands in the order in which they were answered, and how many were under way at once at most."""

    busy = peak = 0


Start = Callable[..., tuple[str, Called]]


class Refusal(Exception):
    """How a command is refused: HTTP status and errorcode, and the text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


Reply = list[dict[str, Any]] | Refusal


@pytest.fixture
def start() -> Iterator[Start]:
    """Serves lists on loopback; returns the address and the commands that were called."""
    with contextlib.ExitStack() as stack:

        def begin(lists: dict[str, Reply], delay: float = 0.0) -> tuple[str, Called]:
            called = Called()

            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                disable_nagle_algorithm = True

                def do_POST(self) -> None:
                    asked = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                    called.busy += 1
                    called.peak = max(called.peak, called.busy)
                    time.sleep(delay)
                    called.busy -= 1
                    called.append(asked["command"])
                    status, body = answer(lists, asked)
                    text = json.dumps(body).encode()
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

                def log_message(self, *arguments: Any) -> None:
                    """Say nothing."""

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/client/api", called

        yield begin


def answer(lists: dict[str, Reply], asked: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """One reply in the API's form."""
    command = asked["command"]
    name = f"{command.lower()}response"
    found = lists.get(command, Refusal(432, "The given command does not exist"))
    if isinstance(found, Refusal):
        return found.code, {name: {"errorcode": found.code, "errortext": str(found)}}
    if command == "listCapabilities":
        return 200, {name: {"capability": found[0]}}
    items = [] if asked.get("projectid") else [each for each in found if "name" not in asked or each.get("name") == asked["name"]]
    page, size = int(asked.get("page", "1")), int(asked.get("pagesize", "500"))
    return 200, {name: {"count": len(items), ITEMS[command]: items[(page - 1) * size : page * size]} if items else {}}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(access.KEY, KEY)
    monkeypatch.setenv(access.SECRET, SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLOUDSTACK_CONFIG", raising=False)
    monkeypatch.delenv("CLOUDSTACK_REGION", raising=False)
    monkeypatch.chdir(tmp_path)


def checked(url: str, **options: Any) -> CloudCheck:
    cloud = access.open_cloud(url)
    return check(CloudLists(cloud), cloud.url, **options)


def test_a_healthy_cloud_has_no_finding_and_only_lists_are_called(start: Start) -> None:
    url, called = start(CLOUD)
    found = checked(url)
    assert [f"{each.rule}: {each.fact}" for each in found.health] == []
    assert dict(found.health.not_judged) == {}
    assert len(found.health.rules) == len(BY_API) >= 20 and set(BY_API) <= {rule.name for rule in RULES}
    assert called and all(command.startswith("list") for command in called)
    assert found.plan.new == NEWEST and [each.name for each in found.plan.templates or []] == ["systemvm-kvm-4.22.0-x86_64"]
    text = report.as_text(found, 1.0)
    assert "4.23.0.0" in text and SECRET not in text and KEY not in text


# rule of the health check -> what is changed so that it finds something
ILL: dict[str, dict[str, Any]] = {
    "no_server_is_leaving": {"listManagementServers": [{"name": "ms1", "state": "PreparingForMaintenance", "serviceip": "10.0.0.11"}]},
    "hosts_are_up": {"listHosts": [{**CLOUD["listHosts"][0], "state": "Disconnected"}]},
    "system_vms_run": {"listSystemVms": [{**CLOUD["listSystemVms"][0], "state": "Stopped"}]},
    "hosts_are_enabled": {"listHosts": [{**CLOUD["listHosts"][0], "resourcestate": "Maintenance"}]},
    "agents_are_of_one_version": {"listHosts": [{**CLOUD["listHosts"][0], "version": "4.19.1.0"}]},
    "system_vm_agents_answer": {"listSystemVms": [{**CLOUD["listSystemVms"][0], "agentstate": "Disconnected"}]},
    "routers_run": {"listRouters": [{"name": "r-1-VM", "state": "Error"}]},
    "routers_are_recent": {"listRouters": [{"name": "r-1-VM", "state": "Running", "version": "4.19.1"}]},
    "redundant_routers_agree": {"listRouters": [{"name": "r", "state": "Running", "isredundantrouter": True, "redundantstate": "FAULT"}]},
    "router_checks_pass": {"listRouters": [{"name": "r", "state": "Running", "healthchecksfailed": True}]},
    "networks_need_no_restart": {"listNetworks": [{"name": "n", "state": "Implemented", "restartrequired": True}]},
    "capacity_is_left": {"listCapacity": [{"type": 0, "zonename": "zone1", "capacityused": 99, "capacitytotal": 100}]},
    "pools_are_up": {"listStoragePools": [{"name": "p", "state": "Maintenance"}]},
    "pools_have_room": {"listStoragePools": [{"name": "p", "state": "Up", "disksizeused": 99, "disksizetotal": 100}]},
    "zones_have_secondary_storage": {"listImageStores": []},
    "zones_have_nfs": {"listImageStores": [{"name": "s", "protocol": "s3"}]},
    "zones_keep_system_vms": {"listZones": [{**HEALTHY["listZones"][0], "allocationstate": "Disabled"}]},
    "no_job_hangs": {"listAsyncJobs": [{"cmd": "x.DeployVMCmd", "jobstatus": 0, "created": "2020-01-01T00:00:00+0000"}]},
    "few_jobs_fail": {
        "listAsyncJobs": [{"cmd": "x.DeployVMCmd", "jobstatus": 2, "created": time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime())}]
    },
    "alerts_are_seen": {
        "listAlerts": [{"name": "A", "description": "Host down", "sent": time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime())}]
    },
    "nothing_is_stuck": {"listVirtualMachines": [{"name": "vm", "state": "Migrating", "created": "2020-01-01T00:00:00+0000"}]},
    "host_is_no_loopback": {"listConfigurations": [{"name": "host", "value": "localhost"}]},
    "open_api_is_off": {"listConfigurations": [{"name": "integration.api.port", "value": "8096"}]},
    "administrator_is_enabled": {"listUsers": [{**HOME, "state": "disabled"}]},
    "roles_are_dynamic": {"listConfigurations": [{"name": "dynamic.apichecker.enabled", "value": "false"}]},
}


def test_every_rule_has_its_ill_cloud() -> None:
    assert set(ILL) == set(BY_API)


@pytest.mark.parametrize("rule", ILL)
def test_each_rule_finds_what_it_is_for(rule: str, start: Start) -> None:
    url, _ = start({**CLOUD, **ILL[rule]})
    assert rule in {each.rule for each in checked(url).health}


def test_a_list_that_is_not_answered_judges_nothing(start: Start) -> None:
    url, _ = start({**CLOUD, "listSystemVms": Refusal(530, "Internal error"), "listCapacity": Refusal(432, "unknown")})
    unjudged = checked(url).health.not_judged
    assert {"system_vms_run", "system_vm_agents_answer", "capacity_is_left"} <= set(unjudged)
    assert "this version has no listCapacity" in unjudged["capacity_is_left"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listUsers": [{**HOME, "accounttype": 2}]}, "which is no root administrator"),
        ({"listUsers": [{**HOME, "accounttype": 0, "username": "alice"}]}, "user alice"),
        ({"listHosts": Refusal(401, "does not exist, is not available for user")}, "not allowed to call listHosts"),
        ({"listConfigurations": Refusal(432, "not available")}, "not allowed to call listConfigurations"),
        ({"listUsers": Refusal(401, "unable to verify user credentials")}, "does not accept these keys"),
    ],
)
def test_keys_of_anybody_but_a_root_administrator_are_refused(changes: dict[str, Any], words: str, start: Start) -> None:
    url, called = start({**CLOUD, **changes})
    with pytest.raises(GuardFailed, match=words) as refused:
        access.open_cloud(url)
    assert refused.value.cause and refused.value.remedy and SECRET not in str(refused.value)
    assert len(called) <= 4


def test_silence_is_an_error_with_a_cause(start: Start) -> None:
    with pytest.raises(ParallelBuildError, match="does not answer"):
        access.open_cloud("http://127.0.0.1:1/client/api")


@pytest.mark.parametrize("url", ["cloud", "ftp://cloud/client/api", "http://user:pw@cloud/client/api", "http://cloud/client/api?x=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="no address of an API"):
        access.open_cloud(url)


def test_the_path_of_the_api_is_added() -> None:
    assert access.address("https://cloud.example.org:8443") == "https://cloud.example.org:8443/client/api"
    assert access.address("https://cloud.example.org/other/api") == "https://cloud.example.org/other/api"


def test_keys_come_from_cloudstack_ini_by_region(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(access.KEY)
    monkeypatch.delenv(access.SECRET)
    with pytest.raises(ConfigurationError, match="there are no keys"):
        access.open_cloud("http://127.0.0.1:1")
    url, _ = start(CLOUD)
    (tmp_path / "cloudstack.ini").write_text(f"[cloudstack]\nkey = wrong\n[prod]\nendpoint = {url}\nkey = {KEY}\nsecret = {SECRET}\n")
    assert access.open_cloud(url, "prod").url == url
    with pytest.raises(ConfigurationError, match="has no secret"):
        access.open_cloud(url)
    with pytest.raises(ConfigurationError, match="can't be used"):
        access.open_cloud(url, "nowhere")
    (tmp_path / "cloudstack.ini").write_text(f"key = {KEY}\n")
    with pytest.raises(ConfigurationError, match="can't be used") as refused:
        access.open_cloud(url)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(("to", "words"), [("4.20.3.0", "is not later"), ("4.99.0.0", "is not a release")])
def test_a_target_is_refused_as_by_plan(to: str, words: str, start: Start) -> None:
    url, _ = start(CLOUD)
    with pytest.raises(ConfigurationError, match=words):
        checked(url, to=CloudStackVersion(to))


def test_the_command_prints_exits_and_compares(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url, _ = start(CLOUD)
    assert main(["check-cloud", url, "--json"]) == cli.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["findings"] == [] and document["plan"]["to"] == str(NEWEST)
    (tmp_path / "facts.json").write_text(json.dumps(document["facts"]))
    assert main(["check-cloud", url, "--against", "facts.json"]) == cli.DONE
    assert "Parity: 0 high" in capsys.readouterr().out
    document["facts"]["kinds"]["hypervisors"] = ["VMware"]
    (tmp_path / "facts.json").write_text(json.dumps(document["facts"]))
    assert main(["check-cloud", url, "--against", "facts.json"]) == cli.DIFFERENT
    ill, _ = start({**CLOUD, "listImageStores": []})
    assert main(["check-cloud", ill]) == cli.FAILED
    assert "BLOCKS zones_have_secondary_storage" in capsys.readouterr().out
    assert main(["check-cloud", url, "--against", "gone.json"]) == cli.UNUSABLE


def test_lists_are_asked_side_by_side_and_each_once(start: Start) -> None:
    url, called = start(CLOUD, delay=0.05)
    checked(url)
    assert called.peak > 1
    assert called.count("listZones") == called.count("listClusters") == 1


def recorded() -> dict[str, Reply]:
    """The recorded replies of a real 4.20.3.0; what was not recorded is not known to it."""
    found: dict[str, Reply] = {}
    for path in (DATA / "api-4.20.3.0").glob("list*.json"):
        head, _, body = path.read_text().partition("\n")
        reply = next(iter(json.loads(body).values()))
        if head.split()[1] == "200" and path.stem in ITEMS:
            item = reply.get(ITEMS[path.stem], [])
            found[path.stem] = item if isinstance(item, list) else [item]
    routing = json.loads((DATA / "api-4.20.3.0/listHosts-routing.json").read_text().partition("\n")[2])
    settings = json.loads((DATA / "api-4.20.3.0/listConfigurations-host.json").read_text().partition("\n")[2])
    return {
        **found,
        "listHosts": routing["listhostsresponse"]["host"],
        "listConfigurations": settings["listconfigurationsresponse"]["configuration"],
        "listUsers": [HOME],
    }


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded replies of a real cloud (../shared/data) are not here")
def test_the_recorded_replies_of_a_real_cloud_are_judged(start: Start) -> None:
    url, called = start(recorded())
    found = checked(url, to=CloudStackVersion("4.22.1.0"))
    assert found.version == CloudStackVersion("4.20.3.0") and found.plan.steps == ["4.21.0.0", "4.22.0.0", "4.22.1.0"]
    assert found.plan.templates == [], "its hypervisors are simulated and need none"
    worst = {each.rule for each in found.health if each.severity is Severity.BLOCKS}
    assert worst <= {"system_vms_run"}, "it was recorded with a secondary storage VM in state Error"
    assert {each.rule for each in found.health} <= {"system_vms_run", "router_checks_pass", "alerts_are_seen"}
    assert found.facts["counts"]["hosts"] == 4 and found.facts["kinds"]["hypervisors"] == ["Simulator"]
    assert all(command.startswith("list") for command in called)
