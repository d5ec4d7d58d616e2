"""The rehearsal's server kept to itself: a firewall of its own, and the proof from inside that nothing of the cloud's can be reached.

It accepts SSH, and its API from the machine that looks at it; it answers on connections that others opened, and opens none itself. What comes to
it (the copy) comes through the SSH connection. The firewall is a unit that the management server's unit needs, so that after a reboot as well
nothing of CloudStack runs without it.

The network is the second barrier, proved by itself: for that moment alone the firewall lets packets with a mark through, which only the proof's own
program, run by root, puts on its packets. CloudStack is masked then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parallel_build.cloudstack.services import MANAGEMENT
from parallel_build.configuration import API_PORTS
from parallel_build.errors import GuardFailed, StepFailed
from parallel_build.facts.network_targets import Target
from parallel_build.remote.access import Access

TABLE = "cloudstack_parallel_build_rehearsal"
FOLDER = "/etc/cloudstack-parallel-build"
RULES = f"{FOLDER}/isolation.nft"
UNIT = "cloudstack-parallel-build-isolation.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
NEEDED_BY = f"/etc/systemd/system/{MANAGEMENT}.service.d/isolation.conf"
API_PORT = API_PORTS["http"]  # as the packages have it: nothing but this machine calls it, and the server is gone afterwards
MARK = 0xC10D
PATIENCE = 3.0  # seconds that one connection may take
AT_ONCE = 200
SHOWN = 6  # of what was reached, and more only where there are more kinds

UNIT_TEXT = f"""[Unit]
Description=Keep the rehearsal of the upgrade to itself
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target sysinit.target
Wants=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {RULES}
[Install]
WantedBy=sysinit.target
"""
NEEDS = f"""[Unit]
Requires={UNIT}
After={UNIT}
"""

# Tries everything at once. A refusal counts as reached: something answered. Standard library only; reads its work from standard input.
PROBE = r"""
import concurrent.futures, errno, json, socket, sys
work = json.load(sys.stdin)
def reach(target):
    address, port = target
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, where in found:
        with socket.socket(family, kind, protocol) as attempt:
            if work["mark"]:
                attempt.setsockopt(socket.SOL_SOCKET, 36, work["mark"])
            attempt.settimeout(work["patience"])
            try:
                attempt.connect(where)
                return True
            except OSError as problem:
                if problem.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
                    return True
    return False
with concurrent.futures.ThreadPoolExecutor(work["at_once"]) as pool:
    print(json.dumps(list(pool.map(reach, work["targets"]))))
"""


@dataclass(frozen=True)
class Isolation:
    """What was proved.

    Attributes:
        tried: what was tried from inside: addresses and ports by kind of thing.
        network_holds: nothing was reached although the firewall let the proof's packets out; None where that was not asked for.
        allowed: networks that the firewall lets it open connections to.
    """

    tried: Mapping[str, int]
    network_holds: bool | None
    allowed: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As plain values."""
        held = {True: "firewall and network", False: "firewall", None: "firewall"}[self.network_holds]
        return {"tried": sum(self.tried.values()), "kinds": dict(self.tried), "held by": held, "allowed": list(self.allowed)}


def rules(viewer: str | None, allowed: Sequence[str], *, marked: bool = False) -> str:
    """The firewall's text.

    Args:
        viewer: address that may use the API; None for any, which opens no way out either.
        allowed: networks that connections may be opened to.
        marked: let the packets of the proof out.
    """
    api = f"    {_family(viewer)} saddr {viewer} tcp dport {API_PORT} accept" if viewer else f"    tcp dport {API_PORT} accept"
    ways_out = [f"    {_family(network)} daddr {network} accept" for network in allowed]
    if marked:
        ways_out.append(f"    meta mark {MARK} accept")
    neighbours = "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    return "\n".join(
        [
            f"add table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  chain incoming {",
            "    type filter hook input priority -200; policy drop;",
            "    iif lo accept",
            "    ct state established,related accept",
            "    tcp dport 22 accept",
            api,
            neighbours,
            "  }",
            "  chain outgoing {",
            "    type filter hook output priority -200; policy drop;",
            "    oif lo accept",
            "    ct state established ct direction reply accept",
            # The connection that raises this firewall is older than its knowledge of connections.
            f"    tcp sport {{ 22, {API_PORT} }} tcp flags & (fin | syn | rst | ack) != syn accept",
            neighbours,
            *ways_out,
            "  }",
            "  chain through {",
            "    type filter hook forward priority -200; policy drop;",
            "  }",
            "}",
            "",
        ]
    )


def hold(host: Access, allowed: Sequence[str], ssh_port: int | None = None) -> None:
    """Raise the firewall, for good: it is up again before the network after a reboot, and CloudStack's unit needs it.

    Args:
        ssh_port: where the server's sshd listens, when not on 22.
    Raises:
        StepFailed: there is no nft, or the rules are not in force.
    """
    if not host.run(["sh", "-c", "command -v nft"], timeout=30, ok=(0, 1, 127)).ok:
        raise StepFailed(f"{host.name} has no nft", "its firewall is made of nftables rules", "install the package nftables there")
    text = rules(_viewer(host), allowed)
    if ssh_port and ssh_port != 22:
        text = text.replace("tcp dport 22 accept", f"tcp dport {ssh_port} accept").replace("{ 22, ", f"{{ {ssh_port}, ")
    host.run(["install", "-d", "-m", "755", FOLDER, NEEDED_BY.rsplit("/", 1)[0]], timeout=30)
    host.write(RULES, text, mode=0o644)
    host.write(UNIT_FILE, UNIT_TEXT, mode=0o644)
    host.write(NEEDED_BY, NEEDS, mode=0o644)
    host.script(f'systemctl daemon-reload; systemctl enable --quiet {UNIT}; systemctl restart {UNIT}; nft -f "$1"', [RULES], timeout=90)
    if not held(host):
        raise StepFailed(
            f"{host.name}: the firewall is not in force", f"table {TABLE} or {UNIT} is missing", f"see `systemctl status {UNIT}`"
        )


def held(host: Access) -> bool:
    """Whether the firewall is in force, drops what nobody asked for, and comes back with a reboot."""
    shown = host.run(["nft", "list", "table", "inet", TABLE], timeout=30, ok=None)
    enabled = host.run(["systemctl", "is-enabled", "--quiet", UNIT], timeout=30, ok=None).ok
    drops = [line for line in shown.stdout.splitlines() if "hook output" in line and "policy drop" in line]
    return shown.ok and enabled and bool(drops) and f"0x{MARK:08x}" not in shown.stdout


def there(host: Access) -> bool:
    """Whether the firewall, or its unit that raises it at boot, is there; a server without nft has none."""
    return host.script(
        f"if [ -e {UNIT_FILE} ]; then exit 0; fi; command -v nft >/dev/null || exit 1; nft list table inet {TABLE} >/dev/null 2>&1",
        ok=(0, 1),
        timeout=30,
    ).ok


def release(host: Access) -> None:
    """Take the firewall away for good; nothing happens where there is none."""
    host.script(
        f"systemctl disable --now --quiet {UNIT} 2>/dev/null || true; rm -f {UNIT_FILE} {NEEDED_BY} {RULES}; "
        f"systemctl daemon-reload; nft delete table inet {TABLE} 2>/dev/null || true",
        timeout=60,
        cancellable=False,
    )


def prove(
    host: Access,
    targets: Sequence[Target],
    allowed: Sequence[str],
    *,
    network: bool,
    progress: Callable[[str], None],
    network_too: bool = True,
) -> Isolation:
    """Try to reach everything from inside.

    Args:
        targets: what must be out of reach.
        network: demand that the network has no way out either.
        network_too: look at the network at all.
    Raises:
        GuardFailed: something was reached, or a tunnel is open; CloudStack must not start there.
    """
    if not held(host):
        raise GuardFailed(
            f"{host.name}: the firewall is not in force", "nothing keeps CloudStack on it from the cloud", "run the same command again"
        )
    open_tunnels = tunnels(host)
    if open_tunnels:
        raise GuardFailed(
            f"{host.name}: sshd there listens on {', '.join(open_tunnels)}",
            "a tunnel leads out past every firewall",
            "end the SSH session that opened it, then run the same command again",
        )
    progress(f"{host.name}: trying to reach {len(targets)} addresses of the cloud from inside")
    reached = _reached(host, targets, mark=0)
    if reached:
        raise _open(host, reached, "a management server there would take the cloud's hypervisors and storage for its own")
    holds: bool | None = None
    if network_too:
        holds = not (past := _past_the_firewall(host, targets, allowed))
        if past and network:
            raise _open(
                host,
                past,
                "its own firewall alone keeps it in: the network has a way out",
                "or set rehearsal.isolatedNetwork false to rest on the firewall alone",
            )
        if past:
            progress(f"{host.name}: the network alone would let it reach {_some(past)}; its firewall keeps it in")
    found = Isolation(Counter(target.kind for target in targets), holds, tuple(allowed))
    progress(f"{host.name}: none of {len(targets)} reached, held by {found.document()['held by']}")
    return found


def tunnels(host: Access) -> list[str]:
    """Addresses that sshd listens on besides its own ports: remote forwardings that are open."""
    text = host.run(["ss", "-Hltnp"], timeout=30).stdout
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and '("sshd"' in line and words[3].rsplit(":", 1)[0].strip("[]") in ("127.0.0.1", "::1"):
            found.append(words[3])
    return sorted(found)


def _past_the_firewall(host: Access, targets: Sequence[Target], allowed: Sequence[str]) -> list[Target]:
    """What the network lets through, seen with packets that the firewall passes for this moment."""
    text = rules(_viewer(host), allowed, marked=True)
    try:
        host.run(["nft", "-f", "-"], input=text, timeout=30)
        return _reached(host, targets, mark=MARK)
    finally:
        host.run(["nft", "-f", RULES], timeout=30, cancellable=False)


def _reached(host: Access, targets: Sequence[Target], mark: int) -> list[Target]:
    work = {
        "mark": mark,
        "patience": PATIENCE,
        "at_once": min(AT_ONCE, max(1, len(targets))),
        "targets": [(target.address, target.port) for target in targets],
    }
    limit = 60 + PATIENCE * (len(targets) / AT_ONCE + 1) * 4
    answer = host.run(["python3", "-c", PROBE], input=json.dumps(work), timeout=limit)
    found: list[bool] = json.loads(answer.stdout)
    return [target for target, open_ in zip(targets, found, strict=True) if open_]


def _open(host: Access, reached: Sequence[Target], cause: str, more: str = "") -> GuardFailed:
    remedy = "close the way there, then run the same command again; CloudStack has not been started"
    return GuardFailed(f"{host.name} reached {_some(reached)}", cause, f"{remedy} ({more})" if more else remedy)


def _some(reached: Sequence[Target]) -> str:
    """One of each kind first: whether it is mail or hypervisors that can be reached says more than how many of them."""
    first = {target.kind: target for target in reversed(reached)}
    shown = [target for target in reached if first[target.kind] == target]
    shown += [target for target in reached if target not in shown][: max(0, SHOWN - len(shown))]
    return ", ".join(map(str, shown)) + (f" and {len(reached) - len(shown)} more" if len(reached) > len(shown) else "")


def _viewer(host: Access) -> str | None:
    """The address from which this machine's SSH connection comes; None where sudo has taken it away."""
    words = host.run(["sh", "-c", 'echo "$SSH_CONNECTION"'], timeout=30).stdout.split()
    return words[0] if words else None


def _family(network: str) -> str:
    return "ip6" if ":" in network else "ip"
