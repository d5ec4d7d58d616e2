"""Rules over global settings and the certificates that CloudStack keeps."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from parallel_build.cloudstack.agents import SETTING, addresses, is_loopback
from parallel_build.configuration.values import usual_address
from parallel_build.health.facts import HealthFacts
from parallel_build.health.finding import rule
from parallel_build.health.scoped import Setting, host_names, mentions
from parallel_build.rules import RuleFinding, Severity, listed

SOON = timedelta(days=30)
SOON_RENEWED = timedelta(days=7)  # CloudStack renews 15 days before the end [ca.framework.cert.expiry.alert.period]


def covers(networks: str, address: str) -> bool:
    """Whether a comma separated list of networks has the address; a part that is no network counts for nothing."""
    for part in networks.split(","):
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(part.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


@rule(Severity.BLOCKS, "setting host; agents dial what it names")
def host_is_no_loopback(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The setting `host` names addresses that other machines reach."""
    if not facts.rows("settings"):
        return
    agents = any(row["hypervisor_type"] in ("KVM", "LXC") for row in facts.rows("hosts"))
    bad = [each for each in addresses(facts.setting(SETTING)) or [""] if not each or is_loopback(each)]
    if bad and agents:
        yield RuleFinding(
            f"the setting host is {facts.setting(SETTING) or 'empty'}",
            "new system VMs would connect to themselves, and agents lose their management server",
            "updateConfiguration name=host value=[the management servers' addresses]",
        )


@rule(
    Severity.WARNS,
    "management.network.cidr in CloudStack ConsoleProxyManagerImpl, SecondaryStorageManagerImpl, RootCAProvider.addConfiguredManagementIp",
)
def management_network_holds_new_servers(facts: HealthFacts) -> Iterator[RuleFinding]:
    """`management.network.cidr` has the new management servers."""
    for networks in facts.values("management.network.cidr"):
        outside = [
            f"{each.name} ({each.address})" for each in facts.site.configuration.new.management if not covers(networks.value, each.address)
        ]
        if outside and (networks.value or not networks.where):
            yield RuleFinding(
                f"{networks.label} is {networks.value or 'empty'}, which does not have {listed(outside)}",
                "system VMs let only that network in and route to it by their management side; and a server whose address is neither in it nor on the "
                "interface of its default route has a certificate without that address: with ca.plugin.root.auth.strictness the other management "
                "servers refuse it, so each reaches only the hosts that are connected to itself",
                "widen it, before system VMs are renewed and new servers are started",
            )


@rule(Severity.BLOCKS, "api.source.cidr.checks.enabled; CloudStack ApiServer.checkCommandAvailable")
def users_can_be_kept_out(facts: HealthFacts) -> Iterator[RuleFinding]:
    """With window.userAccess.method cidr the API looks at where calls come from."""
    if facts.site.configuration.window.user_access.method == "cidr" and facts.setting("api.source.cidr.checks.enabled") == "false":
        yield RuleFinding(
            "api.source.cidr.checks.enabled is false, and window.userAccess.method is cidr",
            "api.allowed.source.cidr.list has no effect then, so the window could not keep users out and would end as soon as it opens",
            "set it to true before the window, or use another window.userAccess.method",
        )


@rule(Severity.WARNS, "secstorage.allowed.internal.sites")
def template_sites_are_allowed(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Templates with an internal address come from allowed networks."""
    allowed = facts.values("secstorage.allowed.internal.sites") or [Setting("secstorage.allowed.internal.sites", "")]
    for template in facts.site.configuration.templates:
        host = urlsplit(template.url).hostname or ""
        try:
            internal = ipaddress.ip_address(host).is_private
        except ValueError:  # a name: what it resolves to is the secondary storage VM's matter
            continue
        for sites in [each for each in allowed if internal and not covers(each.value, host)]:
            yield RuleFinding(
                f"{host}, where template {template.name} comes from, is not in {sites.label} ({sites.value or 'empty'})",
                "the secondary storage VM has no route to internal sites that are not named there",
                "add it there and renew the secondary storage VM, or use another url",
            )


@rule(Severity.WARNS, "integration.api.port: an API without authentication")
def open_api_is_off(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The API without authentication is off."""
    port = facts.setting("integration.api.port")
    if port not in ("", "0") and not port.startswith("-"):
        yield RuleFinding(
            f"integration.api.port is {port}",
            "everybody who reaches that port is root administrator; on the new servers too, and users-out does not close it",
            "set it to 0, or close the port in the firewalls",
        )


@rule(Severity.WARNS, "ManagementServerImpl.enableAdminUser")
def administrator_is_enabled(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The built-in administrator (user 2) is not disabled."""
    for row in facts.rows("administrator"):
        if str(row["state"]).lower() == "disabled":
            yield RuleFinding(
                f"the built-in administrator {row['username']} is disabled",
                'every start of a management server enables it again and sets its password to "password"',
                "enable it with a strong password of your own, or lock it instead",
            )


@rule(Severity.WARNS, "Upgrade41000to41100.java; adminguide on dynamic roles")
def roles_are_dynamic(facts: HealthFacts) -> Iterator[RuleFinding]:
    """API permissions are in the database, not in a file on the old servers."""
    if facts.setting("dynamic.apichecker.enabled") == "false":
        yield RuleFinding(
            "dynamic.apichecker.enabled is false",
            "roles are in commands.properties on the old management servers, which the new ones do not have",
            "migrate to dynamic roles (migrate-dynamicroles.py), or carry that file over",
        )


@rule(Severity.NOTES, "the target's own program: the names of settings in its classes and in the descriptions of its modules")
def changed_settings_are_known(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports changed settings that the target does not know."""
    if facts.unknown_settings:
        target = facts.site.configuration.new.version
        yield RuleFinding(
            f"changed settings that CloudStack {target} names nowhere in its program: {listed(sorted(facts.unknown_settings))}",
            "they have no effect after the upgrade, whatever they were meant to do",
            "see the release notes for what took their place, and set that once the new servers serve",
        )


@rule(Severity.NOTES, "endpoint.url and others that carry an address or a name, global or of a domain, account, zone, cluster or store")
def settings_name_old_servers(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Reports settings that name an old management server, by address, by name, or by a name that leads to its address."""
    addresses = {server.address for server in facts.site.configuration.original.management}
    known = addresses | old_names(facts)
    leading = {name for name, found in facts.resolved.items() if addresses & set(found)}
    naming = [
        str(setting)
        for setting in [*facts.settings(), *facts.addresses()]
        if setting.name != SETTING and (any(mentions(setting.value, name) for name in known) or leading & set(host_names(setting.value)))
    ]
    if naming:
        yield RuleFinding(
            f"settings name the old management servers: {listed(naming)}",
            "callbacks of autoscaling, Kubernetes or single sign-on, and hosts' downloads, go there after the switch",
            "change them after the switch, or use a name that moves with the service",
        )


def old_names(facts: HealthFacts) -> set[str]:
    """The names of the original's management servers: in the stack, in mshost, and as each calls itself."""
    servers = facts.site.configuration.original.management
    addresses = {server.address for server in servers}
    found = {server.name for server in servers}
    found |= {str(row["name"]) for row in facts.rows("servers") if usual_address(str(row["service_ip"])) in addresses}
    for server in servers:
        found |= set(facts.servers[server.name].names) if server.name in facts.servers else set()
    return {name for name in found if name and not name.startswith("localhost")}


@rule(Severity.WARNS, "validity of each certificate; CloudStack RootCAProvider.java")
def certificates_last(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No certificate ends soon."""
    for each in facts.certificates:
        if each.expires is None:
            yield RuleFinding(
                f"the certificate of {each.what} can't be read", "whether it is valid is not known", "look at it by hand", Severity.NOTES
            )
        elif each.expires <= facts.when:
            yield RuleFinding(
                f"the certificate of {each.what} ended on {each.expires:%Y-%m-%d}",
                "whoever checks it refuses it, the new servers as well",
                "renew it before the window (provisionCertificate, uploadCustomCertificate)",
                Severity.BLOCKS,
            )
        elif each.expires - facts.when < (SOON_RENEWED if each.renewed else SOON):
            yield RuleFinding(
                f"the certificate of {each.what} ends on {each.expires:%Y-%m-%d}",
                "it would end while people look for faults of the upgrade",
                "renew it before the window (provisionCertificate, uploadCustomCertificate)",
            )
