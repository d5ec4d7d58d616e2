"""The provider under the real engine, with toy steps: recorded failures, resume, order of undo, limits, secrets, a killed engine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fast.sites import SECRETS, values

ROOT = Path(__file__).resolve().parents[3]
STACK = "toys"
PROJECT = {
    "name": "cloudstack-parallel-build",
    "runtime": "python",
    "stackConfigDir": "stacks",
    "plugins": {"providers": [{"name": "cutover", "path": "./plugin"}]},
}
PLUGIN = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.fast.provider_toy_process {folder}/pid "$@"
"""
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
import pulumi
from parallel_build.components import steps
from parallel_build.components.program import run
from parallel_build.components.cloud import declare_stack
from parallel_build.configuration import Phase
from parallel_build.steps.base import REGISTRY
from tests.fast.provider_harness import EarlyToy, Toy, WindowToy

REGISTRY.update(Toy=Toy, EarlyToy=EarlyToy, WindowToy=WindowToy)
steps.load_all = lambda: None  # only the toys
class ToyResource(steps.StepResource):
    STEP = "Toy"
class EarlyResource(steps.StepResource):
    STEP = "EarlyToy"
class WindowResource(steps.StepResource):
    STEP = "WindowToy"
def toys(settings):
    stack = declare_stack(settings)
    def parameters(name):
        return dict(name=name, folder={folder!r})
    first = EarlyResource("early", stack, parameters=parameters("early"))
    if stack.reached(Phase.SWITCHED):
        one = ToyResource("one", stack, parameters=parameters("one"), opts=pulumi.ResourceOptions(depends_on=[first]))
        ToyResource("two", stack, parameters=parameters("two"), opts=pulumi.ResourceOptions(depends_on=[one]))
run(toys)
"""

pytestmark = [
    pytest.mark.skipif(
        shutil.which("pulumi") is None or shutil.which("pulumi-language-python") is None,
        reason="the Pulumi CLI is not on PATH: `. scripts/environment` first",
    ),
    pytest.mark.engine,
    pytest.mark.timeout(600),
]


class Project:
    """A project of toy steps with a state of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "stacks", "plugin"):
            (folder / name).mkdir()
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(PROJECT))
        (folder / "__main__.py").write_text(PROGRAM.format(root=str(ROOT), folder=str(folder)))
        plugin = folder / "plugin/pulumi-resource-cutover"
        plugin.write_text(PLUGIN.format(root=ROOT, python=sys.executable, folder=folder))
        plugin.chmod(0o755)
        (folder / "id.pub").write_text("ssh-ed25519 AAAA operator\n")
        self.configure(phase="switched")
        self.pulumi("stack", "init", STACK)
        for name, value in SECRETS.items():
            self.pulumi("config", "set", "--secret", name, "--stack", STACK, stdin=value)

    @property
    def environment(self) -> dict[str, str]:
        """Everything that is the user's own stays untouched."""
        return {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "toys",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_PYTHON_CMD": sys.executable,
        }

    def configure(self, **changes: Any) -> None:
        """Write the plain part of the stack's file; secrets stay."""
        path = self.folder / f"stacks/Pulumi.{STACK}.yaml"
        document = yaml.safe_load(path.read_text()) if path.exists() else {}
        changes = {"ssh": {"publicKeyFile": f"{self.folder}/id.pub"}, "runs": f"{self.folder}/runs", **changes}
        plain = {f"cloudstack-parallel-build:{key}": value for key, value in values(**changes).items()}
        document["config"] = {**document.get("config", {}), **plain}
        path.write_text(yaml.safe_dump(document))

    def pulumi(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Run the CLI and return what it printed."""
        done = subprocess.run(
            ["pulumi", "--non-interactive", *words],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        printed = done.stdout + done.stderr
        assert bool(done.returncode) == bool(code), printed
        return printed

    def up(self, *words: str, code: int = 0) -> str:
        """`pulumi up` without its preview."""
        return self.pulumi("up", "--yes", "--skip-preview", "--stack", STACK, *words, code=code)

    def destroy(self, code: int = 0) -> str:
        """`pulumi destroy` without its preview."""
        return self.pulumi("destroy", "--yes", "--skip-preview", "--stack", STACK, code=code)

    def resources(self) -> dict[str, dict[str, Any]]:
        """The steps in the state by name."""
        found = json.loads(self.pulumi("stack", "export", "--stack", STACK))["deployment"].get("resources", [])
        return {
            each["urn"].rpartition("::")[2]: each
            for each in found
            if "cutover:index" in each["type"] and "StackIdentity" not in each["type"]
        }

    def tell(self, fail: str) -> None:
        """What the toys are to fail with from now on."""
        (self.folder / "fail").write_text(fail)

    def record(self, **known: Any) -> None:
        """What the window's record is from now on."""
        (self.folder / "record.json").write_text(json.dumps({"stack": STACK, "identity": "", "switched": "later", "number": 1, **known}))

    def looks(self) -> int:
        """How often it was looked at."""
        looks = self.folder / "looks"
        return len(looks.read_text()) if looks.exists() else 0

    def ended(self, operation: str) -> list[str]:
        """Steps that ended well, in order."""
        lines = (self.folder / f"runs/{STACK}/journal.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return [e["step"] for e in entries if e["kind"] == "end" and e["operation"] == operation and e["outcome"] == "done"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh project."""
    return Project(tmp_path)


def test_the_way_there_and_back(project: Project) -> None:
    preview = project.pulumi("preview", "--diff", "--stack", STACK)
    assert preview.count('[0]: "do it"') == 3
    assert preview.count('[0]: "undo it"') == 3
    project.tell("step")
    assert "Remedy: remove the cause" in project.up(code=1)
    project.tell("")
    # A failure half way is in the state; `up` resumes from it, and then there is nothing to do.
    assert set(project.resources()) == {"early"}
    assert project.resources()["early"]["outputs"]["status"].startswith("partial")
    project.up()
    assert {each["outputs"]["status"] for each in project.resources().values()} == {"done"}
    project.up("--expect-no-changes")
    state = "".join(path.read_text() for path in (project.folder / "state").rglob("*") if path.is_file())
    assert [secret for secret in SECRETS.values() if secret in state] == []
    # The preview of a destroy is the rollback plan; the destroy keeps its order.
    assert project.pulumi("destroy", "--preview-only", "--diff", "--stack", STACK).count('[0]: "undo it"') == 3
    project.destroy()
    assert project.ended("undo") == ["Toy-two", "Toy-one", "EarlyToy-early"]
    assert project.resources() == {}


def test_the_limits_of_going_back(project: Project) -> None:
    project.up()
    project.tell("late")
    assert "going back is refused" in project.destroy(code=1)
    project.configure(phase="prepared")
    assert "going back is refused" in project.up(code=1)
    assert set(project.resources()) == {"early", "one", "two"}
    # Together with an earlier phase the newest word counts ...
    project.configure(phase="prepared", window={"forceRollback": True})
    project.up()
    assert set(project.resources()) == {"early"}
    # ... and a destroy counts what the last `up` stored, which is no change of anything.
    project.configure(phase="switched")
    project.up()
    project.configure(phase="switched", window={"forceRollback": True})
    project.up("--expect-no-changes")
    project.destroy()
    assert project.resources() == {}


def test_the_engine_killed_in_the_middle_of_a_step(project: Project) -> None:
    project.tell("wait")
    command = ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", STACK]
    with subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL) as engine:
        deadline = time.monotonic() + 60
        while not (project.folder / "calls").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        engine.send_signal(signal.SIGKILL)
    provider = Path(f"/proc/{(project.folder / 'pid').read_text()}")
    deadline = time.monotonic() + 15
    while provider.exists():
        assert time.monotonic() < deadline, "the provider outlives its engine"
        time.sleep(0.1)
    project.tell("")
    project.pulumi("cancel", "--yes", "--stack", STACK)
    project.up()
    assert {each["outputs"]["status"] for each in project.resources().values()} == {"done"}


def test_a_wrong_configuration_is_reported_without_a_traceback(project: Project) -> None:
    project.configure(new={"versoin": "4.22.1.0"}, window={"deadline": "soon"})
    printed = project.pulumi("preview", "--stack", STACK, code=1)
    assert "new.versoin: this key is not known here" in printed
    assert "window.deadline" in printed
    assert "Traceback" not in printed
    assert "unhandled" not in printed


ODD = "Tok\"en\\é'x9"  # as a shell, JSON and a terminal write it, it looks different each time
PLACES = ("window.userAccess.close[2]", "window.userAccess.open[2]")


def test_what_is_sealed_in_a_section_is_nowhere_in_the_clear(project: Project) -> None:
    program = project.folder / "__main__.py"
    text = program.read_text().replace(
        "REGISTRY.update(",
        "from parallel_build.steps.user_access import UserAccess as Real\n"
        "Toy.plan = lambda self, c: Real().plan(c)\nToy.undo = lambda self, c: Real().undo(c)\nREGISTRY.update(",
    )
    program.write_text(text)
    commands = {"method": "command", "close": ["curl", "-H", "x"], "open": ["curl", "-H", "x"]}
    project.configure(phase="switched", window={"userAccess": commands})
    for path in PLACES:
        key = f"cloudstack-parallel-build:{path}"
        project.pulumi("config", "set", "--secret", "--path", key, "--stack", STACK, stdin=ODD)
    shown = project.pulumi("preview", "--diff", "--stack", STACK)
    assert "[secret]" in shown
    shown += project.up()
    kept = [path for path in (project.folder / "state").rglob("*") if path.is_file()] + [
        path for path in (project.folder / "runs").rglob("*") if path.is_file()
    ]
    everything = shown + "".join(path.read_text() for path in kept)
    assert len(kept) > 2
    for form in (ODD, json.dumps(ODD)[1:-1], shlex.quote(ODD), repr(ODD)[1:-1], "en\\\\"):
        assert form not in everything


URN = f"urn:pulumi:{STACK}::cloudstack-parallel-build::cutover:index:Toy::"


def test_a_replacement_undoes_nothing(project: Project) -> None:
    project.up()
    undone = project.ended("undo")
    shown = project.up("--replace", URN + "one", code=1)
    assert "this is a replacement" in shown
    assert project.ended("undo") == undone
    project.up()
    assert (project.ended("undo"), set(project.resources())) == (undone, {"early", "one", "two"})
    project.pulumi("state", "taint", URN + "two", "--yes", "--stack", STACK)
    project.up(code=1)
    project.up()
    assert (project.ended("undo"), set(project.resources())) == (undone, {"early", "one", "two"})
    project.destroy()
    assert not project.resources() and len(project.ended("undo")) == 3


def test_a_step_that_goes_from_the_program_is_not_undone_in_the_switched_phase(project: Project) -> None:
    project.up()
    program = project.folder / "__main__.py"
    text = program.read_text()
    program.write_text("\n".join(line for line in text.splitlines() if '"two"' not in line))
    assert "step Toy would be undone although the stack is to be in phase switched" in project.up(code=1)
    assert project.ended("undo") == [] and "two" in project.resources()
    program.write_text(text)
    project.up()


def test_nothing_is_imported_and_no_stack_is_renamed_under_its_machines(project: Project) -> None:
    words = ["import", "cutover:index:Toy", "one", "Toy/toys/one", "--yes", "--skip-preview", "--generate-code=false", "--stack", STACK]
    project.pulumi(*words, code=1)
    assert not project.resources()
    project.up()
    project.pulumi("stack", "rename", "production", "--stack", STACK)
    shown = project.pulumi("preview", "--stack", "production", code=1)
    assert "the stack was called toys and is called production now" in shown and "pulumi stack rename toys" in shown
    project.pulumi("stack", "rename", STACK, "--stack", "production")
    project.up()
    assert project.ended("undo") == []


def test_a_machine_in_service_is_not_taken_out_of_the_stack_file(project: Project) -> None:
    project.up()
    machines = values()["new"]
    machines["management"] = machines["management"][:1]
    project.configure(new=machines)
    shown = project.pulumi("preview", "--stack", STACK, code=1)
    assert "newms2 (10.91.0.42 on" in shown and "not declared any more" in shown
    project.configure(phase="prepared", new=machines)
    project.up()
    assert set(project.resources()) == {"early"}


@pytest.fixture
def of_window(project: Project) -> Project:
    """One whose step `two` was done in a window, which is open and was switched."""
    program = project.folder / "__main__.py"
    program.write_text(program.read_text().replace('ToyResource("two"', 'WindowResource("two"'))
    project.record(opened="then")
    project.up()
    return project


def test_a_rollback_that_left_pulumi_out_is_refused_by_name_and_followed_in_phase_prepared(of_window: Project) -> None:
    project = of_window
    assert project.looks() == 0, "what is made is not asked for"
    project.pulumi("preview", "--expect-no-changes", "--stack", STACK)
    project.up("--expect-no-changes")
    assert project.looks() == 2, "once a run"
    for record, words in (
        ({"closed": "at last"}, "the state has WindowToy as done, and by the record on olddb1 no window is open"),
        ({"returning": "now"}, "a rollback has begun now"),
    ):
        project.record(opened="then", **record)
        for words_of_engine in (["preview"], ["up", "--yes", "--skip-preview"]):
            shown = " ".join(project.pulumi(*words_of_engine, "--stack", STACK, code=1).split())
            assert words in shown and "unchanged" not in shown.partition(words)[0].rpartition("Diagnostics")[0]
    assert project.ended("undo") == []
    project.configure(phase="prepared")
    project.up()
    assert set(project.resources()) == {"early"}


def test_a_record_that_can_not_be_asked_is_a_warning_and_no_change(of_window: Project) -> None:
    (of_window.folder / "record.json").write_text("silent")
    for words in (["preview"], ["up", "--yes", "--skip-preview"]):
        shown = " ".join(of_window.pulumi(*words, "--expect-no-changes", "--stack", STACK).split())
        assert "whether the window is still open can't be asked: olddb1 can't be reached." in shown


@pytest.mark.parametrize("words", [[], ["--run-program"]])
def test_everything_goes_after_such_a_rollback_with_phase_switched_in_the_stack_file(of_window: Project, words: list[str]) -> None:
    of_window.record(opened="then", closed="at last")
    of_window.pulumi("destroy", "--yes", "--skip-preview", *words, "--stack", STACK)
    assert of_window.resources() == {}
