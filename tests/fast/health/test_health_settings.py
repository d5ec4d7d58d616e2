"""Settings judged as they are in force - global, scoped, by name and by address - and alerts that say something of now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parallel_build.health import Severity, examine
from parallel_build.health.alerts import still_open
from parallel_build.health.facts import changed
from parallel_build.health.scoped import QUERIES, host_names, mentions
from parallel_build.health.servers import ServerFacts
from tests.fast.health.test_health import REACHED, SERVERS, facts, settings


def naming(**changes: Any) -> str:
    """What the rule on old names finds; "" for nothing."""
    found = [each for each in examine(facts(**changes)) if each.rule == "settings_name_old_servers"]
    assert all(each.severity is Severity.NOTES for each in found)
    return found[0].fact if found else ""


def with_url(value: str, **more: Any) -> dict[str, Any]:
    """Facts in which endpoint.url has this value."""
    return {"tables": {"settings": settings(**REACHED, endpoint__url=value), **more}}


@pytest.mark.parametrize(
    "value",
    [
        "http://10.91.0.11:8080/client/api",
        "http://oldms1:8080/client/api",
        "http://OLDMS1.example.test:8080/client/api",
        "https://cloud-old.example.test/client/api",
        "10.91.0.99,10.91.0.12",
    ],
)
def test_an_old_server_is_found_by_address_and_by_name(value: str) -> None:
    servers = [{**SERVERS[0], "name": "cloud-old.example.test"}, SERVERS[1]]
    assert f"endpoint.url ({value})" in naming(**with_url(value, servers=servers))


@pytest.mark.parametrize(
    "value",
    [
        "http://10.91.0.111:8080/",
        "http://110.91.0.11/",
        "http://myoldms1.example.test/",
        "http://oldms12/",
        "http://a.oldms1-x/",
        "localhost",
        "",
    ],
)
def test_what_only_looks_like_it_is_not(value: str) -> None:
    assert naming(**with_url(value, servers=[{**SERVERS[0], "name": "localhost"}, SERVERS[1]])) == ""


def test_the_name_by_which_a_server_calls_itself_counts() -> None:
    own = {"oldms1": ServerFacts(names=("oldms1", "cloud.example.test"))}
    assert "endpoint.url" in naming(**with_url("https://cloud.example.test/client"), servers=own)


def test_a_name_that_leads_to_an_old_server_counts() -> None:
    changes = with_url("https://api.example.test/client")
    assert naming(**changes) == ""
    assert naming(**changes, resolved={"api.example.test": ["10.91.0.99"]}) == ""
    assert "endpoint.url" in naming(**changes, resolved={"api.example.test": ["10.91.0.11"]})


def test_a_domains_own_value_is_judged_with_its_owner() -> None:
    own = {"settings of a domain": [{"owner": "ROOT/sales", "name": "endpoint.url", "value": "http://oldms1/"}]}
    assert "endpoint.url of domain ROOT/sales (http://oldms1/)" in naming(tables=own)


@pytest.mark.parametrize(
    ("query", "row", "words"),
    [
        (
            "sign-on",
            {"owner": "google", "name": "redirect_uri", "value": "https://oldms1/client"},
            "redirect_uri of google (https://oldms1/client)",
        ),
        (
            "direct downloads",
            {"owner": "debian 13", "name": "template url", "value": "http://files.example.test/d.qcow2"},
            "template url of debian 13",
        ),
    ],
)
def test_an_address_that_is_no_setting_is_judged_too(query: str, row: dict[str, str], words: str) -> None:
    leading = {"files.example.test": ["10.91.0.12"]}
    assert words in naming(tables={query: [row]}, resolved=leading)
    assert naming(tables={query: [{**row, "value": "https://new.example.test/"}]}, resolved=leading) == ""
    assert naming(tables={}, unanswered={query: "(1146, 'no such table')"}) == ""


def test_a_version_without_such_a_table_has_no_such_settings() -> None:
    known = facts(unanswered={"settings of a domain": "(1146, 'no such table')"})
    assert all(each.where == "" for each in known.settings())
    assert all("'Hidden', 'Secure'" in statement and "passw" in statement for statement in QUERIES.values()), (
        "the same tables hold passwords"
    )


def test_parts_of_values() -> None:
    assert mentions("http://10.0.0.1:8080", "10.0.0.1") and mentions("[2001:db8::11]", "2001:db8::11")
    assert not mentions("10.0.0.1.5", "10.0.0.1") and not mentions("x-oldms1", "oldms1")
    assert host_names("https://user@Cloud.example.test:8443/x?y, nas.example.test;10.0.0.1 plain") == [
        "cloud.example.test",
        "nas.example.test",
    ]
    assert host_names("http://old_ms.lab_1.example.test:8080/client, _ms.example.test. x_y") == [
        "old_ms.lab_1.example.test",
        "_ms.example.test",
    ]


@pytest.mark.parametrize(("value", "found"), [("180", []), ("200", ["xen.heartbeat.timeout"]), ("120", [])])
def test_a_value_that_cloudstack_itself_wrote_is_nobodys_change(value: str, found: list[str]) -> None:
    assert changed([{"name": "xen.heartbeat.timeout", "value": value, "default_value": "120"}]) == found


NODE, SSVM, PROXY = "ALERT.MANAGEMENT", "ALERT.SERVICE.SSVM", "ALERT.SERVICE.CONSOLEPROXY"


def alert(name: str, subject: str, last: int) -> dict[str, Any]:
    return {"name": name, "subject": subject, "times": 1, "last": last}


UP_AGAIN = [
    alert(SSVM, "Secondary Storage Vm creation failure in zone [zone1]. Error details: Unable to allocate capacity on zone [1]", 3),
    alert(SSVM, "Secondary Storage Vm is up in zone [zone1], secStorageVm [s-3-VM], public IP [192.168.2.3]", 4),
    alert(PROXY, "Console proxy up in zone [zone1], proxy [v-2-VM], public IP [192.168.2.2]", 2),
    alert(NODE, "Management server node 10.91.0.11 is down", 5),
    alert(NODE, "Management server node 10.91.0.11 is up", 6),
    alert(NODE, "Management network CIDR is not configured originally. Set it default to 10.91.0.0/24", 1),
    alert(NODE, "Management network CIDR is not properly configured and we are not able to find a default setting", 1),
]


def test_a_healthy_clouds_alerts_are_no_finding() -> None:
    assert still_open(UP_AGAIN, "10.91.0.0/24") == []
    assert "alerts_are_seen" not in {each.rule for each in examine(facts(tables={"alerts": UP_AGAIN}))}


@pytest.mark.parametrize(
    "open_one",
    [
        alert(SSVM, "Secondary Storage Vm creation failure in zone [zone1]. Error details: x", 9),
        alert(SSVM, "Secondary Storage Vm creation failure in zone [zone2]. Error details: x", 3),
        alert(PROXY, "Console proxy creation failure in zone [zone1]", 9),
        alert(NODE, "Management server node 10.91.0.12 is down", 5),
        alert(NODE, "Management server node 10.91.0.11 is down", 7),
        alert("ALERT.COMPUTE.HOST", "Host is down, name: kvm2 (id:4), availability zone: zone1", 1),
        alert("ALERT.SERVICE.DOMAINROUTER", "Health checks failed: 1 failing checks on router r-4-VM", 1),
    ],
)
def test_an_alert_that_nothing_has_ended_is_one(open_one: dict[str, Any]) -> None:
    assert still_open([*UP_AGAIN, open_one], "10.91.0.0/24") == [open_one]


def test_the_want_of_a_management_network_is_over_once_it_is_set() -> None:
    (row,) = still_open(UP_AGAIN, "")
    assert "not properly configured" in row["subject"]
    unset = facts(tables={"alerts": [row], "settings": settings(host="10.91.0.11")})
    assert "alerts_are_seen" in {each.rule for each in examine(replace(unset, problems=[]))}


def rule_facts(rule: str, **changes: Any) -> list[str]:
    return [each.fact for each in examine(facts(**changes)) if each.rule == rule]


def test_a_zones_own_value_is_judged_too() -> None:
    own = {"settings of a zone": [{"owner": "zone2", "name": "management.network.cidr", "value": "10.99.0.0/24"}]}
    (reported,) = rule_facts("management_network_holds_new_servers", tables=own)
    assert reported.startswith("management.network.cidr of zone zone2 is 10.99.0.0/24, which does not have newms1")
    sites = {"settings of a zone": [{"owner": "zone2", "name": "secstorage.allowed.internal.sites", "value": "10.99.0.0/24"}]}
    (reported,) = rule_facts("template_sites_are_allowed", tables=sites)
    assert "is not in secstorage.allowed.internal.sites of zone zone2 (10.99.0.0/24)" in reported


def test_a_management_network_that_is_not_set_has_nobody() -> None:
    (reported,) = rule_facts("management_network_holds_new_servers", tables={"settings": settings(**{"management.network.cidr": ""})})
    assert reported.startswith("management.network.cidr is empty, which does not have newms1")
    of_a_zone = {"settings of a zone": [{"owner": "zone2", "name": "management.network.cidr", "value": ""}]}
    assert not rule_facts("management_network_holds_new_servers", tables=of_a_zone), "the whole cloud's counts there"


def test_routers_are_measured_by_their_zones_own_release() -> None:
    routers = [
        {
            "name": f"r-{zone}-VM",
            "state": "Running",
            "template_version": "Cloudstack Release 4.20.0",
            "redundant_state": "",
            "redundant": 0,
            "zone": zone,
        }
        for zone in ("one", "two")
    ]
    tables = {
        "routers": routers,
        "settings": settings(**REACHED, minreq__sysvmtemplate__version="4.20.0"),
        "settings of a zone": [{"owner": "two", "name": "minreq.sysvmtemplate.version", "value": "4.20.2"}],
    }
    (reported,) = rule_facts("routers_are_recent", tables=tables)
    assert "r-two-VM (Cloudstack Release 4.20.0, not 4.20.2)" in reported and "r-one-VM" not in reported


def test_nobody_is_asked_to_destroy_a_system_vm_that_would_not_come_back() -> None:
    silent = {"name": "s-1-VM", "state": "Running", "type": "SecondaryStorageVm", "agent": "Alert", "zone": "off"}
    for state, words in (("Disabled", "do not destroy it"), ("Enabled", "destroy it, so that CloudStack makes another")):
        zones = [{"id": 1, "name": "off", "allocation_state": state, "type": "Core"}]
        stores = [{"name": "s", "protocol": "nfs", "zone": 1, "scope": "ZONE", "readonly": 0, "url": "nfs://nas/x"}]
        found = examine(facts(tables={"system_vms": [silent], "zones": zones, "image_stores": stores}))
        (reported,) = (each for each in found if each.rule == "system_vm_agents_answer")
        assert words in reported.remedy
