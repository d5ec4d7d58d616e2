"""Networks and VPCs: restarted, with or without new routers."""

from __future__ import annotations

from ...shared.database import Row
from .. import alerts
from ..agents import CommandFailed
from ..jobs import JobFailed
from ..routers import RestartRefused, WrongState
from .core import PARAM_ERROR, Call, Response, command, success


def _restart(call: Call, row: Row, kind: str) -> Response:
    routers = call.system_vms.routers
    act = routers.restart_network if kind == "Network" else routers.restart_vpc
    cleanup, livepatch = call.flag("cleanup"), call.flag("livepatch")

    def work() -> Response:
        start = alerts.add_event(
            call.server,
            f"{kind.upper()}.RESTART",
            f"restarting {kind.lower()} {row['name']}",
            state="Started",
            user_id=call.caller.user_id,
            account_id=row["account_id"],
            domain_id=row["domain_id"],
            resource_id=row["id"],
            resource_type="Vpc" if kind == "Vpc" else kind,
        )
        try:
            act(row, cleanup=cleanup, livepatch=livepatch)
        except WrongState as failure:
            raise JobFailed(str(failure), PARAM_ERROR) from failure
        except (RestartRefused, CommandFailed) as failure:
            alerts.add_event(
                call.server,
                f"{kind.upper()}.RESTART",
                f"Error while restarting {kind.lower()} {row['name']}",
                level="ERROR",
                start_id=start,
                account_id=row["account_id"],
                domain_id=row["domain_id"],
            )
            raise JobFailed(f"Failed to restart {kind.lower()}: {failure}") from failure
        alerts.add_event(
            call.server,
            f"{kind.upper()}.RESTART",
            f"Successfully completed restarting {kind.lower()} {row['name']}",
            start_id=start,
            account_id=row["account_id"],
            domain_id=row["domain_id"],
        )
        return {"null": success()}

    return {"jobid": call.job(kind, row["id"], work)}


@command("restartNetwork")
def restart_network(call: Call) -> Response:
    """Restart a network; with cleanup its routers are recreated."""
    return _restart(call, call.find("networks", "id"), "Network")


@command("restartVPC")
def restart_vpc(call: Call) -> Response:
    """Restart a VPC; with cleanup its routers are recreated."""
    return _restart(call, call.find("vpc", "id"), "Vpc")
