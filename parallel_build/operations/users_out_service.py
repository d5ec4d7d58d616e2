"""The service that answers users on a server while they are held out: started before the barrier sends them there, gone with it.

A server without Python 3, or on which the service does not come up, refuses connections instead, and the step says so: nobody is let in for it.
"""

from __future__ import annotations

import inspect
import json

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import users_out_answer
from parallel_build.errors import TimedOut
from parallel_build.remote.access import Access

PORT, TLS_PORT = 18503, 18504
HANDOVER = "cloudstack-parallel-build-answer"  # name of the socket on which the service takes the server's certificate
UNIT = "cloudstack-parallel-build-answer.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
FOLDER = "/etc/cloudstack-parallel-build"  # nothing secret is in it: the service runs as nobody, and users reach it
PROGRAM, SETTINGS = f"{FOLDER}/users-out-answer.py", f"{FOLDER}/users-out-answer.json"
RETRY = 30  # seconds after which a client is asked to try again
CONTENT = f"""[Unit]
Description=Answers users of CloudStack while they are held out of this server
After=network.target

[Service]
ExecStart=/usr/bin/env python3 {PROGRAM} {SETTINGS}
Restart=always
RestartSec=1
User=nobody
NoNewPrivileges=true

[Install]
WantedBy=multi-user.target
"""
REMOVE = f"""
[ -e {UNIT_FILE} ] || [ -L /etc/systemd/system/multi-user.target.wants/{UNIT} ] || [ -e {PROGRAM} ] || exit 0
systemctl stop {UNIT} 2>/dev/null || true
rm -f /etc/systemd/system/multi-user.target.wants/{UNIT} {UNIT_FILE} {PROGRAM} {SETTINGS}
rmdir {FOLDER} 2>/dev/null || true
systemctl daemon-reload
"""
# Asks the service itself: that a unit is active says nothing of its port.
ASK = f"""
python3 - <<'PROBE'
import http.client
connection = http.client.HTTPConnection("127.0.0.1", {PORT}, timeout=3)
connection.request("GET", "/client/api?command=x&response=json")
print(connection.getresponse().status)
PROBE
"""


def start(host: Access, text: str, *, moved: str = "") -> str:
    """Have the service answer; the same again is no change.

    Args:
        text: for people.
        moved: where browsers are sent; empty to send nobody.
    Returns:
        why it does not answer; empty when it does.
    """
    if not host.run(["sh", "-c", "command -v python3 && command -v systemctl"], ok=None).ok:
        return "it has no Python 3"
    say(host, text, moved=moved)
    for path, content in ((PROGRAM, for_old_python(inspect.getsource(users_out_answer))), (UNIT_FILE, CONTENT)):
        if host.read(path) != content.encode():
            host.write(path, content, mode=0o644)
            host.run(["systemctl", "daemon-reload"])
            host.run(["systemctl", "stop", UNIT], ok=None)
    began = host.run(["systemctl", "enable", "--now", UNIT], ok=None)
    if not began.ok:
        return began.stderr.strip()[:200] or f"systemctl enable {UNIT} ended with exit code {began.code}"
    try:
        wait_for(f"{UNIT} on {host.name}", lambda: answers(host), timeout=10, cancel=host.cancel, interval=0.2)
    except TimedOut as error:
        return error.fact
    return ""


def for_old_python(source: str) -> str:
    """A program as Pythons before 3.7 take it, such as that of EL 8 [PEP 563]."""
    return source.replace("from __future__ import annotations\n", "")


def say(host: Access, text: str, *, moved: str = "") -> None:
    """What users read from now on."""
    content = json.dumps({"port": PORT, "tls": TLS_PORT, "handover": HANDOVER, "retry": RETRY, "text": text, "moved": moved})
    if host.read(SETTINGS) != content.encode():
        host.run(["mkdir", "-p", "-m", "0755", FOLDER])
        host.write(SETTINGS, content, mode=0o644)


def there(host: Access) -> bool:
    """Whether the service was set up on the server."""
    return host.read(SETTINGS) is not None


def answers(host: Access) -> bool:
    """Whether the service answers on the server itself."""
    return host.script(ASK, ok=None).stdout.strip() == "503"


def stop(host: Access) -> None:
    """End the service and take everything of it away; calls that have begun are answered first. Nothing happens where there is none."""
    host.script(REMOVE, cancellable=False)
