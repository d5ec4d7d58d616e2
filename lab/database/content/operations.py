"""What servers write about themselves: settings, versions, management servers, jobs, alerts, sequences."""

from __future__ import annotations

import base64
import datetime
import json

from lab.database import keys, settings
from lab.database.content.infrastructure import ZONE, management_prefix
from lab.database.content.templates import SYSTEM_TEMPLATE, SYSTEM_VERSION
from lab.database.content.world import World

# a cloud set up with 4.9 and upgraded six times: days ago, versions that the step passed through
_VERSIONS = (
    (3200,
        ("4.0.0", "4.1.0", "4.2.0", "4.2.1", "4.3.0", "4.4.0", "4.4.1", "4.4.2", "4.5.0", "4.5.1", "4.5.2", "4.6.0",
            "4.6.1",
            "4.7.0", "4.7.1", "4.8.0", "4.8.1", "4.9.0")),
    (1950, ("4.9.1.0", "4.9.2.0", "4.9.3.0", "4.10.0.0", "4.11.0.0", "4.11.1.0", "4.11.2.0", "4.11.3.0")),
    (1350,
        ("4.12.0.0", "4.13.0.0", "4.13.1.0", "4.14.0.0", "4.15.0.0", "4.15.1.0", "4.15.2.0", "4.16.0.0", "4.16.1.0")),
    (1100, ("4.17.0.0", "4.17.1.0", "4.17.2.0")),
    (820, ("4.18.0.0", "4.18.1.0", "4.19.0.0", "4.19.1.0")),
    (260, ("4.20.0.0", "4.20.1.0")),
    (200, ("4.20.3.0",)),
)  # fmt: skip
# servers of earlier years: name, last octet, version, days since their last update, whether marked as removed
_STALE_SERVERS = (
    ("mgmt-2016", 8, "4.9.0", 1951, True), ("mgmt-2020", 9, "4.16.1.0", 1102, False),
    ("mgmt-2022", 10, "4.19.1.0", 262, False),
)  # fmt: skip
_PEER_PORT = 9090


def build(world: World) -> None:
    """Add the rows; after all others, because sequences and settings depend on them."""
    for days, versions in _VERSIONS:
        for number, version in enumerate(versions):
            updated = world.ago(days) + datetime.timedelta(seconds=number)
            world.add("version", version=version, updated=updated, step="Complete")
    _configuration(world)
    _management_servers(world)
    _jobs(world)
    _alerts(world)
    sequences = {
        "checkpoint_seq": 1, "networks_seq": world.next_id("networks"), "physical_networks_seq": 201,
        "private_mac_address_seq": 1,
        "public_mac_address_seq": 1, "storage_pool_seq": 200, "vm_instance_seq": world.next_id("vm_instance"),
        "vm_template_seq": world.next_id("vm_template"), "volume_seq": world.next_id("volumes"),
    }  # fmt: skip
    for name, value in sequences.items():
        world.add("sequence", name=name, value=value)


def _configuration(world: World) -> None:
    for number, (name, precedence) in enumerate(settings.GROUPS, start=1):
        world.add("configuration_group", id=number, name=name, description=f"{name} settings", precedence=precedence)
    for number, (name, group) in enumerate(settings.SUBGROUPS, start=1):
        world.add("configuration_subgroup", id=number, name=name, precedence=number, group_id=group)
    for setting, row in settings.configuration_rows(_values(world), world.ago(200)):
        clear = row["value"]
        if setting.encrypted and isinstance(clear, str):
            row["value"] = world.encrypted(clear)
        world.add("configuration", **row)


def _values(world: World) -> dict[str, str]:
    source = world.random("settings")
    seed = world.plan.seed
    ssh, root = keys.rsa_key(seed, "ssh"), keys.rsa_key(seed, "root CA")
    return {
        "host": ",".join(server.address for server in world.plan.management_servers),
        "management.network.cidr": world.plan.management_network,
        "router.template.kvm": SYSTEM_TEMPLATE,
        "minreq.sysvmtemplate.version": SYSTEM_VERSION,
        "endpoint.url": f"http://{world.plan.management_servers[0].address}:8080/client/api",
        "secstorage.allowed.internal.sites": world.plan.management_network,
        "guest.domain.suffix": "cloud.internal",
        "cloud.identifier": world.uuid("settings"),
        "ssh.privatekey": keys.private_pem(ssh, traditional=True),
        "ssh.publickey": keys.public_openssh(ssh, "cloud@" + world.plan.management_servers[0].name),
        "secstorage.copy.password": keys.api_key(source)[:12],
        "upload.post.secret.key": keys.api_key(source),
        "security.singlesignon.key": keys.api_key(source),
        "security.encryption.key": base64.b64encode(source.randbytes(16)).decode(),
        "security.encryption.iv": base64.b64encode(source.randbytes(16)).decode(),
        "security.hash.key": base64.b64encode(source.randbytes(32)).decode(),
        "alert.smtp.host": f"{management_prefix(world)}.1",
        "alert.smtp.password": "a mail password",
        # Written by CloudStack's own upgrade to 4.5, next to the default that it gave them.
        "xen.heartbeat.timeout": "180",
        "ovm3.heartbeat.timeout": "180",
        "ca.plugin.root.private.key": keys.private_pem(root),
        "ca.plugin.root.public.key": keys.public_pem(root),
        "ca.plugin.root.ca.certificate": keys.root_certificate(root, seed, world.ago(1950)),
    }


def _server(world: World, name: str, address: str, msid: int, version: str, last: datetime.datetime, removed: bool) -> None:
    uuid = world.uuid("servers")
    started = last - datetime.timedelta(days=30)
    world.add(
        "mshost", msid=msid, runid=world.milliseconds(started), name=name, uuid=uuid, state="Down", version=version,
        service_ip=address, service_port=_PEER_PORT, last_update=last, removed=last if removed else None,
        alert_count=0 if removed else 1,
    )  # fmt: skip
    if version.startswith(("4.19", "4.20")):
        world.add(
            "mshost_status", ms_id=uuid, last_jvm_start=started, last_jvm_stop=last, last_system_boot=started,
            os_distribution="Debian GNU/Linux 12 (bookworm)", java_name="Debian", java_version="17.0.12", updated=last,
            created=started,
        )  # fmt: skip


def _management_servers(world: World) -> None:
    source = world.random("servers")
    prefix = world.plan.management_network.rpartition(".")[0]
    for name, last, version, days, removed in _STALE_SERVERS:
        _server(world, name, f"{prefix}.{last}", 0x525400 << 24 | source.getrandbits(24), version, world.ago(days), removed)
    for server in world.plan.management_servers:
        msid = server.msid if server.msid is not None else 0x020000 << 24 | source.getrandbits(24)
        _server(world, server.name, server.address, msid, world.plan.version, world.ago(minutes=15), False)


def _jobs(world: World) -> None:
    msid = world.rows["cloud", "mshost"][-1]["msid"]
    for number, machine in enumerate(world.machines):
        done = world.ago(minutes=60 + 7 * number)
        job = world.add(
            "async_job", user_id=machine.account.user_id, account_id=machine.account.id, instance_type="VirtualMachine",
            instance_id=machine.id, job_cmd="org.apache.cloudstack.api.command.user.vm.StartVMCmd",
            job_cmd_info=json.dumps(
                {"id": machine.uuid, "ctxUserId": str(machine.account.user_id), "cmdEventType": "VM.START",
                    "note": "Grüße 👋"},
                ensure_ascii=False,
            ),
            job_cmd_ver=0, job_status=1, job_process_status=0, job_result_code=0,
            job_result="org.apache.cloudstack.api.response.UserVmResponse/null/" + json.dumps({"id": machine.uuid}),
            job_init_msid=msid,
            job_complete_msid=msid, created=done - datetime.timedelta(seconds=9), last_updated=done, removed=done,
            related="",
            job_dispatcher="ApiAsyncJobDispatcher",
        )  # fmt: skip
        if number % 2 == 0:
            world.add("vm_work_job", id=job, step="Starting", vm_type="Instance", vm_instance_id=machine.id)
    for machine in world.machines:
        world.add(
            "sync_queue", sync_objtype="VmWorkJobQueue", sync_objid=machine.id, queue_proc_number=2,
            created=machine.created,
            last_updated=machine.created, queue_size=0,
        )  # fmt: skip
    world.usage(
        "usage_job", host=f"{world.plan.management_servers[0].name}/{world.plan.management_servers[0].address}",
        pid=1234, job_type=0,
        scheduled=0, start_millis=world.milliseconds(world.ago(1)), end_millis=world.milliseconds(world.now),
        exec_time=4321,
        start_date=world.ago(1), end_date=world.now, success=1, heartbeat=world.now,
    )  # fmt: skip


def _alerts(world: World) -> None:
    source = world.random("alerts")
    for number in range(world.scaled(60)):
        server = world.plan.management_servers[number % len(world.plan.management_servers)]
        when = world.ago(source.uniform(0, 900))
        world.add(
            "alert", type=14, data_center_id=0, subject=f"Management server node {server.address} is up", sent_count=1,
            created=when,
            last_sent=when, archived=number % 7 == 0, name="ALERT.MANAGEMENT", content="",
        )  # fmt: skip
    for machine in world.system_vms:
        world.add(
            "alert", type=10, pod_id=1, data_center_id=ZONE, subject=f"System VM {machine.name} is up", sent_count=1,
            created=world.ago(180), last_sent=world.ago(180), name="ALERT.SERVICE",
            content=f"{machine.name} on {machine.host}",
        )  # fmt: skip
    # What every healthy cloud has logged about itself, once and lately.
    reported = (
        (
            14,
            "ALERT.MANAGEMENT",
            f"Management network CIDR is not configured originally. Set it default to {world.plan.management_network}",
            900,
        ),
        (
            19,
            "ALERT.SERVICE.SSVM",
            "Secondary Storage Vm is up in zone [zone1], secStorageVm [s-1-VM], public IP [10.91.1.9], private IP [10.91.0.9].",
            0.3,
        ),
        (
            10,
            "ALERT.SERVICE.CONSOLEPROXY",
            "Console proxy up in zone [zone1], proxy [v-2-VM], public IP [10.91.1.8], private IP [10.91.0.8].",
            0.3,
        ),
    )
    for number, name, subject, days in reported:
        when = world.ago(days)
        world.add(
            "alert", type=number, data_center_id=ZONE, subject=subject, sent_count=1, created=when, last_sent=when, archived=False, name=name,
            content=subject,
        )  # fmt: skip
    world.add(
        "annotations", annotation="Rack 7, top; don't touch before the 14th 🙏", entity_type="HOST",
        user_uuid=world.accounts[1].uuid,
        entity_uuid=world.rows["cloud", "host"][0]["uuid"], created=world.ago(40), admins_only=True,
    )  # fmt: skip
    world.add(
        "keystore", name="CPVMCertificate",
        certificate="-----BEGIN CERTIFICATE-----\nexample\n-----END CERTIFICATE-----\n",
        key=world.encrypted("an example key"), domain_suffix="*.cloud.internal", seq=None,
    )  # fmt: skip
