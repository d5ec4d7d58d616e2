"""The lab's command: its words, its records of processes, and what it makes of a stack file."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import __main__ as command
from lab import machines, processes, stack
from lab.errors import LabError
from lab.files import Lab, Options
from lab.fileserver import SLOW, Handler
from lab.libvirtd import uri
from parallel_build.errors import ParallelBuildError
from parallel_build.machines.container import layer
from parallel_build.machines.container import machine as container
from parallel_build.machines.container.supervisor import start_time
from parallel_build.machines.local_commands import MachineFailed


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Lab("one")


class TestWords:
    def test_options_not_given_are_those_of_the_lab(self, lab: Lab) -> None:
        lab.begin(Options(hosts="containers", management=1, seed=7))
        arguments = command._parser().parse_args(["up"])
        assert command._options(lab, arguments) == Options(hosts="containers", management=1, seed=7)

    def test_a_new_lab_has_the_defaults(self, lab: Lab) -> None:
        assert command._options(lab, command._parser().parse_args(["up"])) == Options()

    @pytest.mark.parametrize(
        "words", [["--family", "el"], ["--new-family", "el"], ["--galera"], ["--one-server", "both"], ["--new-database", "mysql"]]
    )
    def test_what_there_are_no_guests_for_is_made_of_containers(self, lab: Lab, words: list[str]) -> None:
        assert command._options(lab, command._parser().parse_args(["up", *words])).hosts == "containers"
        given = command._parser().parse_args(["up", *words, "--hosts", "libvirt"])
        assert command._options(lab, given).hosts == "libvirt", "refused later, with the cause"
        lab.begin(Options())
        assert command._options(lab, command._parser().parse_args(["up", *words])).hosts == "libvirt"

    def test_a_cluster_has_its_source_first_and_no_replica(self, lab: Lab) -> None:
        servers = [{"name": name, "address": f"10.91.0.{number}"} for name, number in (("olddb1", 13), ("olddb2", 14), ("olddb3", 15))]
        assert stack.galera({"source": servers[0], "replica": servers[1], "engine": "mariadb"}) == {
            "source": servers[0], "nodes": servers[1:], "engine": "mariadb",
        }  # fmt: skip

    def test_the_name_may_stand_on_either_side(self) -> None:
        for words in (["--name", "x", "status"], ["status", "--name", "x"]):
            assert command._parser().parse_args(words).name == "x"

    def test_words_for_another_program_are_left_alone(self) -> None:
        arguments = command._parser().parse_args(["shell", "newms1", "ls", "-l", "--color"])
        assert arguments.command == ["ls", "-l", "--color"]
        assert command._parser().parse_args(["pulumi", "preview", "--diff"]).words == ["preview", "--diff"]

    def test_a_secret_may_come_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("dbKey\n")
        arguments = command._parser().parse_args(["up", "--database-key", f"@{tmp_path}/key"])
        given = command._given(arguments)["database_key"]
        assert given is not None
        assert given.reveal() == "dbKey"

    def test_pulumi_words_get_the_stack(self, lab: Lab) -> None:
        assert stack.pulumi_words(lab, ["up", "--yes"])[2:] == ["--stack", "lab", "--config-file", str(lab.stack_file)]
        assert stack.pulumi_words(lab, ["stack", "history"])[2:] == ["--stack", "lab"]
        assert stack.pulumi_words(lab, ["version"]) == ["version"]

    def test_what_comes_behind_two_dashes_stays_the_value(self, lab: Lab) -> None:
        words = stack.pulumi_words(lab, ["config", "set", "new.carry.jvmOptions[0]", "--", "-Xmx"])
        assert words[:5] == ["config", "set", "new.carry.jvmOptions[0]", "--stack", "lab"]
        assert words[-2:] == ["--", "-Xmx"]


KVM = [{"name": "kvm1"}, {"name": "kvm2"}]


class TestStackFile:
    @pytest.fixture
    def config(self) -> dict[str, Any]:
        prefix = stack.PROJECT_NAME
        return {
            f"{prefix}:phase": "switched",
            f"{prefix}:templates": [{"hypervisor": "KVM"}],
            f"{prefix}:original": {"management": [{"name": "oldms1"}, {"name": "oldms2"}], "version": "4.20.3.0", "hypervisors": KVM},
            f"{prefix}:new": {"management": [{"name": "newms1"}, {"name": "newms2"}], "platform": "libvirt", "usageOn": "newms1"},
        }

    @pytest.mark.parametrize("there", [0, 1, 2])
    def test_containers_and_one_server(self, lab: Lab, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, there: int) -> None:
        monkeypatch.setattr(container, "exists", lambda folder, name: name in [host["name"] for host in KVM[:there]])
        monkeypatch.setattr(stack, "base_root", lambda: Path("/images/base"))
        lab.begin(Options(hosts="containers", management=1))
        stack.adapt(lab, config)
        prefix = stack.PROJECT_NAME
        assert config[f"{prefix}:phase"] == "built"
        assert config[f"{prefix}:original"] == {
            "management": [{"name": "oldms1"}],
            "version": "4.20.3.0",
            "hypervisors": KVM[:there],
            "database": {"engine": "mariadb"},
        }
        assert bool(config[f"{prefix}:templates"]) is bool(there)
        assert config[f"{prefix}:new"] == {
            "management": [{"name": "newms1"}],
            "platform": "container",
            "usageOn": "newms1",
            "database": {"engine": "mariadb", "packages": ["mariadb-server"]},
        }
        assert config[f"{prefix}:platforms"]["container"] == {
            "root": "/images/base",
            "folder": str(lab.new),
            "namespace": "cslab-one",
            "bridge": "lab0",
            "disks": False,
        }

    @pytest.mark.parametrize(("new", "engine"), [(None, "mysql"), ("mariadb", "mariadb")])
    def test_mysql_is_another_root(self, lab: Lab, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, new: Any, engine: str) -> None:
        monkeypatch.setattr(container, "exists", lambda folder, name: False)
        monkeypatch.setattr(stack, "base_root", lambda: Path("/images/base"))
        monkeypatch.setattr(stack, "family_root", lambda family: Path(f"/images/{family}"))
        lab.begin(Options(hosts="containers", management=1, database="mysql", new_database=new))
        stack.adapt(lab, config)
        prefix = stack.PROJECT_NAME
        assert config[f"{prefix}:original"]["database"]["engine"] == "mysql"
        assert config[f"{prefix}:new"]["database"] == {"engine": engine, "packages": [f"{engine}-server"]}
        roots = {"newdb1": "/images/mysql", "newdb2": "/images/mysql"} if engine == "mysql" else None
        assert config[f"{prefix}:platforms"]["container"].get("roots") == roots

    @pytest.mark.parametrize(("family", "new"), [("el", None), ("el", "debian"), ("debian", "el")])
    def test_a_side_shaped_as_el_says_how_it_is_reached(self, lab: Lab, monkeypatch: pytest.MonkeyPatch, family: Any, new: Any) -> None:
        monkeypatch.setattr(container, "exists", lambda folder, name: True)
        monkeypatch.setattr(stack, "base_root", lambda: Path("/images/base"))
        monkeypatch.setattr(stack, "el_root", lambda: Path("/images/el"))
        lab.begin(Options(hosts="containers", management=1, family=family, new_family=new))
        config = yaml.safe_load(stack.TEMPLATE.read_text())["config"]
        stack.adapt(lab, config)
        prefix = stack.PROJECT_NAME
        original, repository = config[f"{prefix}:original"], config[f"{prefix}:new"]["packages"]["repository"]
        shaped = (new or family) == "el"
        assert repository == ("http://10.91.0.1:8000/el-4.22.1.0/" if shaped else "deb [trusted=yes] http://10.91.0.1:8000/4.22.1.0 ./")
        assert config[f"{prefix}:platforms"]["container"]["root"] == ("/images/el" if shaped else "/images/base")
        servers = [*original["management"], original["database"]["source"], original["database"]["replica"], *original["hypervisors"]]
        assert {server.get("sshUser") for server in servers} == ({"deploy"} if family == "el" else {None})
        assert ("admin" in original["database"]) == ("upgrade" in config[f"{prefix}:agents"]) == (family == "el")
        assert bool(config[f"{prefix}:hypervisorSteps"]) == (family == "debian"), "agents come by apt alone, or by the wave"

    def test_the_libvirt_uri_names_the_labs_own_socket(self, lab: Lab) -> None:
        assert uri(lab) == "qemu:///system?socket=/run/cslab-one/libvirt/libvirt-sock"

    def test_a_socket_path_fits(self) -> None:
        assert len(uri(Lab("a" * 20)).partition("=")[2]) < 100


class TestProcesses:
    def test_a_process_is_found_by_id_and_start_time(self, tmp_path: Path) -> None:
        record = tmp_path / "record.json"
        assert processes.find(record) is None
        processes.remember(record, os.getpid())
        assert processes.find(record) == os.getpid()
        record.write_text(json.dumps({"pid": os.getpid(), "start": 1}))
        assert processes.find(record) is None

    def test_a_torn_record_names_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "record.json").write_text('{"pid":')
        assert processes.find(tmp_path / "record.json") is None

    def test_stop_ends_the_process_and_may_be_repeated(self, tmp_path: Path) -> None:
        record = tmp_path / "record.json"
        with subprocess.Popen(["sleep", "100"]) as process:
            processes.remember(record, process.pid)
            processes.stop(record, "a test")
            processes.stop(record, "a test")
            assert start_time(process.pid) is None
        assert not record.exists()

    def test_stop_never_ends_a_stranger(self, tmp_path: Path) -> None:
        record = tmp_path / "record.json"
        record.write_text(json.dumps({"pid": os.getpid(), "start": 1}))
        processes.stop(record, "a test")
        assert not record.exists()


class TestLayer:
    def test_links_are_followed_inside_the_root(self, tmp_path: Path) -> None:
        (tmp_path / "usr/lib").mkdir(parents=True)
        (tmp_path / "lib").symlink_to("usr/lib")
        (tmp_path / "var").mkdir()
        (tmp_path / "var/run").symlink_to("/run")
        (tmp_path / "up").symlink_to("../../..")
        assert layer.resolve(tmp_path, "/lib/systemd") == tmp_path / "usr/lib/systemd"
        assert layer.resolve(tmp_path, "/var/run/x") == tmp_path / "run/x"
        assert layer.resolve(tmp_path, "/up/etc") == tmp_path / "etc"

    def test_a_circle_of_links_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(MachineFailed, match="circle"):
            layer.resolve(tmp_path, "/a/x")

    @pytest.mark.parametrize(("library", "unified"), [("252", False), ("256", True), ("262.1-2", True)])
    def test_newer_systemd_gets_unified_groups(self, tmp_path: Path, library: str, unified: bool) -> None:
        folder = tmp_path / "usr/lib/x86_64-linux-gnu/systemd"
        folder.mkdir(parents=True)
        (folder / f"libsystemd-shared-{library.split('-')[0]}.so").touch()
        assert bool(layer.environment(tmp_path)) is unified


class TestFileServer:
    @pytest.fixture
    def port(self, tmp_path: Path) -> int:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/file").write_bytes(b"x" * SLOW)
        (tmp_path / "secret").write_text("no")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, {"a": str(tmp_path / "a"), "slow": str(tmp_path / "a")}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()

    def test_files_are_served(self, port: int) -> None:
        assert self.get(port, "/a/./file") == (200, b"x" * SLOW)

    def test_the_index_of_a_repository_of_rpms_is_served(self, port: int, tmp_path: Path) -> None:
        (tmp_path / "a/repodata").mkdir()
        (tmp_path / "a/repodata/repomd.xml").write_text("<repomd/>")
        assert self.get(port, "/a/repodata/repomd.xml") == (200, b"<repomd/>")
        assert self.get(port, "/a/other/repomd.xml")[0] == self.get(port, "/a/repodata/../../secret")[0] == 404

    @pytest.mark.parametrize("path", ["/a/../secret", "/secret", "/a/%2e%2e/secret", "/a/..", "/", "/b/file", "/a/..%2fsecret"])
    def test_nothing_else_is(self, port: int, path: str) -> None:
        assert self.get(port, path)[0] == 404

    @pytest.mark.engine
    def test_slow_is_slow(self, port: int) -> None:
        started = time.monotonic()
        assert self.get(port, "/slow/file")[1] == b"x" * SLOW
        assert time.monotonic() - started > 0.8


def test_every_machine_has_an_address_of_its_own() -> None:
    everything = machines.everything(2)
    assert len({machine.address for machine in everything}) == len({machine.name for machine in everything}) == len(everything)
    assert machines.ADDRESS not in {machine.address for machine in everything}


def test_errors_have_the_projects_form() -> None:
    error = LabError("a fact", "a cause", "a remedy")
    assert isinstance(error, ParallelBuildError)
    assert str(error) == "a fact. Cause: a cause. Remedy: a remedy."
