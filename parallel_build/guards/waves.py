"""Guard over the router waves: what the configuration names must be there, or a wave would be empty without a word."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.cloudstack.router_networks import within
from parallel_build.configuration import StackConfiguration
from parallel_build.errors import GuardFailed
from parallel_build.facts.new import NewFacts
from parallel_build.facts.original import OriginalFacts
from parallel_build.guards.rule import rules_of
from parallel_build.resolved_stack import Site


def waves_name_what_is_there(site: Site, old: OriginalFacts, fresh: NewFacts) -> None:
    """Rule: every zone, domain, account, network and VPC that `routers` and `window.acceptZones` name is in the cloud."""
    zones = {str(zone["name"]) for zone in old.zones}
    wrong = list(_unknown(site.configuration, old, zones))
    if wrong:
        raise GuardFailed(
            f"the cloud does not have what the configuration names: {', '.join(wrong)}",
            "a wave of it would be empty, and its networks would come with the rest"
            + (f"; the zones are {', '.join(sorted(zones))}" if zones else ""),
            "correct these keys: names and ids of networks and VPCs, names of zones and accounts, paths of domains such as ROOT/customers",
        )


def _unknown(configuration: StackConfiguration, old: OriginalFacts, zones: set[str]) -> Iterator[str]:
    known = {what: set(found) for what, found in old.names.items()}
    for place, wave in enumerate(configuration.routers.waves):
        key = f"routers.waves[{place}]"
        for name in wave.networks or ():
            if name not in known.get("networks", ()):
                yield f"{key}.networks: {name}"
        if wave.zone is not None and wave.zone not in zones:
            yield f"{key}.zone: {wave.zone}"
        if wave.domain is not None and not any(within(path, wave.domain) for path in known.get("domains", ())):
            yield f"{key}.domain: {wave.domain}"
        if wave.account is not None and wave.account not in known.get("accounts", ()):
            yield f"{key}.account: {wave.account}"
    for name in configuration.routers.accepted:
        if name not in known.get("networks", ()):
            yield f"routers.accepted: {name}"
    chosen = configuration.window.accept_zones
    for name in () if chosen == "all" else chosen:
        if name not in zones:
            yield f"window.acceptZones: {name}"


GUARDS = rules_of(waves_name_what_is_there)
