"""What letting users out will need, looked at before the window: by then somebody may have to install a package, with users waiting for the night's end."""

from __future__ import annotations

from parallel_build.errors import GuardFailed
from parallel_build.operations import prove_user_access
from parallel_build.operations.context import Context
from parallel_build.operations.user_firewall import allowed_networks, closed_servers

FILTER = "command -v nft >/dev/null || command -v iptables >/dev/null"


def prove_users_can_be_out(context: Context) -> list[str]:
    """Look for a packet filter on every server that the barrier is put up on, and at where this machine comes from.

    Returns:
        what should be corrected before the window; another workstation may be the one that opens it, so it is no failure here.
    Raises:
        GuardFailed: a server has no packet filter.
    """
    configuration = context.configuration
    method = configuration.window.user_access.method
    if method in ("command", "frontend"):
        return []
    if method == "firewall":
        servers = closed_servers(configuration)
        without = [each.name for each in servers if not context.host(each).run(["sh", "-c", FILTER], ok=None).ok]
        if without:
            raise GuardFailed(
                f"there is no packet filter on {', '.join(without)}: neither nft nor iptables",
                "window.userAccess.method is firewall, so the window could not keep users out there",
                "install nftables there, or keep users out another way (window.userAccess.method cidr or command)",
            )
    try:
        prove_user_access.administrators_would_stay(context, allowed_networks(configuration))
    except GuardFailed as error:
        context.progress(f"warning: the window would not open from this machine: {error}")
        return [str(error)]
    return []
