"""Makes, shows or removes a small workload from inside a network namespace; keys from the environment; prints the progress and the result as JSON."""

from __future__ import annotations

import json
import sys

from parallel_build.cancel import CancelToken
from parallel_build.plan.cloud import access
from parallel_build.workload.profile import Profile
from parallel_build.workload.run import Workload
from parallel_build.workload.things import things

PROFILE = Profile(accounts=2, users=1, networks=2, vms=4, disks=2, snapshots=2, vpcs=1)


def main(url: str, action: str, profile: str = "") -> None:
    """Do it once, with a profile as JSON or the small one."""
    wanted = Profile.model_validate_json(profile) if profile else PROFILE
    printed: list[str] = []
    cloud = access.open_cloud(url)
    cloud.poll = 0.1
    workload = Workload(cloud, CancelToken(), printed.append)
    result: object
    if action == "create":
        result = workload.create(wanted, {thing.name: f"Aa1-{thing.name}" for thing in things(wanted)})
    else:
        result = workload.status() if action == "status" else workload.remove()
    print(json.dumps({"printed": printed, "result": result}))


if __name__ == "__main__":
    main(*sys.argv[1:])
