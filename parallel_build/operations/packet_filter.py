"""The barrier before users in a server's packet filter: their calls are sent to a service that answers, everything else of theirs is refused.

A call that the server has received is answered by it: connections that are open when the barrier goes up end first; those that are idle are closed, and
the next call on a new one is answered by the service. [nft(8), iptables-extensions(8), ss(8)]
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from parallel_build.errors import StepFailed
from parallel_build.operations import lasting_barrier, open_calls, users_out_certificate, users_out_service
from parallel_build.remote.access import Access

TABLE = "cloudstack_parallel_build"
CHAIN = "CSPB-USERS"
GRACE = 15  # times 0.2 s in which answers of the service may end by themselves
NOTICE = "The cloud is being upgraded and takes no calls of users; try again in a moment"

# The same barrier in the two packet filters; reached by both families, gone with one command.
NFT = """
nft -f - <<RULES
add table inet {table}
delete table inet {table}
table inet {table} {{
{chains}}}
RULES
"""
NFT_USERS = """  chain users {{
    type filter hook input priority -150; policy accept;
    iif lo accept
{accept}{open}    tcp dport {{ {ports} }} reject with tcp reset
  }}
"""
# Rules of the server's own in nft: what one chain accepts another still drops, and nobody has named the service's port there. iptables' own chain is
# left to iptables, and one that takes redirected connections before anything else judges them, as firewalld's does, is left alone: whoever owns a table
# may let nobody else change it. In a chain that can't be changed answers would be lost without a word, so none are given then.
OWN_NFT = f"""
input_chains() {{ nft list chains 2>/dev/null | awk '/^table / {{f = $2; t = $3}} /^[[:space:]]*chain / {{c = $2}}
  /type filter hook input / && t !~ /^{TABLE}/ {{print f, t, c}}'; }}
own_chains() {{ input_chains | while read -r f t c; do
    case "$f $t $c" in "ip filter INPUT"|"ip6 filter INPUT") command -v iptables >/dev/null && continue;; esac
    nft list chain "$f" "$t" "$c" 2>/dev/null | awk -v chain="$f $t $c" '/^[[:space:]]*ct status dnat accept$/ {{judged = 0; exit}}
      /policy drop/ {{judged = 1; next}} / drop|reject|jump|goto|queue/ {{judged = 1; exit}} END {{if (judged) print chain}}'
  done; }}
own_open() {{ own_chains | while read -r f t c; do for p; do
    nft list chain "$f" "$t" "$c" | grep -q "dport $p .*{TABLE}" ||
      nft insert rule "$f" "$t" "$c" tcp dport "$p" ct status dnat accept comment '"{TABLE}"' || exit 1
  done; done; }}
own_close() {{ input_chains | while read -r f t c; do
    nft -a list chain "$f" "$t" "$c" | sed -n 's/.*comment "{TABLE}" # handle \\([0-9]*\\)$/\\1/p' | while read -r h; do
      nft delete rule "$f" "$t" "$c" handle "$h"; done
  done; }}
"""
NFT_ANSWERED = """  chain answered {{
    type nat hook prerouting priority -110; policy accept;
    iif lo accept
{accept}{sent}  }}
"""
NFT_SENT = "    tcp flags & (fin | syn | rst | ack) == syn tcp dport {{ {ports} }} redirect to :{to}\n"
# All but the first packet of a connection. The kernel tracks connections only from these rules on: one that is open already is new to it, so its state
# means nothing, and a redirection that takes any packet would tear it.
OPEN_CONNECTIONS = "    tcp flags & (fin | syn | rst | ack) != syn accept\n"
# A kernel without IPv6 refuses whatever ip6tables asks for, and no user comes by IPv6 then. iptables has no exchange of a whole chain: the new rules come
# behind the old ones, which go then, from the last on. A chain that is empty for a moment would let users in, or refuse those that are to be answered.
BOTH = f"""
there() {{ command -v $1 >/dev/null && {{ [ $1 = iptables ] || [ -e /proc/net/if_inet6 ]; }}; }}
rules() {{ k=0; for w in $("$@" -w -S {CHAIN} 2>/dev/null); do case $w in -A) k=$((k+1));; esac; done; echo $k; }}
drop_first() {{ k=$1; shift; while [ $k -gt 0 ]; do "$@" -w -D {CHAIN} $k; k=$((k-1)); done; }}
"""
IPTABLES = """
for t in iptables ip6tables; do there $t || continue
  $t -w -N {chain} 2>/dev/null || true
  n=$(rules $t)
  $t -w -A {chain} -i lo -j RETURN
{accept}
{answers}  $t -w -A {chain} -p tcp {first}-m multiport --dports {ports} -j REJECT --reject-with tcp-reset
  drop_first $n $t
  $t -w -C INPUT -j {chain} 2>/dev/null || $t -w -I INPUT 1 -j {chain}
done
"""
# Rules of the server's own may let in only the ports that it serves itself; what was sent on from one of those counts as that.
ANSWERS_STAY = "  $t -w -A {chain} -p tcp --dport {port} -m conntrack --ctstate DNAT -j ACCEPT 2>/dev/null || true\n"
# The same next to nft, where the server's own rules are those of iptables: what one table accepts another still drops.
ANSWERED = "-p tcp --dport $p -m conntrack --ctstate DNAT -j ACCEPT"
ANSWER_PORTS = f"{users_out_service.PORT} {users_out_service.TLS_PORT}"
OWN_RULES = f"""
for t in iptables ip6tables; do there $t || continue
  case "$($t -w -S INPUT 2>/dev/null)" in ''|'-P INPUT ACCEPT') continue;; esac
  for p in {{to}}; do $t -w -C INPUT {ANSWERED} 2>/dev/null || $t -w -I INPUT 1 {ANSWERED} 2>/dev/null || true; done
done
"""
# In a subshell: a kernel that can't redirect leaves users refused, and the script continues.
IPTABLES_ANSWERED = """
for t in iptables ip6tables; do there $t || continue
  ( $t -w -t nat -N {chain} 2>/dev/null || true
    n=$(rules $t -t nat)
    $t -w -t nat -A {chain} -i lo -j RETURN
{accept}
{sent}
    drop_first $n $t -t nat
    $t -w -t nat -C PREROUTING -j {chain} 2>/dev/null || $t -w -t nat -I PREROUTING 1 -j {chain}
  ) 2>/dev/null || true
done
"""
IPTABLES_SENT = "    $t -w -t nat -A {chain} -p tcp --syn -m multiport --dports {ports} -j REDIRECT --to-ports {to}"
# Calls that are being answered end first: without the table the kernel would not know any more where they were sent.
ANSWERING = f"( sport = :{users_out_service.PORT} or sport = :{users_out_service.TLS_PORT} )"
LET_ANSWERS_END = f"""
n={GRACE}
while [ $n -gt 0 ] && [ -n "$(ss -Htn state established '{ANSWERING}' 2>/dev/null)" ]; do n=$((n-1)); sleep 0.2; done
"""
OPEN = f"""{OWN_NFT}
if command -v nft >/dev/null && nft list table inet {TABLE} >/dev/null 2>&1; then
  nft flush table inet {TABLE}
{LET_ANSWERS_END}
  nft delete table inet {TABLE} 2>/dev/null || true
fi
if command -v nft >/dev/null; then own_close 2>/dev/null || true; fi
for t in iptables ip6tables; do command -v $t >/dev/null || continue
  while $t -w -D INPUT -j {CHAIN} 2>/dev/null; do :; done
  $t -w -F {CHAIN} 2>/dev/null || true; $t -w -X {CHAIN} 2>/dev/null || true
  for p in {ANSWER_PORTS}; do while $t -w -D INPUT {ANSWERED} 2>/dev/null; do :; done; done
  $t -w -t nat -S {CHAIN} >/dev/null 2>&1 || continue
  $t -w -t nat -F {CHAIN}
{LET_ANSWERS_END}
  while $t -w -t nat -D PREROUTING -j {CHAIN} 2>/dev/null; do :; done
  $t -w -t nat -X {CHAIN} 2>/dev/null || true
done
"""
CLOSED = f"""
if command -v nft >/dev/null && nft list table inet {TABLE} >/dev/null 2>&1; then echo closed
elif command -v iptables >/dev/null && iptables -w -C INPUT -j {CHAIN} 2>/dev/null; then echo closed
else echo open; fi
"""
SENT_ON = f"""
if command -v nft >/dev/null && nft list chain inet {TABLE} answered >/dev/null 2>&1; then echo answered
elif command -v iptables >/dev/null && iptables -w -t nat -C PREROUTING -j {CHAIN} 2>/dev/null; then echo answered
else echo refused; fi
"""
CLOSE_IDLE = """
ss -Kt state established '{which}' >/dev/null 2>&1 || true
"""


@dataclass(frozen=True)
class Barrier:
    """What is closed on a server.

    Attributes:
        allowed: networks that stay in.
        ports: TCP ports that are closed to everybody else.
        plain: those of them on which users' calls are answered.
        secure: those of them on which they are answered by TLS.
        answered_within: seconds for calls that the server has received.
    """

    allowed: Sequence[str]
    ports: Sequence[int]
    plain: Sequence[int] = ()
    secure: Sequence[int] = ()
    answered_within: float = open_calls.ANSWERED_WITHIN

    @property
    def sent(self) -> list[tuple[Sequence[int], int]]:
        """Which ports' calls are sent to which port of the service."""
        both = ((self.plain, users_out_service.PORT), (self.secure, users_out_service.TLS_PORT))
        return [(ports, to) for ports, to in both if ports]

    def rules(self, *, answered: bool, lets_end: bool = False) -> str:
        """The script that puts up the barrier, whatever is there of it.

        Args:
            answered: calls are sent to the service.
            lets_end: connections that are open stay.
        """
        ports = ", ".join(map(str, self.ports))
        accept = "".join(f"    {'ip6' if ':' in net else 'ip'} saddr {net} accept\n" for net in self.allowed)
        sent = "".join(NFT_SENT.format(ports=", ".join(map(str, each)), to=to) for each, to in self.sent)
        nat = NFT_ANSWERED.format(accept=accept, sent=sent) if answered else ""
        users = NFT_USERS.format(accept=accept, ports=ports, open=OPEN_CONNECTIONS if lets_end else "")
        # The first packet of a call that passed the redirection just before it was there must not meet a refusal that came with it.
        nft = NFT.format(table=TABLE, chains=nat if answered and lets_end else nat + users)
        if answered:  # a kernel that can't do it refuses the whole table
            services = " ".join(str(to) for _, to in self.sent)
            both = nft.strip().replace("<<RULES\n", f"<<RULES && own_open {services}\n", 1)
            refused = f"own_close 2>/dev/null || true\n{NFT.format(table=TABLE, chains=users).strip()}"
            nft = f"{OWN_NFT}if ! {{ {both}\n}} 2>/dev/null; then\n{refused}\nfi\n{OWN_RULES.format(to=services)}"
        returns = [
            f"    [ $t != {'ip6tables' if ':' in net else 'iptables'} ] || $t -w {{table}}-A {CHAIN} -s {net} -j RETURN"
            for net in self.allowed
        ]
        inside = "\n".join(returns)
        tables = IPTABLES.format(
            chain=CHAIN,
            accept=inside.format(table=""),
            answers="".join(ANSWERS_STAY.format(chain=CHAIN, port=to) for _, to in self.sent) if answered else "",
            first="--syn " if lets_end else "",
            ports=ports.replace(" ", ""),
        )
        if answered:
            nat_accept = inside.format(table="-t nat ")
            sent = "\n".join(IPTABLES_SENT.format(chain=CHAIN, ports=",".join(map(str, each)), to=to) for each, to in self.sent)
            tables = IPTABLES_ANSWERED.format(chain=CHAIN, accept=nat_accept, sent=sent) + tables
        return f"{BOTH}if command -v nft >/dev/null; then\n{nft}else\n{tables}fi\n"

    @property
    def users(self) -> str:
        """Which connections are users', for ss, which takes the end of an IPv6 address without a prefix for a port, and then the whole for no filter."""
        ports = " or ".join(f"sport = :{port}" for port in self.ports)
        networks = (ipaddress.ip_network(each) for each in (*self.allowed, "127.0.0.0/8", "::1"))
        allowed = " or ".join(f"dst {network}" for network in networks)
        return f"( {ports} ) and not ( {allowed} )"


def close(host: Access, barrier: Barrier, text: str = NOTICE) -> str:
    """Put the barrier up on a server, now and at every boot; proved by looking.

    Args:
        text: what users read.
    Returns:
        why users' calls are refused there instead of answered; empty when they are answered.
    Raises:
        StepFailed: the packet filter does not take the rules.
    """
    reason, by_tls = users_out_service.start(host, text) if barrier.sent else "no port is named on which they would be answered", ""
    if not reason and barrier.secure:
        answered, by_tls = users_out_certificate.give(host, barrier.secure)
        barrier = replace(barrier, secure=answered)
        reason = "" if barrier.sent else by_tls
    was_open = not closed(host)
    if was_open:
        first = barrier.rules(answered=not reason, lets_end=True)
        host.script(first + open_calls.let_end(barrier.users, barrier.answered_within), cancellable=False)
    rules = barrier.rules(answered=not reason)
    host.script(rules + (CLOSE_IDLE.format(which=barrier.users) if was_open else ""), cancellable=False)
    if not closed(host):
        raise StepFailed(
            f"{host.name}: the firewall rules do not block users",
            "neither nft nor iptables took the rules",
            "install nftables there, or keep users out another way (window.userAccess.method cidr or command)",
        )
    lasting_barrier.keep(host, rules)
    if not reason and host.script(SENT_ON).stdout.strip() != "answered":
        users_out_service.stop(host)
        reason = "its kernel can't send connections to another port, or its own rules can't be opened for the answers"
    return reason or (f"those that come by TLS: {by_tls}" if by_tls else "")


def open_again(host: Access) -> None:
    """Take the barrier away; nothing happens where there is none.

    What would bring it back goes first: a server that dies in between comes up open, as was asked for.
    Raises:
        StepFailed: it is still there.
    """
    lasting_barrier.forget(host)
    host.script(OPEN, cancellable=False)
    if closed(host):
        raise StepFailed(
            f"{host.name}: users are still held out",
            f"table {TABLE} or chain {CHAIN} can't be removed",
            f"there: nft delete table inet {TABLE}; iptables -D INPUT -j {CHAIN}; then run the same command again",
        )
    users_out_service.stop(host)


def closed(host: Access) -> bool:
    """Whether the barrier is up on a server."""
    return host.script(CLOSED).stdout.strip() == "closed"
