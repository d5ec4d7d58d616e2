"""Which services a network has, from whom, and what each can do."""

from __future__ import annotations

import json

from .core import Call, Response

#: The order in which services are listed. `Gateway` is in the tables but never listed.
ORDER = (
    "SourceNat",
    "Vpn",
    "Dhcp",
    "NetworkACL",
    "UserData",
    "PortForwarding",
    "Firewall",
    "Dns",
    "Lb",
    "StaticNat",
    "SecurityGroup",
    "Connectivity",
)
COUNTERS = json.dumps([{"methodname": name, "paramlist": []} for name in ("CPU", "MEMORY", "VIRTUALROUTER")], separators=(",", ":"))
STICKINESS = json.dumps(
    [
        {"methodname": name, "paramlist": [], "description": text}
        for name, text in (
            ("LbCookie", "The load balancer sets a cookie of its own."),
            ("AppCookie", "A cookie of the application decides."),
            ("SourceBased", "The client's address decides."),
        )
    ],
    separators=(",", ":"),
)
CAPABILITIES: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "SourceNat": (("SupportedSourceNatTypes", "peraccount", True), ("RedundantRouter", "false", True)),
    "Dhcp": (("DhcpAccrossMultipleSubnets", "true", False),),
    "NetworkACL": (("SupportedProtocols", "tcp,udp,icmp", False),),
    "PortForwarding": (("SupportedProtocols", "tcp,udp", False),),
    "Firewall": (
        ("SupportedProtocols", "tcp,udp,icmp", False),
        ("TrafficStatistics", "per public ip", False),
        ("SupportedEgressProtocols", "tcp,udp,icmp, all", False),
        ("MultipleIps", "true", False),
        ("SupportedTrafficDirection", "ingress, egress", False),
    ),
    "Dns": (("AllowDnsSuffixModification", "true", False),),
    "StaticNat": (("ElasticIp", "false", False), ("AssociatePublicIP", "true", False)),
}
LOAD_BALANCING: tuple[tuple[str, str, bool], ...] = (
    ("SupportedLbAlgorithms", "roundrobin,leastconn,source", False),
    ("AutoScaleCounters", COUNTERS, False),
    ("VmAutoScaling", "true", False),
    ("LbSchemes", "Public", False),
    ("SupportedStickinessMethods", STICKINESS, False),
    ("SupportedLBIsolation", "dedicated", True),
    ("ElasticLb", "false", False),
    ("InlineMode", "false", False),
)


def _capabilities(call: Call, service: str, provider: str) -> tuple[tuple[str, str, bool], ...]:
    if service == "Vpn":
        kind = "s2svpn" if provider.startswith("Vpc") else "remoteaccessvpn"
        return (("SupportedVpnTypes", "pptp,l2tp,ipsec", False), ("VpnTypes", kind, False))
    if service == "Lb":
        if call.server.is_new:
            return (("SupportedProtocols", "tcp, udp, tcp-proxy, ssl", False), ("SslTermination", "true", False), *LOAD_BALANCING)
        return (("SupportedProtocols", "tcp, udp, tcp-proxy", False), *LOAD_BALANCING)
    return CAPABILITIES.get(service, ())


def _providers(call: Call, table: str, column: str, row_id: int) -> dict[str, list[str]]:
    if not call.cloud.has(table):
        return {}
    providers: dict[str, list[str]] = {}
    for row in call.cloud.rows(
        f"SELECT service, provider FROM `{table}` WHERE `{column}` = %s AND service <> 'Gateway' ORDER BY id", row_id
    ):
        providers.setdefault(row["service"], []).append(row["provider"])
    return dict(sorted(providers.items(), key=lambda item: ORDER.index(item[0]) if item[0] in ORDER else len(ORDER)))


def of_network(call: Call, network_id: int) -> list[Response]:
    """Return a network's services with their capabilities."""
    return [
        {
            "name": service,
            "provider": [{"name": name} for name in names],
            "capability": [
                {"name": name, "value": value, "canchooseservicecapability": choice}
                for name, value, choice in _capabilities(call, service, names[0])
            ],
        }
        for service, names in _providers(call, "ntwk_service_map", "network_id", network_id).items()
    ]


def of_vpc(call: Call, vpc_id: int) -> list[Response]:
    """Return a VPC's services."""
    return [
        {"name": service, "provider": [{"name": name} for name in sorted(names)]}
        for service, names in _providers(call, "vpc_service_map", "vpc_id", vpc_id).items()
    ]
