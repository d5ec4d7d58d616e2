"""Which upgrade is planned: from where, to where, and whether that is one that can be planned at all."""

from __future__ import annotations

from pathlib import Path

from parallel_build.cloudstack.releases import LAST_PATCH, NEWEST, OLDEST, is_known, path
from parallel_build.errors import ConfigurationError
from parallel_build.plan import package
from parallel_build.plan.package import TargetPackage
from parallel_build.versions import CloudStackVersion

UNCHANGED = "nothing has been contacted or changed"


def version(text: str) -> CloudStackVersion:
    """A version as an operator gives it.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        return CloudStackVersion(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--to: {error}", "a release has three or four numbers", f"give it such as {NEWEST}, or 24.0.0; {UNCHANGED}"
        ) from None


def refuse(old: CloudStackVersion, new: CloudStackVersion, given: TargetPackage | None) -> None:
    """Rule: an upgrade goes to a later release that is known, by this project or by its own package in hand.

    Raises:
        ConfigurationError: it does not.
    """
    if not new > old:
        raise ConfigurationError(
            f"the target {new} is not later than the original's version {old}",
            "CloudStack's schema goes forward only; the same version on new servers is no upgrade, and has no plan",
            f"name a later one with --to, such as {NEWEST}",
        )
    if old < OLDEST:
        raise ConfigurationError(
            f"the original's version {old} is before {OLDEST}",
            "upgrades from there are not known to this project",
            "upgrade to 4.9 or later first",
        )
    if given is not None and given.version != new:
        raise ConfigurationError(
            f"{given.where} is CloudStack {given.version}, and the target is {new}",
            "the templates and scripts of another release would be planned with",
            f"name the package of {new}, or plan for {given.version}: --to {given.version}; {UNCHANGED}",
        )
    if not is_known(new) and given is None:
        raise ConfigurationError(
            f"CloudStack {new} is not a release that this project knows",
            f"it knows the releases from {OLDEST} to {NEWEST}, and those that were announced then: {_announced()}",
            f"correct --to, or name that release's own package with --package; {UNCHANGED}",
        )


def _announced() -> str:
    later = [CloudStackVersion(f"{major}.{minor}.{patch}") for (major, minor), patch in LAST_PATCH.items()]
    return ", ".join(str(each) for each in sorted(later) if each > NEWEST)


def read_package(file: Path | None) -> TargetPackage | None:
    """The package that an operator names; None where none is named."""
    return package.from_file(file) if file else None


def releases(old: CloudStackVersion, new: CloudStackVersion) -> list[str]:
    """Releases whose notes tell of what changes on the way: after `old`, up to `new`, patch releases too."""
    known = [CloudStackVersion(f"{major}.{minor}.{patch}") for (major, minor), last in LAST_PATCH.items() for patch in range(last + 1)]
    found = {each for each in known if old < each <= new and each <= max(NEWEST, new)}
    return [str(each) for each in sorted({*found, new, *map(CloudStackVersion, path(old, new))})]
