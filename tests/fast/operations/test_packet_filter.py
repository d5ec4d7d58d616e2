"""The barrier's scripts, run by a shell with stand-ins for the packet filters, and its question to ss by ss itself."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from parallel_build.operations import open_calls
from parallel_build.operations.packet_filter import CLOSE_IDLE, OPEN, SENT_ON, Barrier

BARRIER = Barrier(["192.0.2.0/24", "198.51.100.7", "2001:db8::/64", "2001:db8:1::7"], [80, 443, 8080], [80, 8080])


@pytest.mark.skipif(shutil.which("ss") is None, reason="no ss (iproute2) on this machine")
def test_ss_takes_the_question_for_users_connections() -> None:
    asked = subprocess.run(["ss", "-Htn", "state", "established", BARRIER.users], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")


def test_every_address_in_the_question_has_its_prefix() -> None:
    networks = [words.split()[0].rstrip(")") for words in BARRIER.users.split("dst ")[1:]]
    assert networks == ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/64", "2001:db8:1::7/128", "127.0.0.0/8", "::1/128"]


def run_with_stand_ins(folder: Path, rules: str, *, ipv6: bool, own: str = "") -> list[str]:
    """Run a script with no other tools than stand-ins; ip6tables refuses everything where the kernel has no IPv6.

    Args:
        own: what the server's INPUT chain has.
    Returns:
        the commands that it gave, in order.
    """
    log, families = folder / "log", folder / "if_inet6"
    for tool in ("iptables", "ip6tables"):
        refuses = tool == "ip6tables" and not ipv6
        (folder / tool).write_text(
            f'#!/bin/sh\necho "{tool} $*" >>{log}\ncase "$*" in *" -C "*|*" -D "*) exit 1;; *" -S INPUT") echo "{own}";; esac\nexit {3 if refuses else 0}\n'
        )
        (folder / tool).chmod(0o755)
    if ipv6:
        families.touch()
    text = "set -eu\n" + rules.replace("/proc/net/if_inet6", str(families))
    done = subprocess.run(["/bin/sh", "-s"], input=text, capture_output=True, text=True, check=False, env={"PATH": str(folder)})
    assert (done.returncode, done.stderr) == (0, "")
    return log.read_text().splitlines()


@pytest.mark.parametrize("answered", [True, False])
def test_a_kernel_without_ipv6_has_the_barrier_for_ipv4(tmp_path: Path, answered: bool) -> None:
    given = run_with_stand_ins(tmp_path, BARRIER.rules(answered=answered), ipv6=False)
    assert "iptables -w -I INPUT 1 -j CSPB-USERS" in given and not any(words.startswith("ip6tables") for words in given)


def test_each_family_lets_its_own_administrators_in(tmp_path: Path) -> None:
    given = run_with_stand_ins(tmp_path, BARRIER.rules(answered=True), ipv6=True)
    for tool, network in (("iptables", "198.51.100.7"), ("ip6tables", "2001:db8:1::7")):
        returns, rejects = (
            f"{tool} -w -A CSPB-USERS -s {network} -j RETURN",
            f"{tool} -w -A CSPB-USERS -p tcp -m multiport --dports 80,443,8080",
        )
        assert given.index(returns) < next(place for place, words in enumerate(given) if words.startswith(rejects))
        assert f"{tool} -w -t nat -A CSPB-USERS -s {network} -j RETURN" in given
    assert not any(words.startswith("iptables") and "2001:" in words for words in given)


def test_open_connections_may_end_first_without_nft_too(tmp_path: Path) -> None:
    given = run_with_stand_ins(tmp_path, BARRIER.rules(answered=True, lets_end=True), ipv6=True)
    rejecting = [words for words in given if "REJECT" in words]
    assert len(rejecting) == 2 and all(" -p tcp --syn -m multiport " in words for words in rejecting)


def test_answers_pass_a_servers_own_rules_without_nft(tmp_path: Path) -> None:
    """The rules of a server may end in a refusal of everything that they do not name, and nobody has named the service's port there."""
    given = run_with_stand_ins(tmp_path, BARRIER.rules(answered=True), ipv6=True)
    assert "iptables -w -A CSPB-USERS -p tcp --dport 18503 -m conntrack --ctstate DNAT -j ACCEPT" in given


ACCEPT = "INPUT 1 -p tcp --dport 18503 -m conntrack --ctstate DNAT -j ACCEPT"


@pytest.mark.parametrize(
    ("own", "opened"), [("-P INPUT DROP", True), ("-P INPUT ACCEPT\n-A INPUT -j REJECT", True), ("-P INPUT ACCEPT", False)]
)
def test_answers_pass_iptables_rules_next_to_nft(tmp_path: Path, own: str, opened: bool) -> None:
    """What nft accepts iptables still drops: callers would wait until they give up, instead of being answered or refused."""
    (tmp_path / "nft").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "nft").chmod(0o755)
    given = run_with_stand_ins(tmp_path, BARRIER.rules(answered=True), ipv6=True, own=own)
    assert (f"iptables -w -I {ACCEPT}" in given, f"ip6tables -w -I {ACCEPT}" in given) == (opened, opened)
    (tmp_path / "log").unlink()
    assert f"iptables -w -D {ACCEPT.replace('INPUT 1', 'INPUT')}" in run_with_stand_ins(tmp_path, OPEN, ipv6=True)


NAMESPACES = ["unshare", "-rnm"]
HAS_NAMESPACES = (
    shutil.which("nft") and subprocess.run([*NAMESPACES, "nft", "list", "ruleset"], capture_output=True, check=False).returncode == 0
)
# A server with rules of its own, and a user's machine, each in a network of its own that nothing else is in.
SERVER = """
set -eu
unshare -n sleep 60 & there=$!
trap 'kill $there' EXIT
while [ "$(readlink /proc/$there/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add here type veth peer name there netns $there
ip addr add 10.9.0.1/24 dev here; ip link set here up; ip link set lo up
nsenter -n -t $there sh -c 'ip addr add 10.9.0.2/24 dev there; ip link set there up'
nft -f - <<RULES
table inet filter {
 chain input { type filter hook input priority 0; policy drop;
  ct state established,related accept
  tcp dport { 22, 8080 } accept
 }
 chain forward { type filter hook forward priority 0; policy drop;
 }
}
table ip other {
 chain in { type filter hook input priority 20; policy accept;
 }
}
RULES
before=$(nft list ruleset)
python3 -m http.server 18503 --bind 0.0.0.0 --directory /proc/sys/kernel/random >/dev/null 2>&1 & web=$!
trap 'kill $there $web' EXIT
for n in $(seq 100); do ss -Hltn | grep -q 18503 && break; sleep 0.05; done
ask() { nsenter -n -t $there curl -s -o /dev/null -m 3 -w '%{http_code}\\n' http://10.9.0.1:8080/uuid || echo "none ($?)"; }
"""


@pytest.mark.processes
@pytest.mark.skipif(not HAS_NAMESPACES, reason="no nft, or no network namespaces for this user")
def test_answers_pass_a_servers_own_nft_rules_and_leave_them_as_they_were(tmp_path: Path) -> None:
    rules = BARRIER.rules(answered=True)
    text = f'{SERVER}\n{rules}\nask\n{rules}\nnft list ruleset | grep -c \'dport 18503\'\n{OPEN}\n[ "$before" = "$(nft list ruleset)" ] && echo as it was\n'
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split("\n"), done.returncode) == (["200", "1", "as it was", ""], 0), done.stderr


@pytest.mark.processes
@pytest.mark.skipif(not HAS_NAMESPACES, reason="no nft, or no network namespaces for this user")
@pytest.mark.parametrize(("first", "changed"), [("", "0"), ("tcp dport 25 drop\n  ", "1")])
def test_a_chain_that_takes_redirected_connections_first_is_left_alone(tmp_path: Path, first: str, changed: str) -> None:
    """firewalld's chain does, and newer ones let nobody else change it."""
    server = SERVER.replace("established,related accept", f"established,related accept\n  {first}ct status dnat accept")
    rules = BARRIER.rules(answered=True)
    text = f'{server}\n{rules}\nask\nnft list ruleset | grep -c \'dport 18503\' || true\n{OPEN}\n[ "$before" = "$(nft list ruleset)" ] && echo as it was\n'
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split("\n"), done.returncode) == (["200", changed, "as it was", ""], 0), done.stderr


@pytest.mark.skipif(not HAS_NAMESPACES, reason="no nft, or no network namespaces for this user")
def test_calls_by_tls_are_sent_to_a_port_of_their_own(tmp_path: Path) -> None:
    """What answers there is stood for by a web server; connections to it pass the server's own rules too."""
    rules = replace(BARRIER, secure=[443]).rules(answered=True)
    server = SERVER.replace("18503 --bind", "18504 --bind").replace("grep -q 18503", "grep -q 18504").replace(":8080/uuid", ":443/uuid")
    text = f'{server}\n{rules}\nask\n{rules}\nnft list ruleset | grep -c \'dport 1850[34]\'\n{OPEN}\n[ "$before" = "$(nft list ruleset)" ] && echo as it was\n'
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split("\n"), done.returncode) == (["200", "2", "as it was", ""], 0), done.stderr


@pytest.mark.processes
@pytest.mark.skipif(not (HAS_NAMESPACES and shutil.which("iptables")), reason="no iptables, or no network namespaces for this user")
def test_without_nft_the_same_rules_again_refuse_nobody_and_let_nobody_in(tmp_path: Path) -> None:
    """A user asks after every single command: nothing listens on the server's own port, so a call that is let in is refused as well."""
    tool, asked = tmp_path / "iptables", tmp_path / "asked"
    tool.write_text(
        f'#!/bin/sh\n{shutil.which("iptables")} "$@" || exit\n'
        f"nsenter -n -t $there curl -s -o /dev/null -m 3 -w '%{{http_code}}\\n' http://10.9.0.1:8080/uuid >>{asked} || echo none >>{asked}\n"
    )
    tool.chmod(0o755)
    rules = BARRIER.rules(answered=True).replace("command -v nft", "false")
    shown = "iptables -S CSPB-USERS; iptables -t nat -S CSPB-USERS"
    text = f"{SERVER.replace('policy drop', 'policy accept')}\nexport there\n{rules}\n{shown}\necho again\nPATH={tmp_path}:$PATH\n{rules}\n{shown}\n"
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    before, _, after = done.stdout.partition("again\n")
    assert (after, done.returncode) == (before, 0) and "REDIRECT" in before, done.stderr
    answers = asked.read_text().split()
    assert len(answers) > 20 and set(answers) == {"200"}, answers


@pytest.mark.processes
@pytest.mark.skipif(not HAS_NAMESPACES, reason="no nft, or no network namespaces for this user")
def test_where_its_own_rules_can_not_be_opened_users_are_refused_at_once(tmp_path: Path) -> None:
    tool = tmp_path / "nft"
    tool.write_text(f'#!/bin/sh\ncase "$*" in "insert rule"*) exit 1;; esac\nexec {shutil.which("nft")} "$@"\n')
    tool.chmod(0o755)
    text = f"{SERVER}\nPATH={tmp_path}:$PATH\n{BARRIER.rules(answered=True)}\nask\n{SENT_ON}\n"
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["000", "none (7)", "refused"], done.stderr


SLOW_SERVER = """
import http.server, pathlib, time
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            pathlib.Path("got").touch()
            time.sleep(5)
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
CALLERS = """
import http.client, pathlib, threading, time
def call(client, path):
    try:
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
def client(): return http.client.HTTPConnection("10.9.0.1", 8080, timeout=60)
kept, unused, slow, seen = client(), client(), client(), []
assert call(kept, "/quick") == 200
unused.connect()
asking = threading.Thread(target=lambda: seen.append(call(slow, "/slow")))
asking.start()
while not pathlib.Path("up").exists(): time.sleep(0.05)
asking.join()
print("slow", *seen)
kept.auto_open = 0
print("kept", call(kept, "/quick") == 200)
print("new", call(client(), "/uuid"))
"""


@pytest.mark.processes
@pytest.mark.skipif(not HAS_NAMESPACES or shutil.which("ss") is None, reason="no nft, no ss, or no network namespaces for this user")
@pytest.mark.parametrize(("answered", "new"), [(True, "200"), (False, "ConnectionRefusedError")])
def test_a_call_that_was_received_is_answered_and_idle_connections_keep_nobody_waiting(tmp_path: Path, answered: bool, new: str) -> None:
    """It takes longer than the moment for which connections in use were left; neither a connection that is answered nor one without a call is waited for."""
    for name, text in (("server.py", SLOW_SERVER), ("callers.py", CALLERS)):
        (tmp_path / name).write_text(text)
    barrier = BARRIER.rules(answered=answered, lets_end=True) + open_calls.let_end(BARRIER.users, 40)
    last = BARRIER.rules(answered=answered) + CLOSE_IDLE.format(which=BARRIER.users)
    text = f"""{SERVER.replace("sleep 60", "sleep 120")}
cd {tmp_path}
python3 server.py & slow=$!
trap 'kill $there $web $slow' EXIT
for n in $(seq 100); do ss -Hltn | grep -q ':8080 ' && break; sleep 0.05; done
nsenter -n -t $there python3 callers.py >seen & callers=$!
while [ ! -e got ]; do sleep 0.05; done
{barrier}
echo answered after $n looks
{last}
touch up; wait $callers; cat seen
"""
    done = subprocess.run([*NAMESPACES, "sh", "-s"], input=text, capture_output=True, text=True, check=False, timeout=120)
    first, *seen = done.stdout.splitlines()
    assert (seen, done.returncode) == (["slow 200", "kept False", f"new {new}"], 0), (first, done.stderr)
    assert 0 < int(first.split()[2]) < 150, f"{first}: it waits for the call, and for nothing else"


def test_the_redirection_comes_before_the_refusal(tmp_path: Path) -> None:
    """Both at once would refuse a call whose first packet is between the two hooks at that moment."""
    (tmp_path / "nft").write_text(f'#!/bin/sh\nwhile read -r line; do echo "$line" >>{tmp_path / "rules"}; done\n')
    (tmp_path / "nft").chmod(0o755)
    taken = []
    for lets_end in (True, False):
        run_with_stand_ins(tmp_path, BARRIER.rules(answered=True, lets_end=lets_end), ipv6=True)
        rules = (tmp_path / "rules").read_text()
        taken.append(("redirect to :18503" in rules, "reject with tcp reset" in rules))
        (tmp_path / "rules").unlink()
    assert taken == [(True, False), (True, True)]
