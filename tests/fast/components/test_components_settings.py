"""The stack file as Pulumi hands it over: everything wrong with it is reported at once, nothing secret is shown at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from parallel_build.components.settings import names, operator_key, parse
from parallel_build.configuration import Phase, Secrets, Ssh, StackConfiguration
from parallel_build.errors import ConfigurationError
from tests.fast.sites import SECRETS, values

ROOT = Path(__file__).resolve().parents[3]


def texts(**changes: object) -> dict[str, str]:
    """The values as Pulumi has them: texts, objects as JSON, secrets among them."""
    plain = values(**changes)
    return {**{key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}, **SECRETS}


def test_a_complete_stack_is_read() -> None:
    configuration, secrets = parse(texts(), "test")
    assert configuration.phase is Phase.SWITCHED
    assert secrets.cloud_password.reveal() == SECRETS["cloudPassword"]


def test_every_finding_is_named_at_once_with_its_remedy() -> None:
    given = texts(window={"deadline": "soon", "userAccess": {"method": "firewall"}}, new={"versoin": "4.22.1.0"})
    given["widnow"] = "{}"
    given["cloudPassword"] = "it's a secret with a quote"
    del given["managementKey"]
    with pytest.raises(ConfigurationError) as caught:
        parse(given, "test")
    words = str(caught.value)
    for part in ("window.deadline", "new.versoin", "widnow: this key is not known", "administrators", "cloudPassword", "managementKey"):
        assert part in words
    assert "quote" not in words
    assert "nothing has been contacted or changed" in words


@pytest.mark.parametrize(("engine", "longest"), [("mysql", 32), ("mariadb", 96)])
def test_a_password_that_no_replica_can_keep_is_refused_in_preview(engine: str, longest: int) -> None:
    database = {**values()["new"]["database"], "engine": engine}
    given = texts(new={"database": database}, original={"database": {**values()["original"]["database"], "engine": engine}})
    parse({**given, "replicationPassword": "x" * longest}, "test")
    with pytest.raises(ConfigurationError, match=f"replicationPassword: .*at most {longest} characters") as caught:
        parse({**given, "replicationPassword": "x" * (longest + 1)}, "test")
    assert "xxx" not in str(caught.value)


def test_a_text_where_an_object_belongs_is_a_finding() -> None:
    with pytest.raises(ConfigurationError, match="transfer"):
        parse({**texts(), "transfer": "dump"}, "test")


def test_a_platforms_own_secret_is_not_a_section() -> None:
    parse({**texts(), "vspherePassword": "something"}, "test")


def test_the_operators_key_is_next_to_the_identity_file(tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    assert operator_key(Ssh(identity_file=tmp_path / "id")) == "ssh-ed25519 AAAA me"
    (tmp_path / "other.pub").write_text("ssh-rsa BBBB me\n")
    assert operator_key(Ssh(identity_file=tmp_path / "id", public_key_file=tmp_path / "other.pub")) == "ssh-rsa BBBB me"


@pytest.mark.parametrize("content", ["", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", "ssh-rsa A\nssh-rsa B\n"])
def test_what_is_no_public_key_is_refused_and_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "id.pub").write_text(content)
    with pytest.raises(ConfigurationError, match="is not one OpenSSH public key") as caught:
        operator_key(Ssh(public_key_file=tmp_path / "id.pub"))
    assert "abc" not in str(caught.value)


def test_a_missing_public_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"publicKeyFile is missing"):
        operator_key(Ssh())
    with pytest.raises(ConfigurationError, match="No such file"):
        operator_key(Ssh(public_key_file=tmp_path / "none.pub"))


def _stack_file(name: str) -> dict[str, str]:
    document = yaml.safe_load((ROOT / "stacks" / name).read_text())["config"]
    prefix = "cloudstack-parallel-build:"
    found = {key.removeprefix(prefix): value for key, value in document.items() if key.startswith(prefix)}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


@pytest.mark.parametrize("name", ["Pulumi.lab.yaml", "Pulumi.prod.yaml.example"])
def test_the_stack_files_of_the_project_are_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_LAB", "/lab")
    plain = {key: value for key, value in _stack_file(name).items() if key not in names(Secrets)}
    configuration, _ = parse({**plain, **SECRETS}, "test")
    assert configuration.phase is Phase.BUILT


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a section and of everything in it, as they are written."""
    for name, info in model.model_fields.items():
        yield info.alias or name
        for part in _models(info.annotation):
            yield from _keys(part)


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs/reference/configuration.md").read_text()
    assert [key for key in [*_keys(StackConfiguration), *_keys(Secrets)] if f"`{key}`" not in text] == []
