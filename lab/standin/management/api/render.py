"""Answers as JSON or XML."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

JSON = "application/json;charset=utf-8"
XML = "text/xml;charset=utf-8"


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer."""

    status: int
    content_type: str
    body: str
    cookies: tuple[str, ...] = ()


def render(status: int, name: str, value: Any, kind: str, version: str, cookies: tuple[str, ...] = ()) -> Reply:
    """Return an answer.

    Args:
        status: HTTP status.
        name: the outermost name, for instance listhostsresponse.
        value: what is in it.
        kind: `json` or anything else for XML.
        version: the server's version, which XML answers carry.
        cookies: to be set.
    """
    if kind.lower() == "json":
        body = json.dumps({name: value}, separators=(",", ":"), ensure_ascii=False)
        return Reply(status, JSON, body, cookies)
    shown = {key: item for key, item in value.items() if key != "uuidList"} if isinstance(value, dict) else value
    body = f'<?xml version="1.0" encoding="UTF-8"?><{name} cloud-stack-version="{version}">{_xml(shown)}</{name}>'
    return Reply(status, XML, body, cookies)


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        parts = []
        for key, item in value.items():
            for one in item if isinstance(item, list) else [item]:
                parts.append(f"<{key}>{_xml(one)}</{key}>")
        return "".join(parts)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


def error(code: int, text: str, with_cserror: bool) -> dict[str, Any]:
    """Return the inside of an error answer."""
    values: dict[str, Any] = {"uuidList": [], "errorcode": code}
    if with_cserror:
        values["cserrorcode"] = 9999
    return values | {"errortext": text}
