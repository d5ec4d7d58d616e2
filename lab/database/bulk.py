"""The tables that grow: events, usage records, statistics and link-local addresses, as SQL made fast.

A row is put together from pieces that were rendered once (what a resource says each day is the same but for id, time
and amount), so that one core makes well over 100 MB of SQL in a second. The content follows the rest of the cloud:
accounts, machines and networks are those that exist.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.database.content.infrastructure import PODS, ZONE
from lab.database.content.world import World
from lab.database.plan import LINK_LOCAL_ADDRESSES_PER_POD
from lab.database.rows import literal, statements

_EVENTS = (
    ("VM.START", "VirtualMachine", "starting Vm. Vm Id: {uuid}"),
    ("VM.STOP", "VirtualMachine", "stopping Vm. Vm Id: {uuid}"),
    ("VM.CREATE", "VirtualMachine", "deploying Vm {name} 🚀"),
    ("VM.REBOOT", "VirtualMachine", "rebooting Vm. Vm Id: {uuid}"),
    ("USER.LOGIN", "User", "user {account} has logged in from IP Address /10.91.0.200"),
    ("USER.LOGOUT", "User", "user {account} has logged out"),
    ("VOLUME.ATTACH", "Volume", "attaching volume to Vm «{name}»"),
    ("SNAPSHOT.CREATE", "Snapshot", "creating snapshot for volume: it's {name}"),
    ("NETWORK.RESTART", "Network", "Restarting network of {account}\\n"),
    ("VM.SNAPSHOT.CREATE", "VMSnapshot", "Größe: {name} "),
    ("ROUTER.HEALTH.CHECKS", "DomainRouter", "health checks for router of {account}"),
    ("MAINT.CANCEL", None, "cancelling maintenance"),
)  # fmt: skip
_LEVELS = ("INFO",) * 14 + ("WARN", "ERROR")
_STATES = ("Completed", "Completed", "Started", "Scheduled")
_USAGE_EVENTS = (
    "VM.START",
    "VM.STOP",
    "VM.CREATE",
    "VM.DESTROY",
    "VOLUME.CREATE",
    "VOLUME.DELETE",
    "NET.IPASSIGN",
    "NETWORK.OFFERING.ASSIGN",
)
# usage type, what the description says, type column
_USAGE = (
    (1, "{vm} running time (ServiceOffering: {offering}) (Template: {template})", "KVM"),
    (2, "{vm} allocated (ServiceOffering: {offering}) (Template: {template})", "KVM"),
    (6, "Volume usage for volume: {volume} ({uuid}) and size 40 GB", None),
    (13, "Network offering:{network} for Vm : {vm} usage time", None),
    (9, "Snapshot usage for {vm}_ROOT, size 3 GB", None),
)  # fmt: skip
_RAW = tuple(repr(hours + part / 1048576) for hours in (1, 23, 24) for part in range(0, 1000003, 9973))
_BLOCK = 4096
_MOST_DAYS = 1500


@dataclass(frozen=True)
class BigTable:
    """A table whose rows are streamed; keys other than the primary one come after the rows that `statements` inserts."""

    database: str
    name: str
    rows: int
    statements: Callable[[], Iterator[str]]


def big_tables(world: World) -> tuple[BigTable, ...]:
    """The streamed tables of a cloud; each can be read more than once and always gives the same."""
    plan = world.plan
    return (
        BigTable("cloud", "op_dc_link_local_ip_address_alloc", plan.link_local_addresses, lambda: _link_local(world)),
        BigTable("cloud", "event", plan.rows_event, lambda: _event(world)),
        BigTable("cloud", "usage_event", plan.rows_usage_event, lambda: _usage_event(world, processed=False)),
        BigTable("cloud", "vm_stats", plan.rows_vm_stats, lambda: _vm_stats(world)),
        BigTable("cloud_usage", "usage_event", plan.rows_usage_event, lambda: _usage_event(world, processed=True)),
        BigTable("cloud_usage", "cloud_usage", plan.rows_usage, lambda: _cloud_usage(world)),
    )


def _link_local(world: World) -> Iterator[str]:
    taken = {
        (pod, address): f"{nic},{literal(reservation)},{literal(world.ago(180))}"
        for address, (pod, nic, reservation) in world.link_local.items()
    }

    def rows() -> Iterator[str]:
        for number in range(world.plan.link_local_addresses):
            pod = PODS[(number // LINK_LOCAL_ADDRESSES_PER_POD) % len(PODS)]
            last = number % LINK_LOCAL_ADDRESSES_PER_POD + 2
            address = f"169.254.{last >> 8}.{last & 255}"
            yield f"({number + 1},'{address}',{ZONE},{pod},{taken.get((pod, address), 'NULL,NULL,NULL')})"

    return statements("INSERT INTO `op_dc_link_local_ip_address_alloc` VALUES\n", rows())


def _times(world: World, rows: int, days: float) -> Callable[[int], str]:
    """Times that rise with the row number over that many days to the newest one, one for each block of 64 rows."""
    begin = world.ago(days)
    step = datetime.timedelta(days=days) / max(1, (rows + 63) // 64)
    return lambda number: literal(begin + step * (number // 64))


def _event(world: World) -> Iterator[str]:
    """Events; each has a UUID of its own, as the unique key wants."""
    source = world.random("event")
    source.seed(f"{world.plan.seed}:event rows")  # the same rows each time that they are asked for
    heads, tails = [], []
    for number, (kind, resource, text) in enumerate(_EVENTS * 40):
        machine = world.machines[(7 * number) % len(world.machines)]
        state = _STATES[number % len(_STATES)]
        description = text.format(uuid=machine.uuid, name=machine.name, account=machine.account.name).replace("\\n", "\n")
        heads.append(
            f"'{kind}','{state}',{literal(description)},{machine.account.user_id},{machine.account.id},{machine.account.domain_id},"
            f"{machine.id if resource else 'NULL'},{literal(resource)},"
        )
        level = _LEVELS[number % len(_LEVELS)]
        parameters = literal(f'{{"id":"{machine.uuid}"}}') if number % 3 else "NULL"
        tails.append(f",'{level}',{number % 5 and number * 11},{parameters},{int(number % 9 == 0)},1)")
    pieces = len(heads)

    def rows() -> Iterator[str]:
        total = world.plan.rows_event
        time = _times(world, total, 400)
        for begin in range(0, total, _BLOCK):
            digits = source.randbytes(16 * _BLOCK).hex()
            picks = source.randbytes(2 * _BLOCK)
            created = ""
            for offset in range(min(_BLOCK, total - begin)):
                number = begin + offset
                if not offset % 64:
                    created = time(number)
                at = 32 * offset
                pick = (picks[2 * offset] << 8 | picks[2 * offset + 1]) % pieces
                yield (
                    f"({number + 1},'{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}"
                    f"-a{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}',{heads[pick]}{created}{tails[pick]}"
                )

    return statements("INSERT INTO `event` VALUES\n", rows())


def _usage_event(world: World, processed: bool) -> Iterator[str]:
    """Usage events; cloud_usage has the same rows, marked as processed by the usage server."""
    source = world.random("usage_event")
    source.seed(f"{world.plan.seed}:usage_event rows")
    heads, tails = [], []
    done = int(processed)
    for number in range(2048):
        kind = _USAGE_EVENTS[number % len(_USAGE_EVENTS)]
        machine = source.choice(world.machines)
        on_volume = kind.startswith("VOLUME")
        size = machine.template.size if on_volume else "NULL"
        name = f"{machine.name} 🗄" if on_volume else machine.name
        heads.append(f"'{kind}',{machine.account.id},")
        tails.append(
            f",{ZONE},{machine.volume_id if on_volume else machine.id},{literal(name)},{machine.offering.id},"
            f"{machine.template.id},{size},{'NULL' if on_volume else literal('KVM')},{done},{size})"
        )

    def rows() -> Iterator[str]:
        total = world.plan.rows_usage_event
        time = _times(world, total, 900)
        created = ""
        for number in range(total):
            if not number % 64:
                created = time(number)
            pick = number * 40503 & 2047
            yield f"({number + 1},{heads[pick]}{created}{tails[pick]}"

    return statements("INSERT INTO `usage_event` VALUES\n", rows())


def _vm_stats(world: World) -> Iterator[str]:
    """Statistics of machines: a JSON text for each machine and minute."""
    source = world.random("vm_stats")
    source.seed(f"{world.plan.seed}:vm_stats rows")
    running = [machine for machine in world.machines if machine.state == "Running"] or world.machines
    texts = []
    for _ in range(1024):
        machine = source.choice(running)
        numbers = {
            "cpuUtilization": source.uniform(0, 100), "networkReadKBs": source.uniform(0, 9e6),
            "networkWriteKBs": source.uniform(0, 9e6),
            "diskReadIOs": source.uniform(0, 9e5), "diskWriteIOs": source.uniform(0, 9e5),
            "diskReadKBs": source.uniform(0, 9e7),
            "diskWriteKBs": source.uniform(0, 9e7), "memoryKBs": float(machine.offering.memory * 1024),
            "intFreeMemoryKBs": source.uniform(0, 1e6), "targetMemoryKBs": float(machine.offering.memory * 1024),
            "numCPUs": machine.offering.cores,
        }  # fmt: skip
        body = ",".join(f'"{key}":{value!r}' for key, value in numbers.items())
        text = f'{{"vmId":{machine.id},{body},"entityType":"vm"}}'
        texts.append((machine.id, literal(text)))

    def rows() -> Iterator[str]:
        total = world.plan.rows_vm_stats
        time = _times(world, total, 20)
        when = ""
        for number in range(total):
            if not number % 64:
                when = time(number)
            machine_id, text = texts[number * 40503 & 1023]
            yield f"({number + 1},{machine_id},1,{when},{text})"

    return statements("INSERT INTO `vm_stats` VALUES\n", rows())


@dataclass(frozen=True)
class _UsagePieces:
    """What one resource's usage record is made of, between id, amount (twice) and the period."""

    head: str
    unit: str
    left: str
    right: str


def _usage_pieces(world: World, source: random.Random, number: int) -> _UsagePieces:
    kind, text, hypervisor = _USAGE[number % len(_USAGE)]
    machine = source.choice(world.machines)
    on_machine, of_network, of_snapshot = kind in (1, 2), kind == 13, kind == 9
    offering, template = machine.offering, machine.template
    description = text.format(
        vm=machine.name,
        offering=offering.id,
        template=template.id,
        volume=machine.volume_id,
        uuid=machine.uuid,
        network=machine.network.id,
    )
    left: tuple[object, ...] = (
        machine.id if on_machine or of_network else None,
        machine.name if on_machine else None,
        offering.id,
        template.id,
        machine.id,
        hypervisor,
        template.size if of_snapshot or kind == 6 else None,
        machine.network.id if of_network else None,
    )
    right: tuple[object, ...] = (
        template.size if of_snapshot else None,
        *((offering.speed, offering.cores, offering.memory) if on_machine else (None, None, None)),
        number & 1,
        number % 50 == 0,
        "Ready" if kind == 6 else None,
    )
    return _UsagePieces(
        head=f"{ZONE},{machine.account.id},{machine.account.domain_id},{literal(description)},'",
        unit=f" Hrs',{kind},",
        left="," + ",".join(map(literal, left)) + ",",
        right="," + ",".join(map(literal, right)) + ")",
    )


def _cloud_usage(world: World) -> Iterator[str]:
    """Usage records: every resource has one a day, as the usage server writes them."""
    source = world.random("cloud_usage")
    source.seed(f"{world.plan.seed}:cloud_usage rows")
    pieces = [_usage_pieces(world, source, number) for number in range(4096)]

    def rows() -> Iterator[str]:
        total = world.plan.rows_usage
        period = ""
        day = datetime.timedelta(days=1)
        # a row a day for each machine and its parts; a big table is one of a bigger cloud, not one of more years
        each_day = max(5 * len(world.machines), total // _MOST_DAYS + 1)
        first = world.now.replace(hour=0, minute=0, second=0) - day * (total // each_day + 1)
        for number in range(total):
            if not number % each_day:
                begin = first + day * (number // each_day)
                period = f"{literal(begin)},{literal(begin + day - datetime.timedelta(seconds=1))}"
            piece = pieces[number * 40503 & 4095]
            raw = _RAW[number % len(_RAW)]
            yield f"({number + 1},{piece.head}{raw[:9]}{piece.unit}{raw}{piece.left}{period}{piece.right}"

    return statements("INSERT INTO `cloud_usage` VALUES\n", rows())
