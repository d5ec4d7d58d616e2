"""System VMs of the zones that users did not wait for (`window.acceptZones`), renewed once users are in; a failure is listed and keeps nobody waiting."""

from __future__ import annotations

import contextlib

from parallel_build.cloudstack import systemvms, zones
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import StepFailed
from parallel_build.operations import move
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context
from parallel_build.operations.context_helpers import OpenSession, new_database
from parallel_build.operations.renew_system_vms import asked_for, old_ones, renew


def renew_later(context: Context) -> list[str]:
    """Renew them.

    Returns:
        what could not be renewed, in words; empty where nothing is left.
    """
    cloud = asked(context, Cloud.new(context.site))
    names = [
        str(zone["name"])
        for zone in cloud.list("listZones")
        if zones.kept(zone) and not asked_for(context.configuration, str(zone["name"]))
    ]
    if not names:
        return []
    if context.configuration.move:
        return _moved(context, cloud, names)
    with contextlib.ExitStack() as stack:
        database = OpenSession(new_database(context), stack)
        old, _, _ = old_ones(context, cloud, systemvms.required_release(database()), database, names)
        if not old:
            return []
        context.intend("renew system VMs of the other zones", names=[vm["name"] for vm in old])
        try:
            renew(context, cloud, old, timeout=context.configuration.window.system_vm_timeout.total_seconds())
        except StepFailed as error:
            context.progress(str(error))
            return [error.fact]
    return []


def _moved(context: Context, cloud: Cloud, names: list[str]) -> list[str]:
    try:
        move.bring_over(context, cloud, names)
    except StepFailed as error:
        context.progress(str(error))
        return [error.fact]
    return []
