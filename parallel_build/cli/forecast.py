"""`forecast STACK`: how long the next window will take, from what was measured here; the original is asked for what there is to do. Reads only."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from parallel_build.cancel import CancelToken
from parallel_build.cli import DONE, forecast_page
from parallel_build.cloudstack import router_networks, systemvms, work, zones
from parallel_build.cloudstack.agents import INDIRECT
from parallel_build.cloudstack.api import Cloud
from parallel_build.errors import ParallelBuildError
from parallel_build.records.rehearsal_times import passed_here
from parallel_build.records.run_folder import RunFolder
from parallel_build.remote.access import Access
from parallel_build.remote.host import Connections
from parallel_build.remote.sql import session
from parallel_build.resolved_stack import Site
from parallel_build.stack.file import read_stack

NAME = "forecast"
HELP = "print on one page how long the next window will take: users out, agents, zones, routers; from measured times only. Reads only."


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack."""
    parser.add_argument("stack")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(given: argparse.Namespace) -> int:
    """Ask, print."""
    site = read_stack(given.stack, config_file=given.config_file).site
    figures = on_record(site)
    connections = Connections(site, CancelToken())
    try:
        cloud = ask(site, connections.host(site.configuration.original.database.source), Cloud.original(site))
    finally:
        connections.close()
    if given.json:
        print(json.dumps(forecast_page.document(site.configuration, cloud, figures), indent=1))
    else:
        print(forecast_page.text(site.stack, site.configuration, cloud, figures), end="")
    return DONE


def on_record(site: Site) -> forecast_page.Figures:
    """What this machine's run folder knows of earlier windows and of the rehearsal."""
    folder = RunFolder(site.configuration.runs, site.stack, site.hidden())
    opened, steps = forecast_page.last_window(folder.journal())
    evidence = {step: dict((folder.evidence(step) or {}).get("result") or {}) for step in ("Agents", "Routers")} if opened else {}
    return forecast_page.Figures(opened, steps, evidence, passed_here(site.configuration, site.stack))


def ask(site: Site, database: Access, cloud: Cloud) -> forecast_page.Cloud:
    """Ask the original; one answer that does not come leaves the others."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for question in (partial(_of_api, cloud), partial(_of_database, database), partial(_networks, database, cloud)):
        _ask(question, found, problems)
    return forecast_page.Cloud(**found, problems=problems)


def _ask(question: Callable[[], dict[str, Any]], found: dict[str, Any], problems: list[str]) -> None:
    try:
        found |= question()
    except ParallelBuildError as error:
        if error.reason not in problems:
            problems.append(error.reason)


def _of_api(cloud: Cloud) -> dict[str, Any]:
    hosts = [each for each in cloud.list("listHosts", type="Routing") if each.get("state") == "Up" and each.get("hypervisor") in INDIRECT]
    kept = sorted(str(zone["name"]) for zone in cloud.list("listZones") if zones.kept(zone))
    return {"hosts": len(hosts), "zones": kept, "system_vms": len(systemvms.renewable(cloud)[0])}


def _of_database(host: Access) -> dict[str, Any]:
    with session(host) as database:
        running = [each for each in work.read(database) if each.kind == "job"]
    return {"jobs": (len(running), max((each.seconds for each in running), default=0))}


def _networks(host: Access, cloud: Cloud) -> dict[str, Any]:
    with session(host) as database:
        rows = {kind: database.rows(query) for kind, query in router_networks.QUERIES.items()}
    survey = router_networks.sort(router_networks.together(rows, systemvms.routers(cloud), "", {}))
    return {"networks": len(survey.all), "idle": len(survey.idle)}
