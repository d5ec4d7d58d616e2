"""Proof that users are out, or in: asked from a user's address, and from the administrator's."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from parallel_build.cancel import wait_for
from parallel_build.cloudstack import endpoint
from parallel_build.cloudstack.api import Cloud
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.cloudstack.user_probe import Answer, Probe
from parallel_build.configuration import ServedApi, Server
from parallel_build.errors import ConnectionFailed, GuardFailed, StepFailed
from parallel_build.operations import users_out
from parallel_build.operations.context import Context

SETTLE = 30.0  # seconds for a load balancer or a packet filter to take effect


def probe(context: Context) -> Probe | None:
    """The configured probe; None where the stack has none."""
    section = context.configuration.window.user_access.probe
    return Probe(context.site, context.connections, section) if section else None


def addresses(context: Context, servers: Sequence[Server]) -> list[Endpoint]:
    """Where users ask: the probe's own url, such as a load balancer's, else every one of the side's management servers."""
    configuration = context.configuration
    section = configuration.window.user_access.probe
    if section is not None and section.url:
        return [Endpoint(section.url, "original.api", configuration.original.api.ca_file)]
    return [endpoint.of_server(_side(context, server), server) for server in servers]


def _side(context: Context, server: Server) -> ServedApi:
    original = context.configuration.original
    return original.served if server in original.management else context.configuration.new.api.served


def users_are_in_before(context: Context) -> list[str]:
    """Before users are taken out the probe must be served, or its later silence would prove nothing.

    Returns:
        what was proved, in words; empty where there is no probe.
    Raises:
        GuardFailed: it is not served; nothing has been changed.
    """
    asker = probe(context)
    if asker is None:
        return []
    off = context.configuration.confirmed_down
    servers: list[Server] = [server for server in context.configuration.original.management if server.name not in off]
    answers = [asker.ask(where) for where in addresses(context, servers)]
    silent = [each for each in answers if not each.served]
    if silent:
        raise GuardFailed(
            f"from {asker.where} users are not served even now: {in_words(silent)}",
            "users are still in, so a probe that is not served could not prove later that they are out",
            "correct window.userAccess.probe: it must ask from where users are, and reach what they reach",
        )
    return [f"before: from {asker.where} {in_words(answers)}"]


def administrators_would_stay(context: Context, allowed: Sequence[str]) -> None:
    """Rule: this machine is among those who keep access, or the tool itself would be shut out, with no way to open again by the API.

    Its address is known in two ways, either of which may be hidden by a NAT or a jump host: its own towards the API, and the one that a management
    server sees its SSH session come from.

    Raises:
        GuardFailed: neither address is allowed; nothing has been changed.
    """
    addresses_seen = [address for address in (_own_address(context), _seen_address(context)) if address]
    networks = [ipaddress.ip_network(network) for network in allowed]
    if addresses_seen and not any(ipaddress.ip_address(address) in network for address in addresses_seen for network in networks):
        raise GuardFailed(
            f"administrators would be out as well: this machine comes from {' or '.join(addresses_seen)}",
            f"window.userAccess.administrators is {', '.join(context.configuration.window.user_access.administrators)}",
            "add the address that the management servers see it come from",
        )


def _own_address(context: Context) -> str | None:
    parts = urlsplit(context.configuration.original.api.url)
    try:
        family, kind, _, _, target = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as asking:
            asking.connect(target)  # sends nothing: it only chooses the address
            return str(asking.getsockname()[0])
    except OSError:
        return None


def _seen_address(context: Context) -> str | None:
    for server in context.configuration.original.management:
        with contextlib.suppress(ConnectionFailed):
            shown = context.host(server).run(["sh", "-c", 'echo "${SSH_CONNECTION:-}"'])
            return next(iter(shown.stdout.split()), None)
    return None


def users_are_out(context: Context) -> list[str]:
    """Prove that the probe is served nowhere any more, and that an administrator still is.

    Raises:
        StepFailed: users are still in, or administrators are out too.
    """
    proved = [administrators_are_in(context)]
    asker = probe(context)
    if asker is None:
        users_out.note_out(context)
        context.progress("users out is not proved from a user's address: window.userAccess.probe is not set")
        return proved
    asked = addresses(context, context.configuration.original.management)
    last: list[Answer] = []

    def out() -> bool:
        last[:] = [asker.ask(where) for where in asked]
        return all(each.asked and not each.served for each in last)

    try:
        wait_for("users to be out", out, timeout=SETTLE, cancel=context.cancel, interval=1)
    except StepFailed:
        wrong = [each for each in last if each.served or not each.asked]
        raise StepFailed(
            f"from {asker.where} users are still in: {in_words(wrong)}",
            f"the method {context.configuration.window.user_access.method} does not hold them out there",
            f"correct window.userAccess, then `pulumi up`; going back (parallel-build back {context.site.stack}) lets users in again",
        ) from None
    users_out.note_out(context, last)
    proved.append(f"out: from {asker.where} {in_words(last)}")
    context.progress(proved[-1])
    return proved


def users_are_served(context: Context) -> str:
    """Where the probe is served at this moment by the original, in words; "" where it is not, or where there is none."""
    asker = probe(context)
    if asker is None:
        return ""
    answers = [asker.ask(where) for where in addresses(context, context.configuration.original.management)]
    return in_words([each for each in answers if each.served])


def administrators_are_in(context: Context) -> str:
    """Prove that this machine, an administrator's, is served: by the API's configured address or by a management server itself.

    Raises:
        StepFailed: it is not.
    """
    tried: list[str] = []
    for server in (None, *context.configuration.original.management):
        cloud = Cloud.original(context.site, server)
        try:
            cloud.call("listCapabilities")
        except (ConnectionFailed, StepFailed) as error:
            tried.append(str(error))
        else:
            return f"administrators are in: {cloud.url} answers"
    raise StepFailed(
        f"administrators are out as well: {' | '.join(tried[:2])}",
        "this machine's address is not among window.userAccess.administrators as the servers see it",
        "add it (behind a NAT its outer address), then `pulumi up`; going back lets everybody in again: "
        f"parallel-build back {context.site.stack}",
    )


def users_are_in(context: Context, servers: Sequence[Server], *, must: bool) -> bool | None:
    """Prove that the probe is served again.

    Args:
        servers: the management servers that serve now.
        must: raise when it is not; in a rollback it is logged and recorded instead: going back must be possible whatever the probe meets.
    Returns:
        whether it is; None where nobody could ask.
    Raises:
        StepFailed: it is not served within half a minute.
    """
    asker, side = probe(context), "original" if any(server in context.configuration.original.management for server in servers) else "new"
    if asker is None:
        users_out.note_in(context, side=side)
        return None
    asked = addresses(context, servers)
    last: list[Answer] = []

    def served() -> bool:
        last[:] = [asker.ask(where) for where in asked]
        return all(each.served for each in last)

    try:
        wait_for("users to be in", served, timeout=SETTLE, cancel=context.cancel, interval=1)
    except StepFailed:
        fact = f"from {asker.where} users are not served: {in_words([each for each in last if not each.served])}"
        if must:
            raise StepFailed(
                fact,
                "the barrier is open; something else holds them out, or the servers do not answer",
                "see the firewalls and the load balancer between them and the servers, then `pulumi up`",
            ) from None
        context.progress(f"not proved: {fact}")
        context.run.record("not proved", step=context.step, error=fact)
        return False if all(each.asked for each in last) else None
    users_out.note_in(context, last, side=side)
    context.progress(f"in: from {asker.where} {in_words(last)}")
    return True


def in_words(answers: list[Answer]) -> str:
    """`http://...: HTTP 200, http://...: no answer`."""
    return ", ".join(f"{each.url}: {each.words}" for each in answers)
