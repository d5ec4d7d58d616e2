"""Which rows of the original's database may differ from an earlier reading although nobody did it harm.

Running management and usage servers write all the time, and a rollback ends with the original recreating its system VMs and routers. What that
touches is named here row by row and column by column: everything else about these tables, a user's VM, volume or address above all, must be as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab.packages import NEW, TEMPLATES
from parallel_build.remote.sql import quote

Writer = Literal["servers", "renewing", "destroy"]
Which = Literal["none", "recreated", "any"]

SYSTEM = "SELECT id FROM cloud.vm_instance WHERE type <> 'User'"
# The template that phase prepared registers on the original.
TEMPLATE = f"INSTR(name, 'systemvm-') = 1 AND INSTR(name, '-{TEMPLATES[NEW]}') > 0"
RECREATED = "recreated "
DIGEST = 16  # hexadecimal digits of each


@dataclass(frozen=True)
class Rule:
    """What may happen to the rows of one table.

    Attributes:
        writer: who does it: servers that run, the renewing of system VMs and routers, or the undo of phase prepared.
        columns: what may change in any row.
        recreated: SQL condition on a row that says it belongs to what is recreated. It has to be true in both readings.
        recreated_columns: what may change in such rows; None is any column.
        added: which rows may come.
        removed: which rows may go.
    """

    writer: Writer
    columns: frozenset[str] = frozenset()
    recreated: str = "FALSE"
    recreated_columns: frozenset[str] | None = None
    added: Which = "none"
    removed: Which = "none"

    def allows(self, before: str | None, now: str | None) -> bool:
        """Whether a row may have become another.

        Args:
            before: what `statement` returned for it, None where it was not there.
            now: the same, at present.
        """
        if before is None or now is None:
            which, row = (self.added, now) if before is None else (self.removed, before)
            return which == "any" or (which == "recreated" and (row or "").startswith(RECREATED))
        return before.rpartition(" ")[0] == now.rpartition(" ")[0]

    def statement(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """A query for `k`, each row's key, and `d`: a digest of what may not change in it, a space, and one of the whole row.

        Args:
            table: with its database.
            columns: all columns of the table.
            key: those of its primary key.
        """
        steady = f"CASE WHEN {self.recreated} THEN CONCAT('{RECREATED}', {_digest(columns, self.recreated_columns)}) ELSE {_digest(columns, self.columns)} END"
        where = ".".join(quote(part) for part in table.split("."))
        keys = ", ".join(quote(column) for column in key)
        return f"SELECT CONCAT_WS('/', {keys}) AS k, CONCAT({steady}, ' ', {_digest(columns, frozenset())}) AS d FROM {where}"


def _digest(columns: Sequence[str], without: frozenset[str] | None) -> str:
    steady = [] if without is None else [f"COALESCE(HEX({quote(column)}), '-')" for column in columns if column not in without]
    return f"SUBSTR(SHA2(CONCAT_WS(',', {', '.join(steady)}), 256), 1, {DIGEST})" if steady else "'-'"


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


_TRAFFIC = _columns("net_bytes_received net_bytes_sent current_bytes_received current_bytes_sent agg_bytes_received agg_bytes_sent")
_JOB = _columns(
    "job_status job_process_status job_result_code job_result job_complete_msid job_executing_msid job_pending_signals "
    "last_updated last_polled removed"
)
_USAGE_JOB = _columns("host pid scheduled start_millis end_millis exec_time start_date end_date success heartbeat")
_CONNECTION = _columns("status mgmt_server_id last_mgmt_server_id last_ping disconnected update_count")
_RESERVED = _columns("nic_id reservation_id taken")
_ADDRESS = _columns("state allocated account_id domain_id source_nat is_system")

RULES: dict[str, Rule] = {
    # Heartbeats, events, jobs, capacities, statistics, states of hosts.
    "cloud.alert": Rule("servers", added="any"),
    "cloud.async_job": Rule("servers", _JOB, added="any"),
    "cloud.event": Rule("servers", added="any"),
    "cloud.host": Rule("servers", _CONNECTION, recreated="type IN ('SecondaryStorageVM', 'ConsoleProxy')", added="recreated"),
    "cloud.mshost": Rule("servers", _columns("runid state last_update alert_count")),
    "cloud.mshost_peer": Rule("servers", _columns("peer_runid peer_state last_update")),
    "cloud.mshost_status": Rule("servers", _columns("last_jvm_start last_jvm_stop last_system_boot updated")),
    "cloud.op_host_capacity": Rule("servers", _columns("used_capacity reserved_capacity update_time")),
    "cloud.op_lock": Rule("servers", recreated="TRUE", added="any", removed="any"),
    "cloud.usage_event": Rule("servers", _columns("processed"), added="any"),
    "cloud.user_statistics": Rule("servers", _TRAFFIC, recreated=f"device_id IN ({SYSTEM})", recreated_columns=_TRAFFIC, added="recreated"),
    "cloud_usage.usage_event": Rule("servers", _columns("processed"), added="any"),
    "cloud_usage.usage_job": Rule("servers", _USAGE_JOB, added="any"),
    # System VMs and routers recreated, as the last thing of a rollback: they, their disks and their addresses.
    "cloud.vm_instance": Rule("renewing", recreated="type <> 'User'", added="recreated"),
    "cloud.volumes": Rule("renewing", recreated=f"instance_id IN ({SYSTEM})", added="recreated"),
    "cloud.nics": Rule("renewing", recreated=f"instance_id IN ({SYSTEM})", added="recreated"),
    "cloud.console_proxy": Rule("renewing", recreated="TRUE", added="recreated"),
    "cloud.secondary_storage_vm": Rule("renewing", recreated="TRUE", added="recreated"),
    "cloud.domain_router": Rule("renewing", recreated="TRUE", added="recreated"),
    "cloud.router_network_ref": Rule("renewing", recreated="TRUE", added="recreated", removed="recreated"),
    "cloud.op_dc_ip_address_alloc": Rule("renewing", _RESERVED),
    "cloud.op_dc_link_local_ip_address_alloc": Rule("renewing", _RESERVED),
    # A rollback moves the original's numbers past those that the new side gave away.
    "cloud.data_center": Rule("renewing", _columns("mac_address")),
    "cloud.op_networks": Rule("renewing", _columns("mac_address_seq nics_count gc check_for_gc")),
    "cloud.sequence": Rule("renewing", _columns("value")),
    "cloud.user_ip_address": Rule("renewing", recreated="is_system = 1 OR state = 'Free'", recreated_columns=_ADDRESS),
    # `destroy` also takes back what phase prepared had the original do: its setting, and the new version's template.
    "cloud.configuration": Rule("destroy", recreated="name = 'host'", recreated_columns=_columns("value updated")),
    "cloud.vm_template": Rule("destroy", recreated=TEMPLATE, recreated_columns=_columns("removed state")),
    "cloud.template_zone_ref": Rule(
        "destroy",
        recreated=f"template_id IN (SELECT id FROM cloud.vm_template WHERE {TEMPLATE})",
        recreated_columns=_columns("removed last_updated"),
    ),
    "cloud.template_store_ref": Rule(
        "destroy",
        recreated=f"template_id IN (SELECT id FROM cloud.vm_template WHERE {TEMPLATE})",
        recreated_columns=_columns("destroyed state updated last_updated"),
    ),
}
