"""The library where no checkout is: a wheel in an empty folder with Python and Pulumi, a short program with two clouds, `pulumi preview`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from parallel_build.project import CODE
from tests.fast.wheels import build_wheel, environment_with

pytestmark = [
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="the Pulumi CLI is not on PATH: `. scripts/environment` first"),
    pytest.mark.engine,
    pytest.mark.timeout(600),
]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq5sD0mC8v0l0l1l2l3l4l5l6l7l8l9l0l1l2l3"
PROGRAM = """
import pulumi
from parallel_build import components as c

config, key = pulumi.Config(), {key!r}
for name, net in (("east", "10.1.0"), ("west", "10.2.0")):
    new = lambda machine, last: c.OwnMachine(f"{{name}}-{{machine}}", f"{{net}}.{{last}}", key)
    old = lambda machine, last: dict(name=f"{{name}}-{{machine}}", address=f"{{net}}.{{last}}", host_key=key)
    secrets = c.CloudSecrets(*(config.require_secret(each) for each in ("apiKey", "apiSecret", "cloud", "replication", "management")))
    cloud = c.Cloud(name, c.CloudArgs(
        original=dict(version="4.20.3.0", management=[old("oldms", 11)], database=dict(source=old("olddb", 12)),
            api=dict(url=f"http://{{net}}.11:8080/client/api")),
        new=dict(version="4.22.1.0", management=[new("ms", 21)], database=dict(source=new("db1", 22), replica=new("db2", 23))),
        window=dict(user_access=dict(method="firewall", administrators=[f"{{net}}.1/32"])), rehearsal=dict(waived="a test"),
        secrets=secrets, phase=config.require("phase"), ssh=dict(identity_file="id")))
    database = c.ReplicatedDatabase(f"{{name}}-database", c.ReplicatedDatabaseArgs(cloud))
    management = c.ManagementServers(f"{{name}}-management", c.ManagementServersArgs(cloud))
    preparation = c.Preparation(f"{{name}}-preparation", c.PreparationArgs(cloud, database, management))
    c.Cutover(f"{{name}}-cutover", c.CutoverArgs(cloud, preparation))
    pulumi.export(name, cloud.host)
"""
PROJECT = {"name": "mine", "runtime": {"name": "python", "options": {"virtualenv": "../env"}}}
SECRETS = {
    "apiKey": "apikey-0123456789",
    "apiSecret": "apisecret-01234567",
    "cloud": "cloudpassword1",
    "replication": "replication12",
    "management": "managementkey1",
}
INSTALL = "parallel-build plugin install"


class Place:
    """A folder with Python and Pulumi, and nothing of this checkout."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder, self.project = folder, folder / "project"
        self.bin = environment_with(wheel, folder / "env") / "bin"
        for name in ("project", "state", "home"):
            (folder / name).mkdir()
        (self.project / "Pulumi.yaml").write_text(yaml.safe_dump(PROJECT))
        self.write(PROGRAM.format(key=KEY))
        self.pulumi("stack", "init", "prod")
        self.pulumi("config", "set", "phase", "built")
        for name, value in SECRETS.items():
            self.pulumi("config", "set", "--secret", name, value)

    def write(self, program: str) -> None:
        """The program."""
        (self.project / "__main__.py").write_text(program)

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the run's own but Pulumi's folder on PATH."""
        pulumi = Path(shutil.which("pulumi") or "").parent
        return {
            "PATH": os.pathsep.join([str(self.bin), str(pulumi), "/usr/bin", "/bin"]),
            "HOME": str(self.folder / "home"),
            "PULUMI_HOME": str(self.folder / "home/.pulumi"),
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints."""
        done = subprocess.run(words, cwd=self.project, env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        assert bool(done.returncode) == bool(code), done.stdout + done.stderr
        return done.stdout + done.stderr

    def pulumi(self, *words: str, code: int = 0) -> str:
        """The same of Pulumi's CLI."""
        return self.run("pulumi", "--non-interactive", *words, code=code)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The folder, with the wheel installed."""
    folder = tmp_path_factory.mktemp("installed")
    yield Place(folder, build_wheel(folder))


def test_a_missing_provider_is_refused_with_the_command_that_installs_it(place: Place) -> None:
    shown = place.pulumi("preview", "--stack", "prod", code=1)
    assert f"run `{INSTALL}`" in shown and "Traceback" not in shown
    assert "installed" in place.run(*INSTALL.split())
    assert "is there already" in place.run(*INSTALL.split())


def test_two_clouds_in_a_short_program_are_previewed_in_every_phase(place: Place) -> None:
    place.run(*INSTALL.split())
    for phase, step, count in (("built", "CloudDatabases", 2), ("prepared", "Ready", 2), ("switched", "Acceptance", 2)):
        place.pulumi("config", "set", "phase", phase)
        shown = place.pulumi("preview", "--diff", "--stack", "prod")
        assert shown.count(f"cutover:index:{step}: (create)") == count, shown
        assert "10.1.0.21" in shown and "10.2.0.21" in shown
        assert [value for value in SECRETS.values() if value in shown] == []
    assert str(CODE) not in shown


def test_the_schema_describes_every_resource(place: Place) -> None:
    place.run(*INSTALL.split())
    shown = place.run("parallel-build", "plugin", "where").strip()
    schema = json.loads(place.pulumi("package", "get-schema", shown))
    assert {"cutover:index:Window", "cutover:index:SshHostKey"} <= schema["resources"].keys()
    for token, resource in schema["resources"].items():
        assert resource["description"], token
        assert resource["inputProperties"] and all(each["description"] for each in resource["inputProperties"].values()), token


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'version="4.22.1.0"',
            'versoin="4.22.1.0"',
            ("Cloud 'east':", "args.new.versoin: this key is not known here", "args.new.version: this key is missing"),
        ),
        ("api=dict(", "apis=dict(", ("Cloud 'east':", "args.original.api: this key is missing")),
        (
            "c.PreparationArgs(cloud, database",
            "c.PreparationArgs(cloud, None",
            ("Preparation 'east-preparation': args.database is missing", "give it a ReplicatedDatabase"),
        ),
        (
            "c.CutoverArgs(cloud, preparation)",
            "c.CutoverArgs(cloud, database)",
            ("Cutover 'east-cutover': args.preparation is a ReplicatedDatabase",),
        ),
        ("original=dict(", "parity=None and dict(", ("args.original: this key is missing",)),
        ("c.ReplicatedDatabaseArgs(cloud)", "c.ReplicatedDatabaseArgs()", ("ReplicatedDatabase 'east-database': args.cloud is missing",)),
        (
            "secrets = c.CloudSecrets(*",
            "secrets = c.CloudSecrets('a', *[]) if True else (",
            ("args.secrets.original_api_secret: this key is missing",),
        ),
        ("secrets=secrets", "secrets='x'", ("Cloud 'east': args.secrets is a str",)),
        ('config.require("phase")', 'config.require_secret("phase")', ("Cloud 'east': args.phase is an Output", "Remedy: give it a value")),
        (
            "c.CutoverArgs(cloud, preparation)",
            "c.CutoverArgs(globals().setdefault('one', cloud), preparation)",
            ("belongs to cloud 'west', and args.cloud is 'east'",),
        ),
        ("phase=config", "label='same', phase=config", ("Cloud 'west': args.label is 'same', and cloud 'east' has it already",)),
    ],
)
def test_wrong_arguments_are_refused_in_the_preview(place: Place, old: str, new: str, words: tuple[str, ...]) -> None:
    place.run(*INSTALL.split())
    program = PROGRAM.format(key=KEY)
    assert old in program
    place.write(program.replace(old, new))
    try:
        shown = place.pulumi("preview", "--stack", "prod", code=1)
    finally:
        place.write(program)
    for each in (*words, "Remedy:"):
        assert each in shown.replace("\n    ", "\n"), shown
    assert "Traceback" not in shown and "nothing has been contacted" in shown


def test_the_example_with_machines_of_ones_own_is_previewed(place: Place) -> None:
    place.run(*INSTALL.split())
    own, names = place.folder / "own", ("originalApiKey", "originalApiSecret", "cloudPassword", "replicationPassword", "managementKey")
    shutil.copytree(CODE / "examples/own", own)
    project = yaml.safe_load((own / "Pulumi.yaml").read_text())
    project["runtime"]["options"]["virtualenv"] = "../env"
    (own / "Pulumi.yaml").write_text(yaml.safe_dump(project))
    keys = {f"{cloud}-new-{server}": KEY for cloud in ("east", "west") for server in ("mgmt-1", "mgmt-2", "db-1", "db-2")}
    secrets = [f"{cloud}-{name}={value}" for cloud in ("east", "west") for name, value in zip(names, SECRETS.values(), strict=True)]
    before, place.project = place.project, own
    try:
        place.pulumi("stack", "init", "prod")
        place.pulumi(
            "config", "set-all", *(word for secret in secrets for word in ("--secret", secret)), "--plaintext", "east-phase=switched"
        )
        place.pulumi("config", "set", "hostKeys", json.dumps(keys))
        shown = place.pulumi("preview", "--diff", "--stack", "prod")
    finally:
        place.project = before
    assert shown.count("cutover:index:ExistingMachine: (create)") == 8
    assert shown.count("cutover:index:Window: (create)") == 1, "one cloud is further than the other"


def test_a_provider_that_is_older_than_the_library_is_refused(place: Place) -> None:
    """The library is of version 9.9.9, and what is installed under that name runs a Python that has an earlier one."""
    (about,) = (place.folder / "env").glob("lib/python*/site-packages/cloudstack_parallel_build-*.dist-info/METADATA")
    text = about.read_text()
    about.write_text(re.sub(r"^Version: .*$", "Version: 9.9.9", text, count=1, flags=re.MULTILINE))
    try:
        place.run(*INSTALL.split())
        program = Path(place.run("parallel-build", "plugin", "where").strip())
        assert program.parent.name.endswith("v9.9.9")
        lines = program.read_text().replace(str(place.bin / "python"), sys.executable)
        program.write_text(lines.replace("exec ", f"PYTHONPATH={CODE} exec "))
        shown = place.pulumi("preview", "--stack", "prod", code=1)
    finally:
        about.write_text(text)
    assert "asks for version 9.9.9 of the provider cutover" in shown and INSTALL in shown


def test_the_version_of_a_build_is_the_tags(tmp_path: Path) -> None:
    """A clone with a tag, one with commits after it, and one without tags."""
    source = tmp_path / "source"
    build_wheel(tmp_path, keep=source)

    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(source), *identity, *words], check=True, capture_output=True)

    def version() -> str:
        words = [sys.executable, "setup.py", "--version"]
        return subprocess.run(words, cwd=source, check=True, capture_output=True, text=True).stdout.split()[-1]

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert version() == "0.1.0"
    git("tag", "v1.2.3")
    assert version() == "1.2.3"
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert version() == "1.2.4.dev1"
