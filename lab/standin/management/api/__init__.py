"""The API of the management server: /client/api.

Each module has a group of commands; what they share is in core.py.
"""

from __future__ import annotations

import logging
import urllib.parse
from dataclasses import dataclass

from ..agents import AgentManager
from ..cluster import ClusterManager
from ..jobs import Jobs
from ..server import ManagementServer
from ..systemvms import SystemVms
from ..templates import Templates
from . import (  # noqa: F401 - a module's commands are registered by importing it
    accounts,
    alerts,
    cards,
    certificates,
    configurations,
    domains,
    groups,
    hosts,
    jobs,
    metrics,
    networks,
    offerings,
    registration,
    restarts,
    routers,
    rules,
    system,
    systemvms,
    tags,
    templates,
    topology,
    virtualmachines,
    vmlifecycle,
    volumes,
    vpcs,
)
from .core import COMMANDS, INTERNAL_ERROR, UNAUTHORIZED, UNSUPPORTED, ApiError, Call, Caller
from .render import Reply, error, render
from .session import LOGIN_FAILED, LoginFailed, NotVerified, Sessions

log = logging.getLogger("c.c.a.ApiServlet")

NOT_VERIFIED = "unable to verify user credentials and/or request signature"
SESSION_COOKIE = "JSESSIONID={}; Path=/client"


@dataclass
class Api:
    """Answers requests."""

    server: ManagementServer
    agents: AgentManager
    cluster: ClusterManager
    jobs: Jobs
    system_vms: SystemVms
    templates: Templates

    def __post_init__(self) -> None:
        self._sessions = Sessions(self.server)

    def handle(self, query: str, body: str, address: str, cookie: str) -> Reply:
        """Answer one request.

        Args:
            query: of the URL.
            body: of a POST.
            address: of the caller.
            cookie: the header.
        """
        pairs = [*urllib.parse.parse_qsl(query, keep_blank_values=True), *urllib.parse.parse_qsl(body, keep_blank_values=True)]
        parameters = {name.lower(): value for name, value in pairs}
        name = parameters.get("command", "")
        kind = parameters.get("response", "xml")
        log.info("===START===  %s -- %s command=%s", address, "POST" if body else "GET", name)
        try:
            if name == "login":
                return self._login(parameters, address, kind)
            return self._run(name, parameters, address, cookie, kind)
        finally:
            log.info("===END===  %s -- command=%s", address, name)
            self.server.cloud.close()
            self.server.usage.close()

    def _run(self, name: str, parameters: dict[str, str], address: str, cookie: str, kind: str) -> Reply:
        answer = f"{name.lower()}response"
        try:
            caller = self._sessions.verify(parameters, address, cookie)
        except NotVerified:
            return self._reply(UNAUTHORIZED, answer, error(UNAUTHORIZED, NOT_VERIFIED, False), kind)
        if name == "logout":
            self._sessions.logout(cookie)
            return self._reply(200, answer, {"description": "success"}, kind)
        registered = COMMANDS.get(name)
        if registered is None:
            return self._reply(UNSUPPORTED, "errorresponse", error(UNSUPPORTED, f"Unknown API command: {name}", True), kind)
        if registered.admin and not caller.is_admin:
            text = f"The given command '{name}' either does not exist, is not available for user."
            return self._reply(UNAUTHORIZED, answer, error(UNAUTHORIZED, text, True), kind)
        return self._call(name, parameters, caller, kind)

    def _call(self, name: str, parameters: dict[str, str], caller: Caller, kind: str) -> Reply:
        answer = f"{name.lower()}response"
        call = Call(name, parameters, caller, self.server, self.agents, self.cluster, self.jobs, self.system_vms, self.templates)
        try:
            return self._reply(200, answer, COMMANDS[name].handler(call), kind)
        except ApiError as refused:
            log.info("(%s) %s", refused.code, refused.text)
            return self._reply(refused.code, answer, error(refused.code, refused.text, True), kind)
        except Exception as failure:
            log.exception("unhandled exception executing api command: %s", name)
            text = str(failure) if caller.is_admin else "Internal error executing command, please contact your administrator"
            return self._reply(INTERNAL_ERROR, answer, error(INTERNAL_ERROR, text, True), kind)

    def _login(self, parameters: dict[str, str], address: str, kind: str) -> Reply:
        try:
            values, session = self._sessions.login(parameters, address)
        except LoginFailed as failure:
            return self._reply(LOGIN_FAILED, "loginresponse", error(LOGIN_FAILED, str(failure), False), kind)
        except NotVerified:
            return self._reply(UNAUTHORIZED, "loginresponse", error(UNAUTHORIZED, NOT_VERIFIED, False), kind)
        return self._reply(200, "loginresponse", values, kind, (SESSION_COOKIE.format(session),))

    def _reply(self, status: int, name: str, value: object, kind: str, cookies: tuple[str, ...] = ()) -> Reply:
        return render(status, name, value, kind, self.server.version.text, cookies)
