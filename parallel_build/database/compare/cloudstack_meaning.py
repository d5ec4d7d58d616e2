"""What CloudStack itself reads in its databases: version, things by state, management servers, the encrypted canary. Read only.

Rows that compare equal should mean the same; this asks the copy as CloudStack will, past every rule by which rows are compared, and says what they mean
for the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from parallel_build.cloudstack.encryption import Encryptor, WrongKey, decrypt
from parallel_build.database.compare.judged import Difference
from parallel_build.database.schema import definitions
from parallel_build.remote.sql import Session, quote
from parallel_build.secret import Secret

# Column that says what state a row is in, by table [CloudStack 4.22 engine/schema, core/db tables]; rows with a removal date count apart.
STATES = {
    "cloud.vm_instance": ("state", "removed"),
    "cloud.volumes": ("state", "removed"),
    "cloud.host": ("status", "removed"),
    "cloud.networks": ("state", "removed"),
    "cloud.snapshots": ("status", "removed"),
    "cloud.storage_pool": ("status", "removed"),
    "cloud.user_ip_address": ("state", "removed"),
    "cloud.template_store_ref": ("download_state", None),
    "cloud.account": ("state", "removed"),
    "cloud.async_job": ("job_status", "removed"),
    "cloud_usage.usage_job": ("success", None),
}


@dataclass(frozen=True)
class Meaning:
    """What one server's copy of the databases says.

    Attributes:
        version: newest complete row of `version`.
        states: number of rows by `table state` and by `table (removed)`.
        management: state of each management server by its address.
        init: the encrypted `configuration.init` decrypts to `true`; None when no key was given or there is no such row.
    """

    version: str
    states: dict[str, int] = field(default_factory=dict)
    management: dict[str, str] = field(default_factory=dict)
    init: bool | None = None


def read(opened: Session, key: Secret | None = None, encryptor: Encryptor = Encryptor.AUTOMATIC, *, states: bool = True) -> Meaning:
    """Read the meaning of a server's databases.

    Args:
        key: CloudStack's database key, to prove that `init` decrypts; None leaves that out.
        states: count rows by state, which takes longer with more rows.
    """
    return Meaning(_version(opened), _states(opened) if states else {}, _management(opened), _init(opened, key, encryptor))


def differences(ours: Meaning, theirs: Meaning) -> list[Difference]:
    """Where two servers' meanings differ, in words."""
    found = []
    if ours.version != theirs.version:
        found.append(Difference("meaning", "cloud", "version", f"{ours.version} became {theirs.version}"))
    for what, mine, other in (("rows", ours.states, theirs.states), ("management server", ours.management, theirs.management)):
        for key in sorted(mine.keys() | other.keys()):
            if mine.get(key) != other.get(key):
                detail = f"{mine.get(key, 'none')} became {other.get(key, 'none')}"
                found.append(Difference("meaning", key.partition(".")[0] if what == "rows" else "cloud", f"{what} {key}", detail))
    if ours.init != theirs.init:
        found.append(Difference("meaning", "cloud", "configuration init", f"decryptable {ours.init} became {theirs.init}"))
    return found


def _version(opened: Session) -> str:
    row = opened.row("SELECT version AS v FROM cloud.version WHERE step = 'Complete' ORDER BY id DESC LIMIT 1")
    return str(row["v"]) if row else ""


def _states(opened: Session) -> dict[str, int]:
    there = {
        name for one in definitions.existing(opened, ["cloud", "cloud_usage"]) for name in _columns_of(opened, one)
    }  # fmt: skip
    counts: dict[str, int] = {}
    for table, (state, removed) in STATES.items():
        if f"{table}.{state}" not in there:
            continue
        gone = f"{quote(removed)} IS NOT NULL" if removed and f"{table}.{removed}" in there else "FALSE"
        name = ".".join(quote(part) for part in table.split("."))
        for row in opened.rows(f"SELECT {quote(state)} AS s, {gone} AS r, COUNT(*) AS n FROM {name} GROUP BY s, r"):
            key = f"{table} (removed)" if row["r"] else f"{table} {row['s']}"
            counts[key] = counts.get(key, 0) + int(row["n"])
    return counts


def _columns_of(opened: Session, name: str) -> list[str]:
    rows = opened.rows("SELECT TABLE_NAME AS t, COLUMN_NAME AS c FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s", [name])
    return [f"{name}.{row['t']}.{row['c']}" for row in rows]


def _management(opened: Session) -> dict[str, str]:
    rows = opened.rows("SELECT service_ip AS a, msid AS m, state AS s FROM cloud.mshost WHERE removed IS NULL")
    return {f"{row['a']} ({row['m']})": str(row["s"]) for row in rows}


def _init(opened: Session, key: Secret | None, encryptor: Encryptor) -> bool | None:
    value = opened.value("SELECT value FROM cloud.configuration WHERE name = 'init'")
    if key is None or not value:
        return None
    if value == "true":  # not encrypted: a database of before encryption was set up
        return True
    try:
        return decrypt(str(value), key, encryptor).reveal() == "true"
    except WrongKey:
        return False
