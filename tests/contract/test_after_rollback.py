"""After a rollback: what users created on the new side is listed, and what can be created again is there again on the original, once."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cloudstack import created, created_kinds
from parallel_build.cloudstack.created import Created
from parallel_build.operations.new_objects import highest_ids
from parallel_build.replay.run import RECIPES
from tests.contract.harness import DatabaseServer, ManagementHost, Namespace, as_administrator, wait

pytestmark = [pytest.mark.databases, pytest.mark.timeout(400)]

Host = Callable[[str], ManagementHost]
# What says the same of an object on both sides; ids of the cloud's own are not the same.
SAME = ("path", "networkDomain", "role", "type", "firstname", "email", "publicKey", "fingerprint", "description", "protocol", "start", "end", "cidr",
        "groupName", "allowedGroup", "allowedAccount", "displayText", "offering", "zone", "gateway", "networkName", "addressText", "icmpType",
        "icmpCode", "traffic", "cidrs", "vm", "toAddress", "toStart", "toEnd", "algorithm", "vms", "value")  # fmt: skip


class Kept:
    """The original's database under a name of its own, as it was when the window opened."""

    def __init__(self, database: DatabaseServer) -> None:
        self._database = database

    def rows(self, statement: str, values: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        return self._database.rows(statement.replace("cloud.", "kept."), values)


def run(namespace: Namespace, generated: Mapping[str, Path], action: str, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_administrator(namespace, generated, "tests.contract.replay_run", action, str(folder)) or "{}")
    return found


def wanted_template(database: DatabaseServer) -> None:
    """Have the system VM template that the new version asks for."""
    database.execute(
        "INSERT INTO cloud.vm_template (unique_name, name, uuid, public, featured, type, hvm, bits, format, created, account_id, guest_os_id, "
        "hypervisor_type, arch) VALUES ('new', 'systemvm-kvm-4.22.0-x86_64', UUID(), 0, 0, 'USER', 1, 64, 'QCOW2', UTC_TIMESTAMP(), 2, 15, 'KVM', 'x86_64')"
    )


def keep(database: DatabaseServer) -> None:
    """Have the original's tables under a name of their own."""
    database.execute("DROP DATABASE IF EXISTS kept")
    database.execute("CREATE DATABASE kept")
    for table in sorted({kind.table for kind in created_kinds.KINDS}):
        database.execute(f"CREATE TABLE kept.`{table}` AS SELECT * FROM cloud.`{table}`")


def serve(database: DatabaseServer, host: Host, version: str) -> ManagementHost:
    server = host(version)
    server.settings(job_seconds=0.02)
    server.start()
    assert server.wait_for_answer() == 401
    hosts = "SELECT id FROM cloud.host WHERE status <> 'Up' AND type = 'Routing' AND removed IS NULL"
    wait(lambda: not database.rows(hosts), 60, "the hosts")
    return server


def shown(objects: Sequence[Created]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Objects by what is the same on both sides."""
    return sorted(
        ((each.kind, each.name, each.owner, {name: each.details[name] for name in SAME if name in each.details}) for each in objects),
        key=repr,
    )


def test_what_users_created_is_listed_and_created_again_once(
    database: DatabaseServer, generated: Mapping[str, Path], host: Host, namespace: Namespace, tmp_path: Path
) -> None:
    database.load(generated)
    wanted_template(database)
    keep(database)
    highest = highest_ids(database)  # type: ignore[arg-type]
    new = serve(database, host, "4.22.1.0")
    run(namespace, generated, "create", tmp_path)
    found = created.read(database, Kept(database), highest)
    new.end()
    (tmp_path / "objects.json").write_text(json.dumps([each.document() for each in found.objects]))
    kinds = {kind: [each.name for each in some] for kind, some in created.by_kind(found.objects).items()}
    assert found.unknown == {}
    assert set(kinds) == {
        "domains", "accounts", "users", "API keys", "SSH key pairs", "security groups", "security group rules", "affinity groups", "networks",
        "public addresses", "firewall rules", "port forwarding rules", "load balancer rules", "tags", "virtual machines", "volumes", "snapshots",
    }  # fmt: skip
    assert kinds["users"] == ["ann", "bob"] and len(kinds["tags"]) == 5 and len(kinds["security group rules"]) == 3
    fresh = next(each for each in found.objects if each.kind == "virtual machines")
    assert (
        fresh.name == "fresh" and re.fullmatch(r"i-\d+-\d+-\w+", fresh.text("native")) and fresh.text("hypervisor") and fresh.text("host")
    )

    database.load(generated)
    serve(database, host, "4.20.3.0")
    planned = run(namespace, generated, "plan", tmp_path)
    assert created.read(database, Kept(database), highest).objects == [], "a plan changes nothing"
    verdicts = {(each["kind"], each["name"]): each for each in planned["objects"]}
    assert verdicts["users", "bob"]["verdict"] == verdicts["public addresses", kinds["public addresses"][0]]["verdict"] == "to replay"
    assert "virsh destroy " + fresh.text("native") in planned["text"] or fresh.text("hypervisor") != "KVM"
    assert "the VM " + fresh.text("native") in verdicts["tags", "short"]["why"], "a tag of a VM that is not there"

    replayed = run(namespace, generated, "replay", tmp_path)
    assert [line for line in replayed["objects"] if line["why"].startswith("the cloud refused")] == []
    not_replayed = {(each["kind"], each["name"]) for each in replayed["objects"] if each["verdict"] == "not replayed"}
    assert not_replayed == {
        ("virtual machines", "fresh"), ("volumes", "extra"), ("volumes", verdicts_root(kinds)), ("snapshots", "before"), ("tags", "short"),
    }  # fmt: skip
    again = created.read(database, Kept(database), highest).objects
    wanted = [each for each in found.objects if each.kind in RECIPES and (each.kind, each.name) != ("tags", "short")]
    people = {created_kinds.API_KEYS}
    assert shown([each for each in again if each.kind not in people]) == shown([each for each in wanted if each.kind not in people])
    states = {(each.kind, each.name): each.text("state") for each in again}
    assert (states["accounts", "ann"], states["users", "ann"], states["users", "bob"]) == ("locked", "disabled", "disabled")
    keys = {each["name"]: each for each in replayed["objects"] if each["kind"] == "API keys"}
    assert keys["bob"]["old"] != keys["bob"]["new"] == next(each.text("apiKey") for each in again if each.kind == created_kinds.API_KEYS)
    assert [each["verdict"] for each in keys.values()].count("there") == 1, "keys of a user from before: nothing is changed"

    report = tmp_path / "after-rollback.json"
    passwords = json.loads(report.read_text())["then"]["users"]
    assert set(passwords) == {"/after/ann", "/after/bob"} and stat.S_IMODE(report.stat().st_mode) == 0o600
    assert all(text not in json.dumps(replayed) for text in passwords.values()), "only there"

    rows = fingerprint(database)
    second = run(namespace, generated, "replay", tmp_path)
    assert second["printed"] == [] and fingerprint(database) == rows, "the second run changes nothing"
    (tmp_path / "log.json").unlink()
    third = run(namespace, generated, "replay", tmp_path)
    assert third["printed"] == [] and fingerprint(database) == rows, "what is there by anybody's hand is left as it is"


def verdicts_root(kinds: Mapping[str, list[str]]) -> str:
    return next(name for name in kinds["volumes"] if name.startswith("ROOT-"))


def fingerprint(database: DatabaseServer) -> list[Any]:
    """Every row that users own, as a checksum by table."""
    tables = sorted({kind.table for kind in created_kinds.KINDS if database.rows(f"SHOW TABLES FROM cloud LIKE '{kind.table}'")})
    return [database.rows(f"CHECKSUM TABLE cloud.`{table}`") for table in tables]
