"""Who calls: by signature or by session, and from where.

[CloudStack 4.22 server/.../api/ApiServer.verifyRequest, ApiServlet; error texts as seen]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import logging
import secrets
import urllib.parse
from datetime import UTC, datetime
from typing import Any

from ...shared.database import Row
from .. import configuration, passwords
from ..server import ManagementServer
from .core import Caller

log = logging.getLogger("c.c.a.ApiServer")

LOGIN_FAILED = 531
SESSION_SECONDS = 1800
USER_QUERY = (
    "SELECT u.*, a.account_name, a.type AS account_type, a.domain_id, a.state AS account_state, d.path AS domain_path, "
    "d.uuid AS domain_uuid FROM user u JOIN account a ON a.id = u.account_id JOIN domain d ON d.id = a.domain_id "
    "WHERE u.removed IS NULL AND "
)


class NotVerified(Exception):
    """The caller is not who it says, or may not call from where it is."""


class LoginFailed(Exception):
    """Wrong user name or password; the text is the answer's."""


class Sessions:
    """Verifies callers and keeps the sessions of those who logged in."""

    def __init__(self, server: ManagementServer) -> None:
        self._server = server
        self._sessions: dict[str, tuple[str, int]] = {}

    def verify(self, parameters: dict[str, str], address: str, cookie: str) -> Caller:
        """Return who calls; raises NotVerified."""
        user = self._by_session(parameters, cookie) or self._by_signature(parameters)
        if user is None or str(user["state"]).lower() != "enabled" or str(user["account_state"]).lower() != "enabled":
            raise NotVerified
        self._check_origin(user, address)
        return Caller(
            user["id"],
            user["username"],
            user["account_id"],
            user["account_name"],
            user["account_type"],
            user["domain_id"],
            user["domain_path"],
        )

    def login(self, parameters: dict[str, str], address: str) -> tuple[dict[str, Any], str]:
        """Open a session; returns the answer and the cookie's value.

        Raises LoginFailed or NotVerified.
        """
        name = parameters.get("username", "")
        domain = parameters.get("domain", "/") or "/"
        path = "/" if domain.strip("/") in ("", "ROOT") else "/" + domain.strip("/") + "/"
        row = self._server.cloud.row(USER_QUERY + "u.username = %s AND d.path = %s", name, path)
        domain_id = self._server.cloud.value("SELECT id FROM domain WHERE path = %s AND removed IS NULL", path) or 1
        if row is None or not passwords.matches(parameters.get("password", ""), row["password"] or ""):
            raise LoginFailed(f"Failed to authenticate user {name} in domain {domain_id}; please provide valid credentials")
        self._check_origin(row, address)
        session, key = f"node0{secrets.token_hex(13)}.node0", base64.urlsafe_b64encode(secrets.token_bytes(20)).decode()
        self._sessions[session] = (key, row["id"])
        return {
            "username": row["username"],
            "userid": row["uuid"],
            "domainid": row["domain_uuid"],
            "timeout": SESSION_SECONDS,
            "account": row["account_name"],
            "firstname": row["firstname"],
            "lastname": row["lastname"],
            "type": str(row["account_type"]),
            "timezone": row["timezone"] or "UTC",
            "timezoneoffset": "0.0",
            "registered": "false",
            "sessionkey": key,
            "is2faenabled": "false",
            "is2faverified": "true",
            "issuerfor2fa": "CloudStack",
        }, session

    def logout(self, cookie: str) -> None:
        """Close a session."""
        self._sessions.pop(_cookie(cookie), None)

    def _by_session(self, parameters: dict[str, str], cookie: str) -> Row | None:
        session = self._sessions.get(_cookie(cookie))
        if session is None or not hmac.compare_digest(session[0], parameters.get("sessionkey", "")):
            return None
        return self._server.cloud.row(USER_QUERY + "u.id = %s", session[1])

    def _by_signature(self, parameters: dict[str, str]) -> Row | None:
        given = parameters.get("signature")
        key = parameters.get("apikey")
        if not given or not key:
            return None
        if parameters.get("signatureversion") == "3" and not _in_time(parameters.get("expires", "")):
            log.debug("Request expired -- ignoring ...signature [%s]", given)
            return None
        user, sealed = self._by_key(key)
        if user is None or not sealed:
            return None
        secret = self._server.decrypt(sealed) or ""
        return user if hmac.compare_digest(signature(parameters, secret), given) else None

    def _by_key(self, key: str) -> tuple[Row | None, str]:
        """The user of an API key, and the secret key as it is stored."""
        cloud = self._server.cloud
        if not self._server.keypairs:
            user = cloud.row(USER_QUERY + "u.api_key = %s", key)
            return user, user["secret_key"] if user else ""
        pair = cloud.row("SELECT user_id, secret_key FROM api_keypair WHERE removed IS NULL AND api_key = %s", key)
        return (cloud.row(USER_QUERY + "u.id = %s", pair["user_id"]), pair["secret_key"]) if pair else (None, "")

    def _check_origin(self, user: Row, address: str) -> None:
        if configuration.value(self._server, "api.source.cidr.checks.enabled", "true").lower() != "true":
            return
        allowed = configuration.account_value(self._server, "api.allowed.source.cidr.list", user["account_id"], "0.0.0.0/0,::/0")
        if not in_networks(address, allowed):
            log.warning("Request by account '%s' was denied since %s does not match %s", user["account_name"], address, allowed)
            log.debug("The user '%s' is not allowed to execute commands from ip address '%s'.", user["username"], address)
            raise NotVerified


def signature(parameters: dict[str, str], secret: str) -> str:
    """Return the signature of a request.

    Args:
        parameters: all of them, under lower-case names; the values as sent.
        secret: the caller's secret key.
    """
    text = "&".join(
        f"{key}={urllib.parse.quote(value, safe='*').replace('~', '%7E')}"
        for key, value in sorted(parameters.items())
        if key != "signature"
    ).lower()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def in_networks(address: str, networks: str) -> bool:
    """Tell whether an address lies in one of the networks of a list with commas."""
    wanted = ipaddress.ip_address(address)
    if isinstance(wanted, ipaddress.IPv6Address) and wanted.ipv4_mapped:
        wanted = wanted.ipv4_mapped
    for text in networks.replace(" ", "").split(","):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            continue
        if network.version == wanted.version and wanted in network:
            return True
    return False


def _in_time(expires: str) -> bool:
    try:
        return datetime.strptime(expires.strip(), "%Y-%m-%dT%H:%M:%S%z") >= datetime.now(UTC)
    except ValueError:
        return False


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "JSESSIONID":
            return value
    return ""
