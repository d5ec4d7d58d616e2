"""Letting users out and in: the packet filter on the management servers, or what the operator has configured instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from parallel_build.cloudstack import endpoint
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import API_PORTS, Server, StackConfiguration
from parallel_build.errors import Cancelled, Fenced, ParallelBuildError, StepFailed
from parallel_build.operations import (
    frontends,
    known_servers,
    original_management,
    packet_filter,
    prove_user_access,
    user_access_setting,
    users_out_service,
)
from parallel_build.operations.asked_cloud import asked, may_write
from parallel_build.operations.confirmed_down import is_lost
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import only_new_side, store
from parallel_build.operations.packet_filter import Barrier
from parallel_build.operations.run_here import run_here
from parallel_build.records.front_place import NEW_SIDE
from parallel_build.records.states import StartState, start_of
from parallel_build.remote.parallel import Workers

LEAVING = 3.0  # seconds for calls that the new side has received when it is left: it may be what is wrong there that keeps them waiting
WEB_PORTS = (80, 443)  # where users come without a port: a redirection or a proxy on the server


def user_ports(configuration: StackConfiguration) -> list[int]:
    """TCP ports that users may come to on a management server of either side, sorted."""
    served = (configuration.original.served.port, configuration.new.api.served.port)
    return sorted({*WEB_PORTS, *API_PORTS.values(), *served})


def plain_ports(configuration: StackConfiguration) -> list[int]:
    """Those of `user_ports` on which users speak plain HTTP."""
    sides = (configuration.original.served, configuration.new.api.served)
    secure = {443, API_PORTS["https"], *(side.port for side in sides if side.scheme == "https")}
    return [port for port in user_ports(configuration) if port not in secure]


def secure_ports(configuration: StackConfiguration) -> list[int]:
    """The others: users are answered there where the server itself serves TLS, with its own certificate."""
    plain = plain_ports(configuration)
    return [port for port in user_ports(configuration) if port not in plain]


def barrier(configuration: StackConfiguration) -> Barrier:
    """What is closed, to whom, and where users are answered."""
    return Barrier(allowed_networks(configuration), user_ports(configuration), plain_ports(configuration), secure_ports(configuration))


def at_once(act: Callable[[Server], None], servers: Sequence[Server]) -> None:
    """Do the same on every server at the same time; all are tried, the first error is raised."""
    with Workers(max(1, len(servers))) as pool:
        futures = [pool.submit(act, server) for server in servers]
    for future in futures:
        future.result()


def run_local(context: Context, words: list[str], timeout: float) -> None:
    """Run the operator's own load balancer command on this machine.

    Raises:
        StepFailed: it did not end with exit code 0 in time.
    """
    run_here(words, timeout, "window.userAccess", context.cancel)


def let_users_in(context: Context) -> list[str]:
    """Open on the original; one of its management servers is up again by then.

    Returns:
        servers that users are still kept out of, and why.
    Raises:
        StepFailed: users are in nowhere.
    """
    access, kept, lost = context.configuration.window.user_access, dict[str, ParallelBuildError](), set[str]()
    if access.method == "command":
        if store(context).facts("UserAccess").get("closed"):
            may_write(context)
            run_local(context, access.open, 120)
    elif access.method == "cidr":
        user_access_setting.open_again(context, original_management.answering(context))
    elif access.method == "firewall":
        record = store(context).read()
        originals = known_servers.original_management(context.configuration, record)

        def let_in(server: Server) -> None:
            try:
                packet_filter.open_again(context.host(server))
            except (Cancelled, Fenced):
                raise
            except ParallelBuildError as error:
                context.progress(f"users are not let in on {server.name} yet: {error}")
                context.run.record("users kept out", step=context.step, server=server.name, error=str(error))
                if server in originals:
                    kept[server.name] = error
                    if is_lost(context, server, error):
                        lost.add(server.name)

        context.progress(f"letting users in on {', '.join(server.name for server in originals)}")
        at_once(let_in, originals)
        if originals and len(kept) == len(originals):
            raise next(iter(kept.values()))
        context.progress(f"users in on {', '.join(server.name for server in originals if server.name not in kept)}")
        at_once(let_in, known_servers.new_management(context.configuration, record))
    left = frontends.to_original(context, store(context), frontends.USERS, partial(_not_served, context))
    return [*(f"users on {name}: {error}" for name, error in kept.items() if name not in lost), *left]


def _not_served(context: Context) -> str:
    """Why users who come by the probe's url are not let in though what stands there was led to the original; "" where they are, or nobody could ask."""
    section = context.configuration.window.user_access.probe
    served = prove_user_access.users_are_in(context, context.configuration.original.management, must=False)
    if served is not False or section is None or not section.url:
        return ""
    return (
        f"`toOriginal` ended well, and users who come by {section.url} are not served; correct it in original.frontend (or window.userAccess.probe), "
        "then run the same command again"
    )


def admit_on_new(context: Context) -> None:
    """Let users in on the new side, once it is accepted."""
    access, shut = context.configuration.window.user_access, set[str]()
    if access.method == "command":
        may_write(context)
        run_local(context, access.open, 120)
    elif access.method == "cidr":
        user_access_setting.open_again(context, asked(context, Cloud.new(context.site)))
    elif access.method == "firewall":
        shut = _open_new(context)
        at_once(partial(tell_where, context), context.configuration.original.management)
    frontends.to_new(context, store(context))
    try:
        prove_user_access.users_are_in(context, [server for server in serving(context) if server.name not in shut], must=True)
    except StepFailed:
        frontends.doubt(store(context), NEW_SIDE)
        raise


def _open_new(context: Context) -> set[str]:
    """Open on every new server; one that has been proved good is enough, the others are reported, and opened when they are started.

    Returns:
        names of those that are still closed.
    Raises:
        ParallelBuildError: none of those that serve can be opened.
    """
    shut: dict[str, ParallelBuildError] = {}

    def open_(server: Server) -> None:
        try:
            packet_filter.open_again(context.host(server))
        except (Cancelled, Fenced):
            raise
        except ParallelBuildError as error:
            shut[server.name] = error

    at_once(open_, context.configuration.new.management)
    good = serving(context)
    if all(server.name in shut for server in good):
        raise shut[good[0].name]
    for name, error in sorted(shut.items()):
        context.progress(f"users are not let in on {name} yet: {error}")
        context.run.record("users kept out", step=context.step, server=name, error=str(error))
    return set(shut)


def open_started(context: Context, servers: Sequence[Server]) -> None:
    """Let users in on new servers that were started after the others; nothing happens where they are in."""
    if context.configuration.window.user_access.method == "firewall":
        at_once(lambda server: packet_filter.open_again(context.host(server)), servers)


def serving(context: Context) -> list[Server]:
    """The new management servers that have been proved good: the others start when users are in already."""
    facts, (first, *others) = store(context).mine().facts, context.configuration.new.management
    good = [machine for machine in others if StartState.of(facts.get(start_of(machine.name, first=False), {})).good]
    return [first, *good]


@contextlib.contextmanager
def _only_shown(context: Context, server: Server) -> Iterator[None]:
    """What an old address says keeps nobody out and holds no step up: users are in on the new side, whatever is wrong on a server of the original."""
    try:
        yield
    except (Cancelled, Fenced):
        raise
    except ParallelBuildError as error:
        context.progress(f"the answer of {server.name} to users: {error}")
        context.run.record("not shown to users", step=context.step, server=server.name, error=str(error))


def tell_where(context: Context, server: Server) -> None:
    """Have an address of the original answer users that the cloud has moved, or nothing; a server that is gone answers nothing, which keeps nobody out."""
    configuration = context.configuration
    with _only_shown(context, server):
        host = context.host(server)
        if configuration.window.old_addresses == "closed":
            tell_no_more(context, server)
        elif users_out_service.there(host):
            where = endpoint.of_new(configuration).url.removesuffix("/api")
            users_out_service.say(host, f"The cloud has moved to {where}", moved=where)


def tell_no_more(context: Context, server: Server) -> None:
    """Have an address of the original refuse users' connections instead of answering them."""
    closing = barrier(context.configuration)
    with _only_shown(context, server):
        host = context.host(server)
        if packet_filter.closed(host):
            packet_filter.close(host, Barrier(closing.allowed, closing.ports))
        users_out_service.stop(host)


def close_on_new(context: Context) -> None:
    """Users out of the new side again, before it is left; a server that can't be reached serves nobody."""
    access = context.configuration.window.user_access
    with only_new_side(context, "users out by what stands before the original"):
        frontends.close_on_new(context, store(context))
    if access.method == "command":
        with only_new_side(context, "users out of the new side"):
            may_write(context)
            run_local(context, access.close, 120)
        return
    if access.method == "cidr":
        machine = context.configuration.new.management[0]
        with only_new_side(context, f"users out by {machine.name}"):
            user_access_setting.close(context, asked(context, Cloud.new(context.site, machine)), allowed_networks(context.configuration))
        return
    if access.method == "frontend":
        return
    closing = replace(barrier(context.configuration), answered_within=LEAVING)

    def close(machine: Server) -> None:
        with only_new_side(context, f"users out on {machine.name}"):
            packet_filter.close(context.host(machine), closing)

    at_once(close, context.configuration.new.management)


def server_networks(configuration: StackConfiguration) -> list[str]:
    servers: list[Server] = [*configuration.original.management, *configuration.new.management]
    return [f"{server.address}/{128 if ':' in server.address else 32}" for server in servers]


def allowed_networks(configuration: StackConfiguration) -> list[str]:
    return [*configuration.window.user_access.administrators, *server_networks(configuration)]


def closed_servers(configuration: StackConfiguration) -> list[Server]:
    return [*configuration.original.management, *configuration.new.management]
