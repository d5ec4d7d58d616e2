"""Letting users out by the configured method, proved; administrators stay."""

from __future__ import annotations

from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Server
from parallel_build.errors import ConnectionFailed, StepFailed
from parallel_build.operations import frontends, packet_filter, prove_original_down, prove_user_access, user_access_setting
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import store
from parallel_build.operations.user_firewall import allowed_networks, at_once, barrier, closed_servers, run_local
from parallel_build.records.front_place import CLOSED

USERS = "UserAccess"  # under this name the record says that users were let out


def let_users_out(context: Context) -> list[str]:
    """Close, whatever an earlier try has closed already.

    Returns:
        what was proved, in words.
    Raises:
        GuardFailed: users are not served now, so that their later silence would prove nothing; or administrators would be shut out as well.
        StepFailed: users are still served, or something before the servers can't be closed.
    """
    access, records = context.configuration.window.user_access, store(context)
    # An earlier try has asked before it closed anything.
    begun = records.facts(USERS).get("closed") or (frontends.declared(context.configuration) and frontends.are_closed(records))
    proved = [] if begun else prove_user_access.users_are_in_before(context)
    if access.method not in ("command", "frontend"):
        prove_user_access.administrators_would_stay(context, allowed_networks(context.configuration))
    context.intend("users out", method=access.method)
    # First, so that what stands before the servers answers, and sends nobody to a barrier.
    frontends.close(context, records, frontends.USERS)
    if access.method == "command":
        records.note({USERS: {"closed": True}}, forward=True)
        run_local(context, access.close, 120)
    elif access.method == "cidr":
        user_access_setting.close(context, asked(context, Cloud.original(context.site)), allowed_networks(context.configuration))
    elif access.method == "frontend":
        records.note({USERS: {"closed": True}}, forward=True)
    else:
        records.note({USERS: {"closed": True}}, forward=True)
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
    try:
        return proved + prove_user_access.users_are_out(context)
    except StepFailed:
        frontends.doubt(records, CLOSED)
        raise


def keep_users_out(context: Context) -> None:
    """Before the original stops: what was closed before it may be open again, where somebody has reloaded a file that knows nothing of the window.

    Raises:
        StepFailed: users are served, and can't be let out again.
    """
    if not frontends.declared(context.configuration):
        return
    records = store(context)
    if not frontends.are_closed(records) or not (served := prove_user_access.users_are_served(context)):
        return
    context.progress(f"users are served again, though what they come by was closed: {served}; it is closed once more")
    frontends.doubt(records, CLOSED)
    let_users_out(context)
