"""UserAccess: users are let out before the original stops and in again when a side serves; administrators stay."""

from __future__ import annotations

import shlex

from parallel_build.configuration import StackConfiguration
from parallel_build.operations import frontends
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.let_users_out import let_users_out
from parallel_build.operations.packet_filter import TABLE
from parallel_build.operations.user_access_setting import SETTING
from parallel_build.operations.user_firewall import closed_servers, let_users_in, plain_ports, secure_ports, server_networks, user_ports
from parallel_build.records.front_place import CLOSED
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class UserAccess(SwitchedStep):
    """Users out, administrators stay."""

    type = "UserAccess"
    summary = "users out, administrators stay"
    within_deadline = True

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The method's actions, and the proof."""
        return [*frontends.plan(configuration, CLOSED, frontends.USERS), *self._actions(configuration), self._proof(configuration)]

    @staticmethod
    def _proof(configuration: StackConfiguration) -> str:
        section = configuration.window.user_access.probe
        if section is None:
            return "prove that administrators are still served; without window.userAccess.probe nobody asks from a user's address"
        where = section.server.name if section.server else section.source
        return f"prove from {where} by a signed call that users were served before and are not any more, and that administrators still are"

    def _actions(self, configuration: StackConfiguration) -> list[str]:
        access = configuration.window.user_access
        admins = ", ".join(access.administrators)
        if access.method == "command":
            return [f"run here: {shlex.join(access.close)}"]
        if access.method == "frontend":
            return ["who comes past what stands before the servers is not held out (window.userAccess.method: frontend)"]
        if access.method == "cidr":
            return [
                f"updateConfiguration name={SETTING} value={','.join([*access.administrators, *server_networks(configuration)])} on the original, "
                "and the same for every account that has a value of its own",
                "prove by listConfigurations",
            ]
        ports = ", ".join(str(port) for port in user_ports(configuration))
        names = [server.name for server in closed_servers(configuration)]
        return [
            f"on {', '.join(names)}: refuse TCP {ports} to all but {admins} and the management servers (nft table {TABLE}), "
            "also after a reboot",
            *self._answers(configuration),
        ]

    @staticmethod
    def _answers(configuration: StackConfiguration) -> list[str]:
        plain, secure = (", ".join(map(str, ports(configuration))) for ports in (plain_ports, secure_ports))
        lines = [f"users' calls to TCP {plain} are answered there: 503 with Retry-After, in CloudStack's form"] if plain else []
        by_tls = f"those to TCP {secure} (TLS) likewise, with the certificate of the server's own keystore, in memory only"
        return [*lines, f"{by_tls}; refused where it serves no TLS or its keystore can't be read"] if secure else lines

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """How users are let in again."""
        return [*self._reverse(configuration), *frontends.plan(configuration, frontends.TO_ORIGINAL, frontends.USERS)]

    @staticmethod
    def _reverse(configuration: StackConfiguration) -> list[str]:
        access = configuration.window.user_access
        if access.method == "frontend":
            return []
        if access.method == "command":
            return [f"run here: {shlex.join(access.open)}"]
        if access.method == "cidr":
            return [f"updateConfiguration name={SETTING} to what it was, for each account with a value of its own as well"]
        return [
            f"on {', '.join(s.name for s in configuration.original.management)}: remove the nft table {TABLE} and what brings it back at a boot"
        ]

    def apply(self, context: Context) -> Outputs:
        """Close, by the configured method."""
        access = context.configuration.window.user_access
        proved = let_users_out(context)
        return {"method": access.method, "administrators": list(access.administrators), "proved": proved}

    def verify(self, context: Context) -> Outputs:
        """Taken out once; the original may be silent by now."""
        return {"method": context.configuration.window.user_access.method}

    def revert(self, context: Context) -> None:
        """Open on the original; the original's management is up again by then."""
        let_users_in(context)
