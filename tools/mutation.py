"""A mutation score: how many small faults of some modules their fast tests find. `python -m tools.mutation prepare FOLDER`, then `report FOLDER`.

mutmut (3.8) changes one thing at a time in a copy of the tree, and runs the tests that reach it. It is no dependency: FOLDER gets what it needs but for
mutmut itself, so that nothing of it is in a checkout.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.environment import CHECKOUT

ROOMS = {"guards": "parallel_build/guards", "compare": "parallel_build/database/compare"}
TESTS = (
    "tests/fast/guards", "tests/fast/database", "tests/fast/facts/test_world.py", "tests/fast/facts/test_hosts_put_aside.py",
    "tests/fast/facts/test_cluster_managers.py", "tests/fast/cloudstack/test_zones_and_states.py", "tests/fast/cloudstack/test_left_running.py",
    "tests/fast/operations/test_usage_host.py", "tests/fast/operations/test_move.py", "tests/fast/operations/test_carry.py",
    "tests/fast/remote/test_database_login.py", "tests/fast/steps/test_rehearsal.py",
)  # fmt: skip
SOURCE = "parallel_build"
LINKS = ("components", "provider")  # mutmut copies no links, and these two are what the package's imports go through
STATUS = {0: "survived", 1: "killed", 3: "killed", 33: "no tests", None: "not checked"}  # others: it ran out of time, which is found too
NUMBERED = re.compile(r"__mutmut_\d+$")
COUNTED = ("killed", "timeout", "survived", "no tests", "not checked")


def prepare(folder: Path) -> None:
    """Copy what git knows of this checkout, and write mutmut's configuration into the copy."""
    folder.mkdir(parents=True)
    subprocess.run(["git", "checkout-index", "-a", "-f", f"--prefix={folder}/"], cwd=CHECKOUT, check=True)
    also = [path.name for path in sorted(folder.iterdir()) if path.name not in (SOURCE, ".git")]
    section = {
        "source_paths": [SOURCE],
        "only_mutate": [f"{room}/*" for room in ROOMS.values()],
        "pytest_add_cli_args_test_selection": list(TESTS),
        "also_copy": also,
    }
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items()))
    package = folder / "mutants" / SOURCE
    package.mkdir(parents=True)
    for name in LINKS:
        (package / name).symlink_to(f"../{name}")
    print(
        f"cd {folder} && nice -n 19 mutmut run --max-children 1   # resumes where it was ended; then: python -m tools.mutation report {folder}"
    )


def report(folder: Path) -> None:
    """Print the score of each room, and what those are that no test found."""
    rooms: dict[str, collections.Counter[str]] = {room: collections.Counter() for room in ROOMS}
    kinds: dict[str, collections.Counter[str]] = {room: collections.Counter() for room in ROOMS}
    for room, module, name, status in results(folder / "mutants"):
        rooms[room][status] += 1
        if status in ("survived", "no tests"):
            kinds[room][kind(module, name)] += 1
    for room, counted in rooms.items():
        found, whole = counted["killed"] + counted["timeout"], counted.total()
        wording = kinds[room]["wording"]
        print(f"{room}: {found} of {whole} found ({100 * found / max(1, whole):.1f} %)", end="")
        print(f", {100 * found / max(1, whole - wording):.1f} % without those that change only a message's words")
        print("  " + ", ".join(f"{counted[status]} {status}" for status in COUNTED if counted[status]))
        print("  not found: " + ", ".join(f"{number} {what}" for what, number in sorted(kinds[room].items())))


def results(mutants: Path) -> Iterator[tuple[str, dict[str, ast.AST], str, str]]:
    """Room, the module's functions, the mutant's name, and what became of it."""
    for room, place in ROOMS.items():
        for meta in sorted((mutants / place).glob("*.meta")):
            tree = ast.parse(meta.with_suffix("").read_text())
            functions: dict[str, ast.AST] = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
            for key, code in json.loads(meta.read_text())["exit_code_by_key"].items():
                yield room, functions, key.rpartition(".")[2], STATUS.get(code, "timeout")


def kind(functions: dict[str, ast.AST], name: str) -> str:
    """What a mutant changes: `wording` of an error, another `text`, or `logic`."""
    one, other = functions.get(f"{NUMBERED.sub('', name)}__mutmut_orig"), functions.get(name)
    if one is None or other is None or _form(one, texts=False) != _form(other, texts=False):
        return "logic"
    return "wording" if _form(one, errors=False) == _form(other, errors=False) else "text"


def _form(function: ast.AST, *, texts: bool = True, errors: bool = True) -> str:
    """A function without its name, and without its texts or the errors that it raises."""

    class Plain(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            return node if texts or not isinstance(node.value, str) else ast.Constant("")

        def visit_Raise(self, node: ast.Raise) -> ast.AST:
            return self.generic_visit(node) if errors else ast.Pass()

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            node.name = ""
            return self.generic_visit(node)

    return ast.dump(Plain().visit(ast.parse(ast.unparse(function))))


def main(words: list[str]) -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(prog="tools.mutation", description=__doc__)
    parser.add_argument("what", choices=("prepare", "report"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(words)
    (prepare if given.what == "prepare" else report)(given.folder.resolve())


if __name__ == "__main__":
    main(sys.argv[1:])
