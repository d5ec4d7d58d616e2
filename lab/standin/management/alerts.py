"""Rows of `alert`, `event` and `usage_event`, which a running cloud adds all the time."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

from ..shared.database import utcnow
from .server import ManagementServer

log = logging.getLogger("c.c.a.AlertManagerImpl")

HOST = (7, "ALERT.COMPUTE.HOST")
DOMAIN_ROUTER = (9, "ALERT.SERVICE.DOMAINROUTER")
MANAGEMENT_NODE = (14, "ALERT.MANAGEMENT")
CONSOLE_PROXY = (10, "ALERT.SERVICE.CONSOLEPROXY")
SECONDARY_STORAGE_VM = (19, "ALERT.SERVICE.SSVM")
TEMPLATE = (28, "ALERT.UPLOAD.FAILED")
#: A repeated alert within this time is counted, not added.
REPEATED = timedelta(hours=24)


def raise_alert(
    server: ManagementServer,
    kind: tuple[int, str],
    subject: str,
    *,
    zone_id: int = 0,
    pod_id: int | None = None,
    cluster_id: int | None = None,
    once: bool = False,
) -> None:
    """Add an alert.

    Args:
        kind: number and name of the alert's type.
        once: leave it out where the same one was raised within a day.
    """
    number, name = kind
    log.warning(
        "alertType=[%d] dataCenterId=[%d] podId=[%s] clusterId=[%s] message=[%s].",
        number,
        zone_id,
        pod_id or "null",
        cluster_id or "null",
        subject,
    )
    now = utcnow()
    if once and server.cloud.value(
        "SELECT id FROM alert WHERE type = %s AND subject = %s AND archived = 0 AND created > %s", number, subject, now - REPEATED
    ):
        return
    server.cloud.insert(
        "alert",
        uuid=str(uuid.uuid4()),
        type=number,
        cluster_id=cluster_id,
        pod_id=pod_id,
        data_center_id=zone_id,
        subject=subject,
        sent_count=1,
        created=now,
        last_sent=now,
        archived=0,
        name=name,
        content=subject,
    )


def add_event(
    server: ManagementServer,
    kind: str,
    description: str,
    *,
    user_id: int = 1,
    account_id: int = 1,
    domain_id: int = 1,
    resource_id: int | None = None,
    resource_type: str | None = None,
    state: str = "Completed",
    start_id: int = 0,
    level: str = "INFO",
) -> int:
    """Add an event and return its id."""
    return server.cloud.insert(
        "event",
        uuid=str(uuid.uuid4()),
        type=kind,
        state=state,
        description=description[:1024],
        user_id=user_id,
        account_id=account_id,
        domain_id=domain_id,
        resource_id=resource_id,
        resource_type=resource_type,
        created=utcnow(),
        level=level,
        start_id=start_id,
        archived=0,
        display=1,
    )


def add_usage(server: ManagementServer, kind: str, **values: Any) -> None:
    """Add a row to `usage_event`, which the usage server collects."""
    server.cloud.insert("usage_event", type=kind, created=utcnow(), processed=0, **values)
