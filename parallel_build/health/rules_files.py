"""Rules over what the original's management servers have outside the database: new servers are installed from packages and have none of it."""

from __future__ import annotations

from collections.abc import Iterator

from parallel_build.health.facts import HealthFacts
from parallel_build.health.file_places import used_for
from parallel_build.health.finding import rule
from parallel_build.health.scoped import local_path
from parallel_build.health.server_files import ServerFiles, same_zone
from parallel_build.rules import RuleFinding, Severity, Unanswered, listed

# What a set-up writes for each installation of its own: other values on the new side, on purpose.
WRITTEN_BY_SETUP = (
    "cluster.node.IP", "db.cloud.host", "db.cloud.port", "db.cloud.username", "db.cloud.password", "db.cloud.encrypt.secret",
    "db.cloud.encryptor.version", "db.cloud.encryption.type", "db.cloud.replicas", "db.cloud.slaves", "db.usage.host", "db.usage.port",
    "db.usage.username", "db.usage.password", "db.usage.replicas", "db.usage.slaves", "db.simulator.host", "db.simulator.username",
    "db.simulator.password", "db.simulator.port", "db.ha.loadBalanceStrategy", "https.keystore.password",
)  # fmt: skip


def _against(facts: HealthFacts) -> tuple[dict[str, ServerFiles], ServerFiles]:
    """What the servers of the original have, and what the new ones have; of one that could not be asked there is a finding already."""
    if facts.files and facts.new_files is None:
        raise Unanswered("no new management server can be compared with yet: they are there from phase built on")
    return facts.files, facts.new_files or ServerFiles()


def _has_packages(files: ServerFiles) -> bool:
    """Whether CloudStack is installed: a server of the operator's own is there before anything was installed on it."""
    return files.family != "none"


@rule(
    Severity.WARNS,
    "dpkg -V, rpm -V, dpkg -S, rpm -qf in the places of parallel_build/health/file_places.py; CloudStack issues 7589, 5712, 6504",
)
def files_come_from_packages(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Every file by which a management server is configured is as its package brought it, or is on the new servers already."""
    new = facts.new_files.digests if facts.new_files else {}
    for name, files in facts.files.items():
        own = [
            f"{path} ({', '.join(filter(None, (used_for(path), how)))})"
            for path, how in files.own.items()
            if not (path in files.digests and new.get(path) == files.digests[path])
        ]
        if own:
            yield RuleFinding(
                f"{name} has files of its own: {listed(own)}",
                "new servers are installed from packages: without these files what they do is missing after the switch, and nothing reports it",
                "put those that are still needed on the new servers before the switch, in the form that the target version reads",
            )
        if files.truncated:
            yield RuleFinding(
                f"{name} has more files in these places than were looked at",
                "what was not looked at may be missing after the switch",
                "look at them by hand (docs/operate/health.md lists the places)",
            )
    if unknown := [name for name, files in facts.files.items() if files.family == "none"]:
        raise Unanswered(f"neither dpkg nor rpm knows CloudStack on {listed(unknown)}: what is not from a package is not known")


@rule(Severity.WARNS, "keys of db.properties and server.properties against the first new server's; CloudStack issue 4055")
def properties_are_on_new_servers(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The new servers have every key of the original's db.properties and server.properties; never reads a value out."""
    originals, target = _against(facts)
    if originals and not _has_packages(target):
        raise Unanswered("the new management servers have no package yet: their files are there from phase built on")
    there = target.properties
    for name, files in originals.items():
        for path, keys in files.properties.items():
            new = there.get(path, {})
            missing = sorted(key for key in keys if key not in new and key not in WRITTEN_BY_SETUP)
            other = sorted(key for key, digest in keys.items() if key in new and new[key] != digest and key not in WRITTEN_BY_SETUP)
            file = path.rsplit("/", 1)[-1]
            if missing:
                yield RuleFinding(
                    f"{file} on {name} has keys that the new servers do not have: {listed(missing)}",
                    "after the switch the package's defaults apply in their place",
                    f"add those that are still needed to {path} on the new servers",
                )
            if other:
                yield RuleFinding(
                    f"{file} on {name} has other values than on the new servers: {listed(other)}",
                    "either somebody changed them, or the target's package has other defaults",
                    "compare both files, and carry over what somebody set on purpose",
                    Severity.NOTES,
                )


@rule(Severity.WARNS, "keytool -list of the Java in use against the distribution's bundle; CloudStack issue 9250")
def java_trusts_the_same(facts: HealthFacts) -> Iterator[RuleFinding]:
    """No certificate was added to Java's trust store, or the new servers trust it too."""
    new = facts.new_files.trusted if facts.new_files else frozenset[str]()
    for name, files in facts.files.items():
        added = sorted(f"{alias} ({mark[:16]}...)" for mark, alias in files.added.items() if mark not in new)
        if added:
            yield RuleFinding(
                f"Java's trust store on {name} ({files.truststore}) has certificates that were added: {listed(added)}",
                "LDAP, storage or a vCenter whose certificate is signed by them is refused by the new servers",
                "import them into the trust store of the new servers' Java (keytool -importcert)",
            )


@rule(Severity.WARNS, "/etc/localtime of both sides; CloudStack issues 8243, 12283: usage aggregates by the server's time zone")
def time_zones_agree(facts: HealthFacts) -> Iterator[RuleFinding]:
    """The new servers have the original's time zone."""
    originals, target = _against(facts)
    zone, offset = target.timezone
    original = facts.site.configuration.original
    usage = {server.name for server in (*original.usage, *(each for each in original.management if each.usage))}
    for name, files in originals.items():
        if files.timezone[0] and zone and not same_zone(files.timezone[0], zone):
            yield RuleFinding(
                f"the time zone of {name} is {files.timezone[0]} ({files.timezone[1]}), that of the new servers {zone} ({offset})",
                "usage is aggregated by the day of that time zone: its records shift after the switch" if name in usage
                else "times in logs, and schedules that follow the server's clock, shift",
                f"timedatectl set-timezone {files.timezone[0]} on the new servers, before their first start",
                None if name in usage else Severity.NOTES,
            )  # fmt: skip


@rule(Severity.WARNS, "settings, global or of a domain, account, zone, cluster or store, whose value is a path; CloudStack issue 5712")
def paths_in_settings_are_there(facts: HealthFacts) -> Iterator[RuleFinding]:
    """Files and folders that settings name are on the new servers too."""
    new = facts.new_files.paths if facts.new_files else frozenset[str]()
    old = {path: name for name, files in reversed(facts.files.items()) for path in files.paths}
    gone = [f"{each}, on {old[path]}" for each in facts.settings() if (path := local_path(each)) in old and path not in new]
    if gone:
        yield RuleFinding(
            f"settings name files or folders that the new servers do not have: {listed(gone)}",
            "what the setting is for fails after the switch: logins by LDAP or SAML, for instance",
            "put them on the new servers at the same path, readable by user cloud",
            None if facts.new_files and _has_packages(facts.new_files) else Severity.NOTES,
        )
