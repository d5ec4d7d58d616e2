"""What `pulumi package get-schema` shows of the provider: each resource type with its inputs and outputs, described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parallel_build.provider import NAME, VERSION
from parallel_build.provider.handler import Handler
from parallel_build.provider.step_handler import StepHandler

Properties = dict[str, dict[str, Any]]

ANY = {"type": "object", "additionalProperties": {"$ref": "pulumi.json#/Any"}}
TEXTS = {"type": "array", "items": {"type": "string"}}
BY_NAME = {"type": "object", "additionalProperties": {"type": "string"}}


def text(description: str, **more: Any) -> dict[str, Any]:
    """A property that is a text."""
    return {"type": "string", "description": description, **more}


STEP_INPUTS: Properties = {
    "site": text("The resolved stack as JSON text: configuration, secrets, host keys.", secret=True),
    "parameters": {**ANY, "description": "What distinguishes several resources of one step; `name` becomes part of the id."},
    "machines": {**BY_NAME, "description": "The machines that the step works on: the ids of their resources, by name."},
    "plan": {**TEXTS, "description": "The exact actions, in order, for the reader of a preview. A change of them is no difference."},
    "undo": {**TEXTS, "description": "What deleting the resource does."},
    "rehearsed": text("How long the step took in rehearsal."),
}
STEP_OUTPUTS: Properties = {
    "result": {**ANY, "description": "The step's evidence, secrets masked."},
    "status": text("`done`, or `partial: ...` with the reason."),
}
# Resource types that are no steps: description, inputs, those that may be missing, and what is added to the inputs as outputs.
OTHERS: dict[str, tuple[str, Properties, set[str], Properties]] = {
    "StackIdentity": (
        "A random identity, made once and kept in the state; the record of the stack's windows carries it.",
        {
            "former": text("The identity as earlier versions derived it."),
            "adopt": text("Identity of a window that a different state opened, to resume or roll it back with this one."),
            "stack": text("What the stack is called."),
            "phase": text("The phase that the stack is to be in."),
            "machines": {**BY_NAME, "description": "Address and platform of each new machine, by name."},
        },
        {"former", "adopt"},
        {"identities": {**TEXTS, "description": "Every identity that windows of this stack may be known by, the present one first."}},
    ),
    "SshHostKey": (
        "An ed25519 key pair of a machine, made before the machine and kept in the state.",
        {"name": text("The machine's name.")},
        set(),
        {
            "privateKey": text("Private key in OpenSSH's format.", secret=True),
            "publicKey": text("`ssh-ed25519 AAAA... NAME`."),
        },
    ),
    "DomainType": (
        "Under what, and with which processor, libvirt's guests run; found out once by starting one.",
        {"uri": text("libvirt's connection.")},
        set(),
        {"type": text("`kvm` or `qemu`."), "cpuMode": text("libvirt's processor mode.")},
    ),
    "ContainerMachine": (
        "A machine in systemd-nspawn on this computer, for the lab and for tests.",
        {
            "name": text("The machine's name."),
            "address": text("Its address."),
            "root": text("Folder of the root file system that it is made from."),
            "folder": text("Folder that machines are kept in."),
            "namespace": text("Network namespace that it runs in."),
            "bridge": text("Bridge in that namespace."),
            "memory": {"type": "integer", "description": "Limit in MiB."},
            "disk": {"type": "integer", "description": "GiB of a disk of its own."},
            "provisioning": text("What is on it, as JSON text.", secret=True),
        },
        {"memory", "disk"},
        {},
    ),
}


def document(handlers: Mapping[str, Handler]) -> dict[str, Any]:
    """The package's schema [pulumi pkg/codegen/schema]."""
    return {
        "name": NAME,
        "version": VERSION,
        "displayName": "CloudStack upgrades by parallel build",
        "description": "Each step of an upgrade of Apache CloudStack as a resource: create does it, delete undoes it.",
        "license": "Apache-2.0",
        "resources": {token: _resource(token, handler) for token, handler in sorted(handlers.items())},
    }


def _resource(token: str, handler: Handler) -> dict[str, Any]:
    if isinstance(handler, StepHandler):
        return _described(f"Step: {handler.step_class.summary}.", STEP_INPUTS, {"parameters", "machines", "rehearsed"}, STEP_OUTPUTS)
    return _described(*OTHERS[token.rpartition(":")[2]])


def _described(description: str, inputs: Properties, optional: set[str], added: Properties) -> dict[str, Any]:
    # The provider gives neither a site nor a provisioning back: both hold secrets.
    kept = {name: value for name, value in inputs.items() if not value.get("secret")}
    return {
        "description": description,
        "inputProperties": inputs,
        "requiredInputs": sorted(inputs.keys() - optional),
        "properties": {**kept, **added},
        "required": sorted((kept.keys() - optional) | added.keys()),
    }
