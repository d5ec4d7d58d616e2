"""A secret shows nowhere unless it is asked to."""

from __future__ import annotations

import base64
import html
import json
import logging
import pickle
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from parallel_build.configuration.stack_values import sealed_texts
from parallel_build.records.run_folder import RunFolder
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret, mask
from tests.fast.sites import SECRETS, site


def test_secret_is_masked_wherever_it_is_formatted(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2hunter2")
    logging.getLogger("x").warning("%s %r", secret, secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", str([secret]), str({"a": secret}), caplog.text]
    assert not any("hunter2" in text for text in shown)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps({"a": secret})


def test_configuration_and_errors_hold_no_secret() -> None:
    text = repr(site()) + str(site().secrets) + site().secrets.model_dump_json()
    assert not any(value in text for value in SECRETS.values())


def test_mask_takes_the_longer_of_two_that_overlap() -> None:
    assert mask("a=passwordpassword", [Secret("password"), Secret("passwordpassword")]) == "a=[secret]"


def test_run_folder_is_private_and_masked(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = RunFolder(tmp_path, "lab", [Secret("hunter2hunter2")])
    run.record("intent", action="use hunter2hunter2")
    run.log("Step", "hunter2hunter2 went by")
    run.keep("Step", {"value": "hunter2hunter2"})
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert "hunter2" not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


def test_torn_last_line_of_the_journal_is_left_out(tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = RunFolder(tmp_path, "lab", [])
    run.record("intent", action="one")
    with (run.path / "journal.jsonl").open("a") as file:
        file.write('{"kind": "int')
    assert [entry["action"] for entry in run.journal()] == ["one"]


ODD = ['Zug"spitze\\2962', "it's ünlike", "a&b<c>%20+d", "line\tend $HOME `x`"]


@pytest.mark.parametrize("clear", ODD)
def test_a_secret_is_found_however_it_is_written(clear: str) -> None:
    written = [
        clear,
        shlex.join(["curl", "-H", clear]),
        json.dumps({"error": clear}),
        json.dumps({"error": json.dumps(clear)}),
        json.dumps(clear, ensure_ascii=False),
        repr([clear]),
        html.escape(f"<pre>{clear}</pre>"),
        quote(clear),
        f"https://x/?q={quote_plus(clear)}",
        base64.b64encode(clear.encode()).decode(),
    ]
    for text in written:
        left = mask(text, [Secret(clear)])
        assert "[secret]" in left
        assert clear not in left


@pytest.mark.parametrize("clear", ODD)
def test_no_file_of_a_run_has_an_odd_secret_however_it_is_read(tmp_path: Path, clear: str) -> None:
    run = RunFolder(tmp_path, "lab", [Secret(clear)])
    entry = run.record("not kept", error=f"login failed with {clear}", by={clear: [clear]})
    run.keep("Step", {"value": (clear, {"deep": clear})})
    read = [entry, *run.journal(), run.evidence("Step")]
    assert clear not in repr(read) and clear not in str([json.dumps(item) for item in read])
    assert clear not in "".join(str(item) for item in read)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("deb https://customer:TOKEN@packages.example/ ./", "deb https://[secret]@packages.example/ ./"),
        ("deb https://0123456789abcdef01234567:@packages.example/ ./", "deb https://[secret]@packages.example/ ./"),
        ("https://ghp_0123456789abcdefABCDEF@git.example/x", "https://[secret]@git.example/x"),
        ("https://customer@packages.example/a:b@c", "https://customer@packages.example/a:b@c"),
        ("mysql://a:b%20c@h/d and nfs://192.0.2.5:2049/e", "mysql://[secret]@h/d and nfs://192.0.2.5:2049/e"),
        ("ssh://[2001:db8::1]:22/x user@host", "ssh://[2001:db8::1]:22/x user@host"),
    ],
)
def test_credentials_in_a_url_are_secrets_without_being_sealed(text: str, left: str) -> None:
    assert mask(text, []) == left


def test_what_is_sealed_is_known_by_its_place() -> None:
    written = {"close": ["curl", "-H", {"secure": "v1:x"}], "method": "command", "deep": {"a": {"secure": "v1:y"}}}
    clear = {"close": ["curl", "-H", "Bearer t0ken"], "method": "command", "deep": {"a": {"b": ["one", 2, True]}}}
    assert [found.reveal() for found in sealed_texts(written, clear)] == ["Bearer t0ken", "one", "2"]
    # The file is not the one that the values come from: any text may be sealed.
    assert {found.reveal() for found in sealed_texts({"close": []}, clear)} >= {"curl", "Bearer t0ken", "command"}
    assert {found.reveal() for found in sealed_texts(None, clear)} >= {"curl", "Bearer t0ken", "command"}
    assert sealed_texts({"a": 1, "b": "x"}, {"a": 1, "b": "x"}) == []


def test_sealed_values_travel_with_the_site_and_are_hidden() -> None:
    one = replace(site(), sealed=(Secret("Bearer t0ken"),))
    assert "t0ken" not in repr(one)
    assert [value.reveal() for value in Site.from_json(one.to_json()).hidden()][-1] == "Bearer t0ken"
