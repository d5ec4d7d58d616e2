"""Package files kept on a server: one folder, exact versions, and nothing that would take other packages away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote.kept_packages import KeptDebs, KeptRpms
from parallel_build.remote.openssh import Result
from parallel_build.versions import CloudStackVersion

NAMES = ["cloudstack-agent", "cloudstack-common"]
NEW = CloudStackVersion("4.22.1.0")
FOLDER = "/var/lib/x/agent"


class Server:
    """Answers what package programs are asked; keeps what it was asked."""

    name = "kvm1"

    def __init__(self, **answers: str) -> None:
        self.answers, self.files, self.words = answers, dict[str, str](), list[str]()
        self.fails = ""
        self.modes: dict[str, int] = {}

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        text = " ".join(argv)
        self.words.append(text)
        if self.fails and self.fails in text:
            raise CommandFailed("kvm1: it ended with exit code 100", "E: 404 Not Found", "")
        found = next((answer for part, answer in self.answers.items() if part.replace("_", " ") in text), "")
        return Result(0, found, "")

    def script(self, text: str, args: Sequence[str], **_: Any) -> Result:
        return self.run(["script", *args])

    def write(self, path: str, content: str, *, mode: int = 0o600, **_: Any) -> None:
        self.files[path], self.modes[path] = content, mode

    def read(self, path: str, **_: Any) -> bytes | None:
        return self.files[path].encode() if path in self.files else None


def debs(**more: str) -> Server:
    madison = "".join(f"{name} | {version} | repo\n" for name in NAMES for version in ("4.22.1.0~jammy", "4.20.3.0"))
    return Server(**{"dpkg-query": "installed 4.20.3.0", "madison": madison, **more})


def rpms() -> Server:
    shown = "".join(f"{name}\t0:{version}\trepo\n" for name in NAMES for version in ("4.20.3.0-1", "4.22.1.0-1"))
    return Server(**{"rpm_-q": "0:4.20.3.0-1", "repoquery": shown, "/new": f"{FOLDER}/new/a.rpm\n", "/old": f"{FOLDER}/old/a.rpm\n"})


@pytest.mark.parametrize(("line", "mode"), [
    ("deb http://repo jammy 4.22", 0o644), ("deb https://customer:word@repo jammy 4.22", 0o600),
    ("deb [arch=amd64] https://0123456789abcdef01234567:@repo jammy 4.22", 0o600),
])  # fmt: skip
def test_a_repository_with_a_password_in_its_address_is_roots_alone_to_read(line: str, mode: int) -> None:
    server: Any = debs()
    KeptDebs(server, FOLDER).fetch(NAMES, NEW, line, "KEY")
    assert server.modes[f"{FOLDER}/parts/cloudstack-parallel-build.list"] == mode and server.modes[f"{FOLDER}/key.asc"] == 0o644


def test_debs_are_fetched_by_version_from_sources_of_the_folder() -> None:
    server: Any = debs()
    kept = KeptDebs(server, FOLDER)
    assert kept.fetched() == {}
    found = kept.fetch(NAMES, NEW, "deb [arch=amd64] http://repo jammy 4.22", "KEY")
    assert found == kept.fetched() == dict.fromkeys(NAMES, "4.22.1.0~jammy")
    line = server.files[f"{FOLDER}/parts/cloudstack-parallel-build.list"]
    assert f"signed-by={FOLDER}/key.asc" in line and server.files[f"{FOLDER}/key.asc"] == "KEY\n"
    assert all(f"Dir::State::lists={FOLDER}/lists" in words for words in server.words if words.startswith("apt-"))
    assert any(words.startswith(f"script {FOLDER} cloudstack-agent 4.20.3.0 cloudstack-common 4.20.3.0") for words in server.words)
    assert not [path for path in server.files if not path.startswith(FOLDER)], "nothing of the server's own is written"
    server.words.clear()
    kept.install(60)
    assert "--no-download install cloudstack-agent=4.22.1.0~jammy" in server.words[-1] and "update" not in " ".join(server.words)
    server.answers["/old/*.deb"] = f"{FOLDER}/old/a.deb\n{FOLDER}/old/b.deb\n"
    kept.put_back(60)
    assert server.words[-1].endswith(f"--allow-downgrades install {FOLDER}/old/a.deb {FOLDER}/old/b.deb"), (
        "apt refuses files with --no-download"
    )


def test_packages_that_would_take_others_away_are_refused() -> None:
    server: Any = debs(**{"-s_-o": "Remv libvirt-clients [7.0]\n"})
    with pytest.raises(StepFailed, match="would take libvirt-clients away"):
        KeptDebs(server, FOLDER).fetch(NAMES, NEW, None, None)
    assert not any("--download-only" in words for words in server.words)


@pytest.mark.parametrize(
    ("fails", "words"),
    [("--download-only", "4.22.1.0 can't be fetched"), ("script /var/lib/x/agent cloud", "can't be kept for a rollback")],
)
def test_what_can_not_be_had_or_kept_is_named_and_nothing_counts_as_complete(fails: str, words: str) -> None:
    server: Any = debs()
    server.fails = fails
    kept = KeptDebs(server, FOLDER)
    with pytest.raises(StepFailed, match=words):
        kept.fetch(NAMES, NEW, None, None)
    assert kept.fetched() == {}


def test_a_package_that_is_not_installed_is_no_agent_to_upgrade() -> None:
    for kept in (KeptDebs(debs(**{"dpkg-query": ""}), FOLDER),):  # type: ignore[arg-type]
        with pytest.raises(StepFailed, match="cloudstack-agent, cloudstack-common is not installed"):
            kept.fetch(NAMES, NEW, None, None)


def test_rpms_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = rpms()
    kept = KeptRpms(server, FOLDER)
    assert kept.fetch(NAMES, NEW, "https://repo/el9/", None) == dict.fromkeys(NAMES, "4.22.1.0-1")
    assert any(
        f"--downloadonly --downloaddir={FOLDER}/new cloudstack-agent-4.22.1.0-1 cloudstack-common-4.22.1.0-1" in words
        for words in server.words
    )
    assert any(words.startswith(f"script {FOLDER} cloudstack-agent 4.20.3.0-1") for words in server.words)
    kept.install(60)
    assert server.words[-1].startswith("dnf -q -y --disablerepo=*") and server.words[-1].endswith(f"install {FOLDER}/new/a.rpm")
    kept.put_back(60)
    assert server.words[-1].endswith(f"downgrade {FOLDER}/old/a.rpm")
    kept.remove()
    assert server.words[-1] == f"rm -rf {FOLDER}"
    there: Any = rpms()
    there.answers["rpm_-q"] = "0:4.22.1.0-1"
    KeptRpms(there, FOLDER)._complete(dict.fromkeys(NAMES, "4.22.1.0-1"))
    KeptRpms(there, FOLDER).install(60)
    assert not any(words.startswith("dnf") for words in there.words), "the release is there already"
