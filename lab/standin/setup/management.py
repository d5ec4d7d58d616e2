"""cloudstack-setup-management: prepares the machine, then stops, enables and starts the service.

Its exit code is 0 whatever happens. [CloudStack 4.22 client/bindir/cloud-setup-management.in,
python/lib/cloudutils/serviceConfigServer.py; texts and commands as seen running]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from ..shared import paths
from ..shared.release import Version, code_version
from . import templates

TEMPLATES_SINCE = Version("4.23.0.0")
LOG = paths.MANAGEMENT_LOG / "setupManagement.log"
SERVICE = "cloudstack-management"
PID_FILE = "/var/run/cloudstack-management.pid"
LIMITS = Path("/etc/security/limits.conf")
LIMIT_LINES = ("cloud soft nproc -1", "cloud hard nproc -1")


class ConfigurationFailed(Exception):
    """A command that the setup needs went wrong."""


def log(text: str) -> None:
    """Add a line to setupManagement.log."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a") as file:
        file.write(f"DEBUG:root:{text}\n")


def execute(*command: str, check: bool = True) -> bool:
    """Run a command and note it in the log; raises ConfigurationFailed."""
    log("execute:" + " ".join(command))
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        failure = outcome.stderr.strip() if outcome.returncode else None
    except OSError as cause:
        failure = str(cause)
    if failure is None:
        return True
    log(f"Failed to execute:{failure}")
    if check:
        raise ConfigurationFailed(failure)
    return False


def prepare_machine(https: bool) -> None:
    """Make what the service needs: pid file, directories, process limits, the redirect of port 443."""
    execute("hostname", "-f", check=False)
    if https:
        rule = ["PREROUTING", "-t", "nat", "-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-port", "8443"]
        if not execute("iptables", "-C", *rule, check=False):
            execute("iptables", "-A", *rule)
    execute("touch", PID_FILE)
    execute("chown", "cloud:cloud", PID_FILE)
    if os.geteuid() != 0:
        raise ConfigurationFailed("Need root privilege to execute this command")
    execute("hostname", "--fqdn")
    execute("mkdir", "-p", "/var/lib/cloudstack/")
    execute("chown", "cloud:cloud", "-R", "/var/lib/cloudstack/")
    present = LIMITS.read_text() if LIMITS.exists() else ""
    missing = [line for line in LIMIT_LINES if line not in present]
    if missing:
        with LIMITS.open("a") as file:
            file.write("".join(f"{line}\n" for line in missing))


def restart_service() -> None:
    """Stop, enable and start the unit."""
    execute("systemctl", "stop", SERVICE)
    execute("systemctl", "enable", SERVICE)
    execute("systemctl", "start", SERVICE)
    time.sleep(1)
    if not execute("systemctl", "is-active", SERVICE, check=False):
        raise ConfigurationFailed(f"{SERVICE} is not active after its start")


def main(arguments: list[str]) -> int:
    """Run the command; returns 0, as the real one does."""
    parser = argparse.ArgumentParser(prog="cloudstack-setup-management")
    parser.add_argument("--https", action="store_true", help="Enable HTTPS connection of the management server")
    parser.add_argument("--tomcat7", action="store_true", help="Deprecated")
    parser.add_argument("--no-start", action="store_true", help="Do not start the management server")
    if downloads := code_version() >= TEMPLATES_SINCE:
        parser.add_argument("--systemvm-templates", default="", help="System VM templates to download, or all; kvm-x86_64 always is")
        parser.add_argument("--systemvm-templates-repository", default="", help="Where they are downloaded from")
    options = parser.parse_args(arguments)
    if downloads and not templates.wanted(options.systemvm_templates):
        return 1
    print("Starting to configure CloudStack Management Server:")
    if options.tomcat7:
        print("The --tomcat7 option is deprecated, CloudStack now uses embedded Jetty server.")
    sys.stdout.write("Configure CloudStack Management Server ...")
    sys.stdout.flush()
    try:
        prepare_machine(options.https)
        if options.no_start:
            print("Configured successfully, but not starting management server.")
        else:
            restart_service()
    except ConfigurationFailed as failure:
        log(str(failure))
        print("[Failed]")
        print(f"Failed to configure CloudStack Management Server, please see the {LOG} for detail")
        print("Try to restore your system:")
        print("Restore CloudStack Management Server ...[OK]")
        return 0
    print("[OK]")
    print("CloudStack Management Server setup is Done!")
    if downloads:
        templates.download(options.systemvm_templates, options.systemvm_templates_repository, log)
    print(
        "Please ensure ports 8080, 8250, 8443, and 9090 are opened and not firewalled for the management server "
        "and not in use by other processes on this host."
    )
    return 0
