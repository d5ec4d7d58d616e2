"""Whether the settings that `new.carry.settings` changes in the copy are there, and may be changed. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.cloudstack.setting_scopes import owner_of
from parallel_build.configuration.carry import CarriedSetting
from parallel_build.remote.sql import Session

SEALED = "SELECT COUNT(*) FROM cloud.configuration WHERE name = %s AND category IN ('Hidden', 'Secure')"


def label(each: CarriedSetting) -> str:
    """Its name, and whose value it is."""
    return f"{each.name} of {each.of}" if each.of else each.name


def missing(database: Session, wanted: Sequence[CarriedSetting]) -> list[str]:
    """Those that can't be changed, by key and in words."""
    found = []
    for place, each in enumerate(wanted):
        if database.value(SEALED, [each.name]):
            found.append(
                f"new.carry.settings.{place}: {each.name} is sealed with the cloud's key; change it by the API once the new side serves"
            )
        elif not _there(database, each):
            found.append(f"new.carry.settings.{place}: the original has no value of {label(each)}")
    return found


def _there(database: Session, each: CarriedSetting) -> bool:
    if each.of is None:
        return bool(database.value("SELECT COUNT(*) FROM cloud.configuration WHERE name = %s", [each.name]))
    scope, owner = owner_of(each.of)
    return bool(database.value(f"SELECT COUNT(*) FROM {scope.joined} WHERE {scope.one}", [owner, each.name]))


def update(each: CarriedSetting) -> tuple[str, list[str]]:
    """The statement that changes one, and its values."""
    if each.of is None:
        return "UPDATE cloud.configuration SET value = %s WHERE name = %s", [each.value, each.name]
    scope, owner = owner_of(each.of)
    return f"UPDATE {scope.joined} SET d.value = %s WHERE {scope.one}", [each.value, owner, each.name]
