"""The stack file's JSON schema, for editors: made from the same models that check the file."""

from __future__ import annotations

import inspect
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from parallel_build.configuration.secrets import Secrets
from parallel_build.configuration.stack import StackConfiguration
from parallel_build.configuration.values import Model

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SEALED: dict[str, Any] = {
    "type": "object",
    "description": "A value that Pulumi has sealed: pulumi config set --secret.",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
DURATION: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9]"}, {"type": "number"}],
    "examples": ["90s", "5m", "2h", "1d 12h"],
}


class _Generator(GenerateJsonSchema):
    """The models' own kinds of values: durations as they are written, versions and paths as texts."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return dict(DURATION)

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        return {"type": "string"}


def document(project: str) -> dict[str, Any]:
    """The schema of `Pulumi.STACK.yaml`.

    Args:
        project: name of the Pulumi project; every key begins with it.
    """
    models = StackConfiguration.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions: dict[str, Any] = models.pop("$defs", {})
    for kind in _models(StackConfiguration):
        if kind.__name__ in definitions:
            _describe(kind, definitions[kind.__name__])
    sections = {f"{project}:{name}": {"anyOf": [schema, SEALED]} for name, schema in models["properties"].items()}
    texts = _attributes(Secrets)
    secrets = {
        f"{project}:{info.alias or name}": {**SEALED, "description": texts.get(name, SEALED["description"])}
        for name, info in Secrets.model_fields.items()
    }
    return {
        "$schema": DRAFT,
        "title": "Stack file of cloudstack-parallel-build",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {**sections, **secrets},
                "required": [f"{project}:{name}" for name in models.get("required", [])],
            }
        },
        "required": ["config"],
        "$defs": definitions,
    }


def _models(kind: type[Model]) -> list[type[Model]]:
    found, todo = [], [*Model.__subclasses__()]
    while todo:
        each = todo.pop()
        found.append(each)
        todo += each.__subclasses__()
    return [each for each in found if each is not kind]


def _describe(kind: type[Model], schema: dict[str, Any]) -> None:
    schema["description"] = (inspect.getdoc(kind) or "").partition("\n")[0]
    texts = {name: text for each in reversed(kind.__mro__) if issubclass(each, Model) for name, text in _attributes(each).items()}
    for name, info in kind.model_fields.items():
        place = schema.get("properties", {}).get(info.alias or name)
        if place is not None and name in texts:
            place.setdefault("description", texts[name])


def _attributes(kind: type) -> dict[str, str]:
    """What a docstring's section `Attributes` has for each name."""
    lines = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        head = re.match(r"^ {4}([a-z_]+(?:, [a-z_]+)*): (.*)", line)
        if head:
            names = head[1].split(", ")
            found |= dict.fromkeys(names, head[2])
        elif line.startswith("     "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
