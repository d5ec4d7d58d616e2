"""What a stack's state says, read without changing it: from a file backend directly, from any other through the Pulumi CLI."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

HOST_KEY_TYPE = "cutover:index:SshHostKey"
IDENTITY_TYPE = "cutover:index:StackIdentity"
STEP_PREFIX = "cutover:index:"
STACK_TYPE = "pulumi:pulumi:Stack"
TIME_LIMIT = 60.0


@dataclass(frozen=True)
class StackState:
    """A stack's state as far as the commands need it.

    Attributes:
        host_keys: public SSH host keys of new machines, by name.
        steps: status of each step resource (`done`, `partial: ...`) by its name in the program, in the order of their creation.
        types: the step's type by the same name.
        pending: operations that an engine began and never ended: `creating NAME`.
        outputs: the stack's outputs.
        found: where it was read; "" when there is no state.
        problem: why it could not be read, or "".
        locks: the file backend's locks that are held: by whom, since when.
        file: whether the backend is a folder, so that `locks` has all of them.
        identities: what windows of the stack may be known by; empty in a state of an earlier version.
    """

    host_keys: dict[str, str] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    found: str = ""
    problem: str = ""
    locks: list[str] = field(default_factory=list)
    file: bool = False
    identities: tuple[str, ...] = ()


def read(project: str, stack: str, folder: Path) -> StackState:
    """Read the state; what can't be read is named in `problem`, never raised.

    Args:
        project: name of the Pulumi project.
        stack: name of the stack, possibly `organisation/project/stack`.
        folder: the checkout, where the Pulumi CLI is run.
    """
    try:
        root = file_backend(os.environ)
    except (OSError, ValueError) as error:
        return StackState(problem=f"the Pulumi backend that is logged in to is not known: {error}")
    if root is None:
        return _from_cli(stack, folder)
    short = stack.rpartition("/")[2]
    stacks, locks = root / ".pulumi/stacks", root / ".pulumi/locks"
    held = _locks(locks, project, short)
    for path in (stacks / project / f"{short}.json", stacks / f"{short}.json"):
        for candidate in (path, path.with_name(path.name + ".gz")):
            if candidate.exists():
                try:
                    raw = candidate.read_bytes()
                    document = json.loads(gzip.decompress(raw) if candidate.suffix == ".gz" else raw)
                except (OSError, ValueError) as error:
                    return StackState(problem=f"{candidate} can't be read: {error}", locks=held, file=True)
                deployment = ((document.get("checkpoint") or {}).get("latest")) or {}
                return replace(understand(deployment, str(candidate), held), file=True)
    return StackState(problem=f"there is no state of stack {short} in {root}", locks=held, file=True)


def file_backend(environment: Mapping[str, str]) -> Path | None:
    """The folder of the file backend that Pulumi would use, None when it is another backend.

    Raises:
        OSError, ValueError: nobody is logged in anywhere.
    """
    url = environment.get("PULUMI_BACKEND_URL")
    if not url:
        home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
        credentials = home / "credentials.json"
        if not credentials.exists():
            raise ValueError(f"PULUMI_BACKEND_URL is not set and {credentials} does not exist")
        url = str(json.loads(credentials.read_text()).get("current") or "")
    if not url.startswith("file://"):
        return None
    rest = unquote(url.removeprefix("file://").partition("?")[0])
    return Path(rest or "/").expanduser()


def understand(deployment: Mapping[str, Any], found: str, locks: list[str] | None = None) -> StackState:
    """What a deployment, as in a state file or an export, says."""
    host_keys, steps, types, outputs = {}, {}, {}, {}
    identities: tuple[str, ...] = ()
    for resource in deployment.get("resources") or []:
        kind, values, name = str(resource.get("type", "")), resource.get("outputs") or {}, label(resource)
        if kind == HOST_KEY_TYPE and values.get("publicKey"):
            host_keys[str(values["name"])] = str(values["publicKey"])
        elif kind == IDENTITY_TYPE:
            identities = tuple(str(each) for each in values.get("identities") or ())
        elif kind == STACK_TYPE:
            outputs = dict(values)
        elif kind.startswith(STEP_PREFIX) and "status" in values:
            steps[name], types[name] = str(values["status"] or ""), kind.removeprefix(STEP_PREFIX)
    pending = [
        f"{operation.get('type')} {label(operation.get('resource') or {})}" for operation in deployment.get("pending_operations") or []
    ]
    return StackState(host_keys, steps, types, pending, outputs, found, "", locks or [], identities=identities)


def label(resource: Mapping[str, Any]) -> str:
    """What a resource is called here: its name in the program; a step that a stack has once, by its type, whatever component it belongs to."""
    name, kind = str(resource.get("urn", "")).rpartition("::")[2], str(resource.get("type", ""))
    step = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.removeprefix(STEP_PREFIX)).lower()
    return step if name.endswith(f"-{step}") else name


def _locks(folder: Path, project: str, stack: str) -> list[str]:
    # .pulumi/locks/organization/<project>/<stack>/<id>.json [pulumi pkg/backend/diy/lock.go]
    found = []
    for path in sorted((folder / "organization" / project / stack).glob("*.json")):
        try:
            document = json.loads(path.read_text())
        except (OSError, ValueError):
            document = {}
        who = f"{document.get('username', '?')}@{document.get('hostname', '?')}, process {document.get('pid', '?')}"
        found.append(f"{who}, since {document.get('timestamp', '?')}")
    return found


def _from_cli(stack: str, folder: Path) -> StackState:
    try:
        done = subprocess.run(
            ["pulumi", "--non-interactive", "stack", "export", "--stack", stack],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return StackState(problem=f"the state is not in a file backend, and the Pulumi CLI does not give it: {error}")
    if done.returncode != 0:
        return StackState(problem=f"`pulumi stack export` says: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
    try:
        return understand(json.loads(done.stdout).get("deployment") or {}, "pulumi stack export")
    except ValueError as error:
        return StackState(problem=f"`pulumi stack export` gave no JSON: {error}")
