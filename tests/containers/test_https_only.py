"""A cloud whose management servers serve https alone, old and new, with certificates by name: found, built, prepared, switched, and back.

One lab of its own, and one story: each test begins where the one before it ended.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator

import pytest
import requests

from lab.machines import NEW_MANAGEMENT, OLD_MANAGEMENT, USER_ADDRESS, Machine
from parallel_build.cloudstack import api, endpoint
from parallel_build.cloudstack.web import SERVER_PROPERTIES
from parallel_build.operations import users_out_service
from parallel_build.resolved_stack import Site
from parallel_build.steps.user_access import UserAccess
from tests.authority import PASSWORD, Authority
from tests.containers.conftest import UP_LIMIT, LabRunner, tell
from tests.containers.health_stand import Stand
from tests.containers.test_user_access import access, window

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
OLD, NEW = OLD_MANAGEMENT[0], NEW_MANAGEMENT[0]
NAMES = {OLD.name: "cloud.example.org", NEW.name: "cloud-new.example.org"}
KEYSTORE = "/etc/cloudstack/management/server.p12"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRunner]:
    """A lab of its own with one management server a side, in phase `prepared`; everything on it is http at first."""
    runner = LabRunner(f"{os.environ.get('CUTOVER_TEST_LAB', 'test')[:15]}-tls")
    if os.environ.get("CUTOVER_TEST_LAB_KEEP"):
        yield runner
        return
    runner.run("down")
    try:
        tell("up, prepared")
        began = time.monotonic()
        runner.run("up", "--hosts", "containers", "--management", "1", "--rows", "200", timeout=UP_LIMIT)
        tell(f"prepared after {time.monotonic() - began:.0f} s")
        yield runner
    finally:
        runner.run("down", check=False)


@pytest.fixture(scope="module")
def authority(lab: LabRunner) -> Authority:
    """The authority of both sides' certificates, its own in a file of the lab."""
    return Authority(lab.folder, "authority")


def set_value(lab: LabRunner, path: str, value: str) -> None:
    """Set one value of the stack file."""
    lab.run("pulumi", "config", "set", "--path", path, value)


def https_only(lab: LabRunner, machine: Machine, authority: Authority) -> None:
    """Have a server open https alone when it starts, as CloudStack's documentation says it."""
    keystore = base64.b64encode(authority.keystore(NAMES[machine.name]).read_bytes()).decode()
    settings = f"http.enable=false\\nhttps.enable=true\\nhttps.keystore={KEYSTORE}\\nhttps.keystore.password={PASSWORD}\\n"
    lab.shell(
        machine.name,
        f"umask 027; echo {keystore} | base64 -d >{KEYSTORE} && chgrp cloud {KEYSTORE} && "
        f"sed -i '/^https*.enable=/d; /^https.keystore/d' {SERVER_PROPERTIES} && printf '{settings}' >>{SERVER_PROPERTIES}",
    )


def listening(lab: LabRunner, machine: Machine) -> set[str]:
    """Which of CloudStack's ports are open on a server, seen by itself."""
    ports = lab.shell(machine.name, "ss -Hltn | awk '{print $4}'")
    return {line.rpartition(":")[2] for line in ports.splitlines()} & {"8080", "8443", "8250", "9090"}


def answers(stand: Stand, site: Site) -> int | None:
    """What the original's server answers to an unsigned call, as the stack is configured."""
    return stand.inside(lambda: api.status(endpoint.of_original(site.configuration, site.configuration.original.management[0])))


def check(lab: LabRunner, *words: str) -> str:
    """The guards, which must fail with these words."""
    done = lab.run("tool", "check", "lab", check=False)
    reported = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1, reported[-4000:]
    for each in words:
        assert each in reported, (each, reported[-4000:])
    return reported


def test_guards_say_what_the_stack_file_lacks_one_after_the_other(lab: LabRunner, authority: Authority) -> None:
    https_only(lab, OLD, authority)
    lab.shell(OLD.name, "systemctl restart cloudstack-management")
    deadline = time.monotonic() + 120
    while "8443" not in listening(lab, OLD):
        assert time.monotonic() < deadline, "https did not open"
        time.sleep(0.5)
    assert listening(lab, OLD) == {"8443", "8250", "9090"}
    tell("guards: the stack file says http")
    check(
        lab, "http://10.91.0.11:8080/client/api does not answer", "no http, https on 8443", "set original.api.scheme and original.api.port"
    )
    tell("guards: https, and no authority named")
    set_value(lab, "original.api.url", f"https://{OLD.address}:8443/client/api")
    check(lab, "is of no authority that is trusted", "this machine's own authorities", "in original.api.caFile")
    tell("guards: the authority, and a certificate by name")
    set_value(lab, "original.api.caFile", "${CUTOVER_LAB}/authority.pem")
    check(lab, f"is made out to another name than {OLD.address}", "IP address mismatch", "set original.api.serverName")
    set_value(lab, "original.api.serverName", NAMES[OLD.name])
    stand = Stand(lab)
    assert answers(stand, stand.site) == 401
    tell("guards: the new side is to serve https, and would not")
    set_value(lab, "new.api.scheme", "https")
    set_value(lab, "new.api.caFile", "${CUTOVER_LAB}/authority.pem")
    set_value(lab, f"new.api.serverNames.{NEW.name}", NAMES[NEW.name])
    check(lab, f"{NEW.name} will serve http on 8080, no https, not https on 8443")
    https_only(lab, NEW, authority)
    lab.shell(NEW.name, f"chgrp root {KEYSTORE}")
    check(lab, f"{NEW.name} would start without https: user cloud can't read {KEYSTORE}")
    lab.shell(NEW.name, f"chgrp cloud {KEYSTORE}")
    tell("guards: all hold")
    lab.run("tool", "check", "lab")


def test_built_and_prepared_over_https(lab: LabRunner) -> None:
    for phase in ("built", "prepared"):
        began = time.monotonic()
        lab.run("pulumi", "config", "set", "phase", phase)
        lab.run("pulumi", "up", "--yes", "--skip-preview")
        tell(f"{phase} after {time.monotonic() - began:.0f} s")
    lab.run("pulumi", "preview", "--expect-no-changes")


def test_users_who_come_by_tls_are_answered_with_the_servers_own_certificate(lab: LabRunner) -> None:
    stand = Stand(lab)

    def call() -> tuple[int, str]:
        where = endpoint.of_original(stand.site.configuration, stand.site.configuration.original.management[0])
        with where.session(USER_ADDRESS) as session:
            reply = session.get(where.url, params={"command": "listZones", "response": "json"}, timeout=10)
        return reply.status_code, reply.text

    def run() -> None:
        assert call()[0] == 401
        with window(stand, access(stand)) as context:
            UserAccess().apply(context)
            for again in (False, True):
                status, text = call()
                assert status == 503 and "listzonesresponse" in text, (again, status, text)
                UserAccess().apply(context)
            assert not [line for line in context.run.path.joinpath("run.log").read_text().splitlines() if "refused, not answered" in line]
            lab.shell(OLD.name, f"systemctl kill -s KILL {users_out_service.UNIT}; sleep 2; systemctl is-active {users_out_service.UNIT}")
            with pytest.raises(requests.ConnectionError):
                call()  # the key was in its memory alone
            UserAccess().apply(context)
            assert call()[0] == 503
            UserAccess().revert(context)
            assert call()[0] == 401
        left = lab.shell(OLD.name, f"ss -Hltn | grep -c 1850 || true; ls {users_out_service.FOLDER} 2>&1 || true")
        assert left.split()[0] == "0" and "No such file" in left, left

    stand.inside(run)


def test_a_new_server_that_is_not_trusted_ends_the_wait_and_is_followed_on(lab: LabRunner) -> None:
    set_value(lab, f"new.api.serverNames.{NEW.name}", "another.example.org")
    tell("switch, with another name than the new server's certificate has")
    stopped = lab.run("switch", check=False)
    reported = " ".join(stopped.stdout.split())
    assert stopped.returncode != 0
    assert f"the certificate of https://{NEW.address}:8443/client/api is made out to another name than another.example.org" in reported, (
        reported[-4000:]
    )
    assert "set new.api.serverName (or serverNames" in reported
    recovered = lab.run("tool", "recover", "lab", check=False).stdout
    assert "API ANSWERS, and is not trusted" in recovered, recovered
    assert "Which side serves is not known" in recovered, recovered
    set_value(lab, f"new.api.serverNames.{NEW.name}", NAMES[NEW.name])


def test_switched_and_back_over_https(lab: LabRunner) -> None:
    began = time.monotonic()
    went_on = lab.run("switch").stdout
    assert f"{NEW.name} was started before, following it on" in went_on and "importing it again" not in went_on, went_on[-4000:]
    tell(f"switched after {time.monotonic() - began:.0f} s")
    assert listening(lab, NEW) == {"8443", "8250", "9090"}
    assert listening(lab, OLD) == set()
    recovered = lab.run("tool", "recover", "lab").stdout
    assert "The NEW side serves." in recovered and "not trusted" not in recovered, recovered
    began = time.monotonic()
    lab.run("back")
    tell(f"back after {time.monotonic() - began:.0f} s")
    assert listening(lab, OLD) == {"8443", "8250", "9090"}
    assert listening(lab, NEW) == set()
    recovered = lab.run("tool", "recover", "lab").stdout
    assert "The ORIGINAL serves." in recovered and "not trusted" not in recovered, recovered
    stand = Stand(lab)
    assert answers(stand, stand.site) == 401
