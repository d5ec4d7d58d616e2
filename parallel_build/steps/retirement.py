"""Retirement: the new side stays for good; nothing of it names the original's servers any more, and going back is refused from now on."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from parallel_build.cloudstack import agents
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.errors import GuardFailed, ParallelBuildError, StepFailed
from parallel_build.operations import agent_wave, lost_hosts, router_minimum, router_waves, storage_on_original, user_firewall, users_in
from parallel_build.operations.agent_survey import Good, Survey, survey_evidence, wait_for_agents
from parallel_build.operations.asked_cloud import asked
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, store, units_of
from parallel_build.operations.rollback_window import check_allowed
from parallel_build.operations.user_access_setting import setting
from parallel_build.records.window import WindowRecord
from parallel_build.remote.sql import session
from parallel_build.steps.base import Step, step
from parallel_build.versions import is_version


@step
class Retirement(Step):
    """`host` without the original's addresses, learnt by every agent; the end of the rollback window on record."""

    type = "Retirement"
    phase = Phase.RETIRED
    of_window = True
    summary = "the original is history"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The setting, the mark, and what is left to the operator."""
        first = configuration.new.management[0]
        lines = [
            f"prove that {first.name} serves {configuration.new.version} and that every host that was Up before the window is Up",
            *([] if configuration.move else ["prove that every router that runs is renewed, but those of routers.accepted"]),
        ]
        if configuration.agents.method == "setting":
            lines += [
                f"on {first.name}: updateConfiguration name=host value={configuration.host_setting}: the original's addresses go",
                f"wait until {agents.AGENT_FILE} lists no original address on the KVM hosts, "
                f"at most {configuration.agents.timeout.total_seconds():.0f} s",
            ]
        return [*lines, "mark the window's record as retired: from then on every rollback is refused", *_left(configuration)]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """The reverse, which the operator must have allowed."""
        return [
            "refused unless window.forceRollback is true",
            f"`host` on {configuration.new.management[0].name} with the original's addresses behind the new ones again, learnt by the agents",
            "take the mark off",
        ]

    def apply(self, context: Context) -> Outputs:
        """Prove first, then trim, then mark."""
        records = store(context)
        record = records.mine()
        if record.switched is None:
            raise GuardFailed(
                "the new side has never been switched to",
                "the original still serves, or nothing does",
                "run `pulumi up` with phase switched",
            )
        cloud = asked(context, Cloud.new(context.site))
        self._prove_serving(context, cloud)
        if not context.configuration.move:
            _prove_renewed(context, record)
        evidence: Outputs = {"switched": record.switched, "left": _left(context.configuration)}
        if context.configuration.agents.method == "setting":
            evidence |= self._trim(context, cloud)
        context.intend("mark the window retired")
        kept = storage_on_original.look(context)
        evidence |= {"storage": kept} if kept else {}
        evidence["retired"] = records.mark_retired()
        if context.configuration.window.user_access.method == "firewall":
            user_firewall.at_once(partial(user_firewall.tell_no_more, context), context.configuration.original.management)
        others = context.configuration.original.database.others
        but = f", but for the database servers: {', '.join(others)} use them" if others else ""
        context.progress(f"retired: the original's servers can be taken away{but}")
        for words in kept:
            context.progress(f"KEEP {words}")
        return evidence

    def verify(self, context: Context) -> Outputs:
        """The mark stands; `host` is the operator's from now on."""
        record = store(context).mine()
        return {"switched": record.switched, "retired": record.retired}

    def before_revert(self, context: Context) -> None:
        """Raises GuardFailed unless the operator has allowed going back all the same."""
        check_allowed(context)

    def revert(self, context: Context) -> None:
        """Agents learn the original's addresses again while the new side can still tell them; else the window's undo writes their files."""
        records = store(context)
        previous = records.facts(self.type).get("previous")
        try:
            if previous is not None:
                self._put_back(context, str(previous))
        except ParallelBuildError as error:
            context.progress(f"agents can't be reached by the new side, a rollback gives them the addresses by file: {error}")
            context.run.record("not told", step=context.step, error=str(error))
        records.unmark_retired()

    def _prove_serving(self, context: Context, cloud: Cloud) -> None:
        noted = store(context).facts("Window")
        expected: dict[str, str] = noted.get("hosts_up", {})
        listed = {host["id"]: host for host in cloud.list("listHosts", type="Routing")}
        ours = agent_wave.Wave.of(store(context).facts(agent_wave.STEP)).aside.values()
        down = {identity for identity in expected if identity not in listed or listed[identity].get("state") != "Up"}
        down -= lost_hosts.put_aside_since(noted.get("hosts_aside"), ours, listed)
        removed = _removed(context, down - set(listed))
        missing = sorted(expected[identity] for identity in down - removed)
        found = cloud.call("listCapabilities").get("capability", {}).get("cloudstackversion", "")
        if missing or not found or not is_version(found, context.configuration.new.version):
            raise GuardFailed(
                f"the new side answers with version {found or 'unknown'}; not Up on it: {', '.join(missing) or 'no host'}",
                "a stack is retired only when everything that served before the window serves now",
                "fix that, put a host that is under repair into maintenance, or remove it from the cloud; then run the same command again",
            )

    def _trim(self, context: Context, cloud: Cloud) -> Outputs:
        configuration, records = context.configuration, store(context)
        now, wanted = setting(cloud, agents.SETTING), configuration.host_setting
        gone = {server.address for server in configuration.original.management} - set(agents.addresses(wanted))
        trimmed = agents.reduced(now, gone)
        if trimmed != now:
            if "previous" not in records.facts(self.type):
                records.remember(self.type, previous=now)
            context.intend("take the original's addresses out of host", previous=now, value=trimmed)
            cloud.call("updateConfiguration", name=agents.SETTING, value=trimmed)
            context.progress(f"host on the new side: {now} -> {trimmed}")
        survey = self._learnt(context, cloud, lambda known: not gone & set(known), "agents to forget the original's addresses")
        return survey_evidence(context, trimmed, survey)

    def _put_back(self, context: Context, previous: str) -> None:
        cloud = asked(context, Cloud.new(context.site))
        now, new = setting(cloud, agents.SETTING), set(agents.addresses(previous))
        if now == previous:
            return
        context.intend("put the original's addresses back into host", previous=now, value=previous)
        cloud.call("updateConfiguration", name=agents.SETTING, value=previous)
        context.progress(f"host on the new side: {now} -> {previous}")
        self._learnt(context, cloud, lambda known: new <= set(known), "agents to know the original's addresses again")

    @staticmethod
    def _learnt(context: Context, cloud: Cloud, good: Good, what: str) -> Survey:
        survey = wait_for_agents(context, cloud, good, what)
        if survey.behind:
            raise StepFailed(
                f"waited for {what}: {', '.join(sorted(survey.behind))}",
                "; ".join(sorted({cause for _, cause, _ in survey.behind.values()})),
                "; ".join(sorted({remedy for _, _, remedy in survey.behind.values()})) + "; then `pulumi up`",
            )
        return survey


def _removed(context: Context, hosts: Collection[str]) -> set[str]:
    """Those of these hosts that were removed from the cloud since: the database says so, a list without them does not."""
    if not hosts:
        return set()
    marks = ", ".join(["%s"] * len(hosts))
    with session(new_database(context)) as database:
        rows = database.rows(f"SELECT uuid FROM cloud.host WHERE removed IS NOT NULL AND uuid IN ({marks})", sorted(hosts))
    return {str(row["uuid"]) for row in rows}


def _prove_renewed(context: Context, record: WindowRecord) -> None:
    """Raises GuardFailed while routers are left that the operator has not accepted by name; puts CloudStack's check of them back where it was lowered."""
    if users_in.earlier_version(record):
        return
    standing = router_waves.standing(context)
    if standing.left:
        shown = ", ".join(standing.left[:20]) + (" ..." if len(standing.left) > 20 else "")
        raise GuardFailed(
            f"{len(standing.left)} of {standing.total} networks still have routers of the original's release: {shown}",
            "; ".join(f"{name}: {cause}" for name, cause in list(standing.failed.items())[:5]) or "their waves have not come yet",
            f"parallel-build routers {context.site.stack} renews them (--retry for failed ones); "
            "or accept those that may stay: routers.accepted in the stack file, by name or id",
        )
    if standing.closed:
        context.progress(standing.words(context.site.stack))
    router_minimum.put_back(context)


def _left(configuration: StackConfiguration) -> list[str]:
    """What stays on the original's servers for the operator to take away when nobody wants it any more."""
    original, database = configuration.original, configuration.original.database
    state = f"CloudStack's accounts locked, the server running for {', '.join(database.others)}" if database.others else "the server masked"
    return [
        *(f"left on {server.name}: {', '.join(units_of(server))}, masked" for server in (*original.management, *original.usage)),
        *(f"left on {server.name}: the original's databases as they were, {state}" for server in database.servers),
    ]
