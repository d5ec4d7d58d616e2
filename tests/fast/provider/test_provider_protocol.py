"""The provider's rules, call by call, as the engine makes them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from parallel_build.cancel import CancelToken
from parallel_build.configuration import SwitchedStepName
from parallel_build.operations import window_standing
from parallel_build.operations.window_standing import Seen
from parallel_build.provider import schema
from parallel_build.provider.handlers import all_handlers
from parallel_build.provider.values import SECRET_SIGNATURE, SIGNATURE_KEY, UNKNOWNS, to_struct
from parallel_build.records.window import WindowRecord, WindowStore
from parallel_build.remote.host import Connections
from parallel_build.steps import load_all
from parallel_build.steps.base import REGISTRY
from tests.fast.provider_harness import PLANTED, Harness, Partial, Toy, harness, words
from tests.fast.sites import site


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Harness]:
    """A serving provider."""
    with harness(tmp_path) as found:
        yield found


def test_configure_takes_plain_values_and_no_previews(provider: Harness) -> None:
    answer = provider.stub.Configure(provider_pb2.ConfigureRequest())
    assert not answer.acceptSecrets
    assert not answer.supportsPreview


def test_create_gives_id_evidence_and_status(provider: Harness) -> None:
    identity, outputs = provider.create(provider.inputs())
    assert identity == "Toy/test/one"
    assert outputs["status"] == "done"
    assert outputs["result"]["first"] == "done"
    assert outputs["result"]["timing"]["seconds"] >= 0
    assert "site" not in outputs
    assert [entry["kind"] for entry in provider.journal()] == ["begin", "intent", "end"]
    assert (provider.folder / "runs/test/evidence/Toy-one.json").exists()


def test_progress_reaches_the_resource_and_is_ephemeral(provider: Harness) -> None:
    provider.create(provider.inputs())
    assert all(urn == provider.urn() and ephemeral for urn, _, ephemeral in provider.engine.lines)
    assert any("half way" in message for _, message, _ in provider.engine.lines)


@pytest.mark.parametrize("fail", ["guard", "configuration"])
def test_a_failure_before_anything_was_done_is_not_recorded(provider: Harness, fail: str) -> None:
    provider.tell(fail)
    with pytest.raises(grpc.RpcError) as caught:
        provider.create(provider.inputs())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "Traceback" not in words(caught)


def test_a_failure_half_way_is_recorded_resumed_and_undone(provider: Harness) -> None:
    provider.tell("step")
    inputs = provider.inputs()
    with pytest.raises(Partial) as caught:
        provider.create(inputs)
    failed = caught.value
    assert failed.id == "Toy/test/one"
    assert failed.outputs["result"] == {"first": "done"}
    assert failed.outputs["status"].startswith("partial: the second half failed")
    assert "Remedy: remove the cause." in failed.reasons[0]
    assert provider.diff(inputs, inputs, failed.outputs) == ["site"]
    provider.tell("")
    outputs = provider.update(failed.id, inputs, failed.outputs, inputs)
    assert outputs["status"] == "done"
    assert provider.calls == ["apply", "apply"]
    with pytest.raises(grpc.RpcError) as replaced:
        provider.delete(failed.id, inputs, failed.outputs)
    assert "this is a replacement" in words(replaced) and provider.calls == ["apply", "apply"]
    provider.next_run()
    provider.delete(failed.id, inputs, failed.outputs)
    assert provider.calls[-1] == "revert"


def test_an_update_that_fails_again_stays_partial(provider: Harness) -> None:
    provider.tell("step")
    inputs = provider.inputs()
    with pytest.raises(Partial) as first:
        provider.create(inputs)
    with pytest.raises(Partial) as second:
        provider.update(first.value.id, inputs, first.value.outputs, inputs)
    assert second.value.outputs["status"].startswith("partial")


def test_an_unexpected_error_is_recorded_and_its_traceback_stays_in_the_log(provider: Harness) -> None:
    provider.tell("bug")
    with pytest.raises(Partial) as caught:
        provider.create(provider.inputs())
    assert "unexpected ZeroDivisionError" in caught.value.reasons[0]
    assert "Traceback" not in caught.value.reasons[0]
    log = (provider.folder / "runs/test/run.log").read_text()
    assert "Traceback" in log


@pytest.mark.parametrize("fail", ["", "step", "bug"])
def test_a_secret_is_shown_to_nobody(provider: Harness, fail: str) -> None:
    provider.tell(fail)
    printed = ""
    try:
        _, outputs = provider.create(provider.inputs())
        printed = str(outputs)
    except Partial as partial:
        printed = f"{partial.outputs} {partial.reasons}"
    assert PLANTED not in printed
    assert PLANTED not in provider.everything_written()
    assert "[secret]" in provider.everything_written()


def test_an_update_stores_and_proves_again(provider: Harness) -> None:
    old, new = provider.inputs(), provider.inputs(transfer={"method": "replicate"})
    assert provider.diff(old, new) == ["site"]
    outputs = provider.update("Toy/test/one", old, {"status": "done"}, new)
    assert provider.calls == ["verify"]
    assert outputs["status"] == "done"


def test_a_machine_made_again_has_the_step_done_again(provider: Harness) -> None:
    old = {**provider.inputs(), "machines": {"db1": "id-1", "db2": "id-2"}}
    recreated = {**provider.inputs(), "machines": {"db1": "id-1", "db2": "id-3"}}
    assert provider.diff(old, recreated) == ["machines"]
    assert provider.diff(provider.inputs(), old) == [], "a state that did not know them yet"
    assert provider.update("Toy/test/one", old, {"status": "done"}, recreated)["status"] == "done"
    assert provider.calls == ["apply"]


def test_a_proof_that_fails_changes_nothing_in_the_state(provider: Harness) -> None:
    provider.tell("verify")
    with pytest.raises(grpc.RpcError) as caught:
        provider.update("Toy/test/one", provider.inputs(), {"status": "done"}, provider.inputs(transfer={"threads": 2}))
    assert "it is not so any more" in words(caught)


def test_a_step_of_an_earlier_phase_is_not_proved_after_the_switch(provider: Harness) -> None:
    switched = provider.inputs(phase="switched")
    back = provider.inputs(phase="prepared", agents={"method": "none"})
    for old, new in [(switched, switched), (switched, back), (back, switched)]:
        assert provider.update("x", old, {"status": "done", "result": {"a": 1}}, new, "EarlyToy")["result"] == {"a": 1}
    assert provider.calls == []
    provider.update("x", back, {"status": "done"}, back, "EarlyToy")
    assert provider.calls == ["verify"]


def with_secret(inputs: dict[str, Any], value: str) -> dict[str, Any]:
    site = json.loads(inputs["site"])
    site["secrets"]["cloudPassword"] = value
    return {**inputs, "site": json.dumps(site)}


def test_a_secret_that_the_window_uses_is_proved_to_be_the_one_that_was_set(provider: Harness) -> None:
    switched, back = provider.inputs(phase="switched"), provider.inputs(phase="prepared")
    changed = with_secret(switched, "another-password-1")
    assert provider.update("x", switched, {"status": "done"}, changed, "EarlyToy")["result"]["secret"] is True
    assert provider.calls == ["prove_secret"]
    provider.tell("secret")
    with pytest.raises(grpc.RpcError) as caught:
        provider.update("x", switched, {"status": "done"}, changed, "EarlyToy")
    assert "it is another one" in words(caught) and "another-password-1" not in words(caught), (
        "the state keeps the former one, and asks again"
    )
    provider.update("x", changed, {"status": "done"}, with_secret(back, "the-former-one-1"), "EarlyToy")
    provider.update("x", switched, {"status": "done"}, switched, "EarlyToy")
    assert provider.calls == ["prove_secret", "prove_secret"], "not in a rollback, and not where it is the same"


def test_what_a_switch_uses_up_is_asked_in_the_rollback_and_done_again_afterwards(provider: Harness) -> None:
    switched, back = provider.inputs(phase="switched"), provider.inputs(phase="prepared")
    assert provider.diff(back, switched, kind="SpentToy") == [], "the switch itself is no change of it"
    assert provider.diff(switched, back, kind="EarlyToy") == []
    assert provider.diff(switched, back, kind="SpentToy") == ["site"]
    assert provider.update("x", switched, {"status": "done"}, back, "SpentToy")["status"] == "done", "it was not used"
    provider.tell("spent")
    outputs = provider.update("x", switched, {"status": "done"}, back, "SpentToy")
    assert outputs["status"] == "partial: used up, [secret]"
    assert ("used up, [secret]", False) in [(message, ephemeral) for _, message, ephemeral in provider.engine.lines]
    for wanted in (back, switched):
        assert provider.diff(back, wanted, outputs, kind="SpentToy") == ["site"]
    provider.tell("")
    assert provider.update("x", back, outputs, switched, "SpentToy")["status"] == "done"
    assert provider.calls == ["verify", "verify", "apply"]


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "retired"},
        {"ssh": {"identityFile": "/elsewhere/id", "connectTimeout": "3s"}},
        {"window": {"rollbackWindow": "2d", "forceRollback": True, "deadline": "1h"}},
        {"transfer": {"threads": 9, "bytesPerSecond": 5_000_000, "renew": "monday"}},
        {"acceptance": {"commands": [["true"]]}},
    ],
)
def test_what_a_step_does_not_depend_on_is_no_diff(provider: Harness, change: dict[str, object]) -> None:
    assert provider.diff(provider.inputs(), provider.inputs(**change)) == []


def test_texts_are_no_diff(provider: Harness) -> None:
    new = {**provider.inputs(), "plan": ["other words"], "undo": [], "rehearsed": "4 min 10 s"}
    assert provider.diff(provider.inputs(), new) == []


@pytest.mark.parametrize(
    "change",
    [
        {"window": {"userAccess": {"method": "cidr", "administrators": ["10.91.0.1/32"]}}},
        {"new": {"loadBalancer": "10.91.0.40"}},
        {"transfer": {"method": "replicate"}},
    ],
)
def test_what_a_step_depends_on_is_an_update(provider: Harness, change: dict[str, object]) -> None:
    assert provider.diff(provider.inputs(), provider.inputs(**change)) == ["site"]


def test_parameters_are_compared_by_value(provider: Harness) -> None:
    old, new = provider.inputs(), provider.inputs()
    assert provider.diff(old, new) == []
    new["parameters"] = {**new["parameters"], "url": "http://elsewhere"}
    assert provider.diff(old, new) == ["parameters"]


@pytest.mark.parametrize("unknown", sorted(UNKNOWNS))
def test_unknown_values_are_tolerated(provider: Harness, unknown: str) -> None:
    inputs = {**provider.inputs(), "site": unknown}
    assert provider.check(inputs) == []
    assert provider.diff(provider.inputs(), inputs) == ["site"]


def test_a_bad_site_is_refused_in_its_own_words(provider: Harness) -> None:
    inputs = provider.inputs()
    inputs["site"] = inputs["site"].replace('"10.91.0.41"', '"10.91.0.999"')
    (reason,) = provider.check(inputs)
    assert "new.management.0.address: an address is an IPv4 or IPv6 address" in reason
    assert PLANTED not in reason
    assert provider.check({**inputs, "site": "{}"})
    assert provider.check({"parameters": {}})


def test_delete_is_refused_without_undoing_and_forced_by_the_newest_word(provider: Harness) -> None:
    provider.tell("late")
    stored = provider.inputs()
    with pytest.raises(grpc.RpcError, match="going back is refused"):
        provider.delete("Toy/test/one", stored)
    assert "revert" not in provider.calls
    # In one `up` with an earlier phase, other resources of the same program bring the newest limits.
    provider.check(provider.inputs(phase="prepared", window={"forceRollback": True, "rollbackWindow": "3d"}))
    provider.delete("Toy/test/one", stored)
    assert (provider.folder / "calls").read_text().splitlines()[-1] == f"revert {3 * 86400}"


def test_a_failed_delete_leaves_the_resource_and_can_be_repeated(provider: Harness) -> None:
    provider.tell("revert")
    with pytest.raises(grpc.RpcError) as caught:
        provider.delete("Toy/test/one", provider.inputs())
    assert "half of it is left with [secret]" in words(caught)
    provider.tell("")
    provider.delete("Toy/test/one", provider.inputs())
    assert [entry["outcome"] for entry in provider.journal() if entry["kind"] == "end"][-1] == "done"


def test_cancel_stops_a_running_step_at_a_safe_point_and_records_it(provider: Harness) -> None:
    provider.tell("wait")
    caught: list[Exception] = []

    def create() -> None:
        try:
            provider.create(provider.inputs())
        except Partial as partial:
            caught.append(partial)

    running = threading.Thread(target=create)
    running.start()
    while not provider.server.session.busy or "apply" not in provider.calls:
        time.sleep(0.01)
    provider.stub.Cancel(empty_pb2.Empty())
    running.join(30)
    assert not running.is_alive()
    (failed,) = caught
    assert isinstance(failed, Partial)
    assert "the operator cancelled" in failed.outputs["status"]
    assert provider.journal()[-1]["kind"] == "end"


def test_twenty_steps_run_at_the_same_time(provider: Harness) -> None:
    provider.tell("wait")
    threads = [threading.Thread(target=provider.create, args=(provider.inputs(),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    while provider.calls.count("apply") < 20:
        time.sleep(0.01)
    Toy.release.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_read_is_an_echo(provider: Harness) -> None:
    inputs = provider.inputs()
    request = provider_pb2.ReadRequest(
        id="Toy/test/one", urn=provider.urn(), inputs=to_struct(inputs), properties=to_struct({"status": "done"})
    )
    answer = provider.stub.Read(request)
    assert answer.id == "Toy/test/one"
    assert answer.properties["status"] == "done"
    assert answer.inputs == request.inputs


def test_a_host_key_is_a_secret_and_stays(provider: Harness) -> None:
    identity, outputs = provider.create({"name": "newms1"}, "SshHostKey")
    assert outputs["privateKey"][SIGNATURE_KEY] == SECRET_SIGNATURE
    assert "OPENSSH PRIVATE KEY" in outputs["privateKey"]["value"]
    assert outputs["publicKey"].startswith("ssh-ed25519 AAAA")
    plain = {**outputs, "privateKey": outputs["privateKey"]["value"]}
    again = provider.update(identity, {"name": "newms1"}, plain, {"name": "newms9"}, "SshHostKey")
    assert again["publicKey"].split()[:2] == outputs["publicKey"].split()[:2]
    assert again["publicKey"].endswith("newms9")


def test_an_unknown_type_is_named(provider: Harness) -> None:
    with pytest.raises(grpc.RpcError, match="no resource type cutover:index:Nothing"):
        provider.create({}, "Nothing")


@pytest.mark.parametrize(("asked", "refused"), [("", False), ("0.0.9", False), ("9.9.9", True), ("9.9.9-dev.1", True), ("odd", True)])
def test_a_later_version_is_refused_and_an_earlier_one_continued(
    provider: Harness, asked: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLEL_BUILD_ASKED_VERSION", asked)
    request = provider_pb2.ConfigureRequest()
    if not refused:
        provider.stub.Configure(request)
        return
    with pytest.raises(grpc.RpcError) as error:
        provider.stub.Configure(request)
    assert "parallel-build plugin install" in words(error) and asked in words(error)


def test_every_resource_is_described() -> None:
    found = schema.document(all_handlers())
    assert set(found["resources"]) == set(all_handlers())
    for token, resource in found["resources"].items():
        assert resource["description"], token
        assert set(resource["requiredInputs"]) <= resource["inputProperties"].keys(), token
        assert "site" not in resource["properties"] and "provisioning" not in resource["properties"], token


RECORD = {"opened": "then", "switched": "later", "holders": {"olddb1": {"machine": ""}}, "number": 1}


@pytest.fixture
def looks(provider: Harness, monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """What is seen of the record each time that it is looked at; empty: nothing may look."""
    found: list[Seen] = []
    monkeypatch.setattr(window_standing, "look", lambda site, connections: found.pop(0))
    return found


def as_seen(stack: str = "test", unknown: str = "", **changes: Any) -> Seen:
    """A record."""
    here = site()
    store = WindowStore(Connections(here, CancelToken()).host(here.configuration.original.database.source), here)
    return Seen(store, WindowRecord(stack, here.identity, **{**RECORD, **changes}), unknown=unknown)


@pytest.mark.parametrize("changes", [{}, {"transfer": {"threads": 9}}, {"transfer": {"method": "replicate"}}])
def test_a_done_step_of_a_window_that_was_rolled_back_elsewhere_is_refused_by_name(
    provider: Harness, looks: list[Seen], changes: dict[str, Any]
) -> None:
    looks.append(as_seen(closed="at last"))
    with pytest.raises(grpc.RpcError) as refused:
        provider.diff(provider.inputs(), provider.inputs(**changes), kind="WindowToy")
    assert "no window is open" in words(refused) and "phase prepared --stack test && pulumi up" in words(refused)
    assert provider.calls == []


def test_the_record_is_asked_once_a_run_and_only_for_what_is_done_in_a_window(provider: Harness, looks: list[Seen]) -> None:
    inputs = provider.inputs()
    assert provider.diff(inputs, inputs) == provider.diff(inputs, inputs, kind="EarlyToy") == []
    assert provider.diff(inputs, inputs, {"status": "partial: half"}, "WindowToy") == ["site"]
    assert provider.diff(inputs, {**inputs, "site": next(iter(UNKNOWNS))}, kind="WindowToy") == ["site"]
    looks.append(as_seen())
    assert provider.diff(inputs, inputs, kind="WindowToy") == provider.diff(inputs, inputs, kind="WindowToy") == []
    provider.next_run()
    looks.append(as_seen(returning="now"))
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as refused:
            provider.diff(inputs, inputs, kind="WindowToy")
        assert "a rollback has begun now" in words(refused)


def test_what_can_not_be_asked_is_a_warning_once(provider: Harness, looks: list[Seen]) -> None:
    looks.append(as_seen(unknown=f"olddb1 can't be reached with {PLANTED}"))
    for _ in range(2):
        assert provider.diff(provider.inputs(), provider.inputs(), kind="WindowToy") == []
    ((urn, message, ephemeral),) = provider.engine.lines
    assert urn == provider.urn("WindowToy") and not ephemeral
    assert "can't be asked: olddb1 can't be reached with [secret]" in message and "the state alone" in message.lower()


def test_every_step_of_the_window_and_no_other_is_one() -> None:
    load_all()
    assert {name for name, step in REGISTRY.items() if step.of_window} == {"Window", "Retirement", *get_args(SwitchedStepName)}
