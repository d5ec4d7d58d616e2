"""The table `configuration`: values as the running server sees them."""

from __future__ import annotations

from .server import ManagementServer

#: Categories whose values are encrypted.
ENCRYPTED = ("Hidden", "Secure")


def value(server: ManagementServer, name: str, default: str = "") -> str:
    """Return a global setting, decrypted; the default where it is missing or empty."""
    columns = server.cloud.columns("configuration")
    fallback = ", default_value" if "default_value" in columns else ""
    row = server.cloud.row(f"SELECT category, value{fallback} FROM configuration WHERE name = %s", name)
    if row is None:
        return default
    text = row["value"] if row["value"] is not None else row.get("default_value")
    if row["category"] in ENCRYPTED:
        text = server.decrypt(text)
    return text or default


def number(server: ManagementServer, name: str, default: int) -> int:
    """Return a global setting that is a whole number."""
    text = value(server, name)
    return int(text) if text.strip().lstrip("-").isdigit() else default


def zone_value(server: ManagementServer, name: str, zone_id: int, default: str = "") -> str:
    """Return a setting as it holds in a zone: the zone's own value, else the global one."""
    if server.cloud.has("data_center_details"):
        own = server.cloud.value("SELECT value FROM data_center_details WHERE dc_id = %s AND name = %s", zone_id, name)
        if own:
            return str(own)
    return value(server, name, default)


def account_value(server: ManagementServer, name: str, account_id: int, default: str = "") -> str:
    """Return a setting as it holds for an account: the account's own value, else the global one."""
    if server.cloud.has("account_details"):
        own = server.cloud.value("SELECT value FROM account_details WHERE account_id = %s AND name = %s", account_id, name)
        if own:
            return str(own)
    return value(server, name, default)


def agent_hosts(server: ManagementServer, host_id: int) -> str:
    """Return the list that an agent gets, as it writes it down: `a,b@static`.

    [CloudStack 4.22 server/.../agent/lb/IndirectAgentLBServiceImpl.java]
    """
    addresses = [part.strip() for part in value(server, "host", "localhost").split(",") if part.strip()]
    algorithm = value(server, "indirect.agent.lb.algorithm", "static")
    if algorithm == "roundrobin" and addresses:
        first = host_id % len(addresses)
        addresses = addresses[first:] + addresses[:first]
    return f"{','.join(addresses)}@{algorithm}"
