"""Letting users out by the configured method, proved; administrators stay."""

from __future__ import annotations

from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Server
from parallel_build.errors import ConnectionFailed
from parallel_build.operations import frontends, packet_filter, prove_original_down, prove_user_access, user_access_setting
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.user_firewall import allowed_networks, at_once, barrier, closed_servers, run_local

USERS = "UserAccess"  # under this name the record says that users were let out


def let_users_out(context: Context) -> list[str]:
    """Close, whatever an earlier try has closed already.

    Returns:
        what was proved, in words.
    Raises:
        GuardFailed: users are not served now, so that their later silence would prove nothing; or administrators would be shut out as well.
        StepFailed: users are still served, or something before the servers can't be closed.
    """
    access = context.configuration.window.user_access
    proved = [] if store(context).facts(USERS).get("closed") else prove_user_access.users_are_in_before(context)
    if access.method not in ("command", "frontend"):
        prove_user_access.administrators_would_stay(context, allowed_networks(context.configuration))
    context.intend("users out", method=access.method)
    frontends.close(
        context, store(context), frontends.USERS
    )  # first, so that what stands before the servers answers, and sends nobody to a barrier
    if access.method == "command":
        store(context).note({USERS: {"closed": True}}, forward=True)
        run_local(access.close, 120)
    elif access.method == "cidr":
        user_access_setting.close(context, asked(context, Cloud.original(context.site)), allowed_networks(context.configuration))
    elif access.method == "frontend":
        store(context).note({USERS: {"closed": True}}, forward=True)
    else:
        store(context).note({USERS: {"closed": True}}, forward=True)
        closing = barrier(context.configuration)

        def close(server: Server) -> None:
            context.progress(f"users out on {server.name}")
            try:
                refused = packet_filter.close(context.host(server), closing)
            except ConnectionFailed as error:
                if server in context.configuration.new.management:
                    raise
                prove_original_down.silent(context, server, error)
            else:
                if refused:
                    context.progress(f"{server.name}: users' calls are refused, not answered: {refused}")

        at_once(close, closed_servers(context.configuration))
    return proved + prove_user_access.users_are_out(context)
