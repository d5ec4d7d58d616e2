"""FirstManagement: the first new management server set up, started, the schema upgraded, and its start proved good."""

from __future__ import annotations

from typing import Any

from parallel_build.cloudstack.services import FENCE, MANAGEMENT, in_words
from parallel_build.cloudstack.setup import no_download
from parallel_build.configuration import StackConfiguration
from parallel_build.operations import deadline, host_setting, move, reimport, served, users_in
from parallel_build.operations.claim import claim
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import schemas, store
from parallel_build.operations.ensure_serving import ensure_running
from parallel_build.operations.start_management import first_start
from parallel_build.records.rehearsal_times import compared_in_words, passed_here, side_by_side
from parallel_build.records.states import FIRST_START, StartState
from parallel_build.steps.base import step
from parallel_build.steps.switched import SwitchedStep


@step
class FirstManagement(SwitchedStep):
    """setup-databases, setup-management, start, schema upgrade, proof."""

    type = FIRST_START
    summary = "first new management server up, schema upgraded"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """The commands, and what makes the start good."""
        first, database = configuration.new.management[0], configuration.new.database
        at = f"{database.source.address}:{database.port}"
        return [
            f"on {first.name}: log in to {at} as user cloud, and decrypt configuration.init with the old database key",
            f"on {first.name}: cloudstack-setup-databases cloud:[secret]@{at} -e file -m [secret] -k [secret] "
            f"-g [the original's] -i {first.address} (never --deploy-as)",
            f"on {first.name}: cloudstack-setup-management --no-start{no_download(configuration.new.version)}",
            f"on {first.name}: systemctl unmask, start {MANAGEMENT}; enable it once the start is proved",
            *_what_is_proved(configuration),
            f"mark {' and '.join(schemas(configuration))} on {database.source.name} as worked on by users: from then on nothing drops or overwrites them",
            "a start that failed past the database lock, or was cut off: the copy is imported again before the next",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Fence."""
        first = configuration.new.management[0]
        return [f"on {first.name}: systemctl {in_words(FENCE)} usage and management; db.properties as shipped"]

    def before_apply(self, context: Context) -> None:
        """Raises DeadlinePassed unless its start is under way already: that is followed on, however late. GuardFailed as every step of the window."""
        claim(context)
        if first_start(context).begun():
            deadline.not_going_back(context)
        else:
            deadline.hold(context)

    def apply(self, context: Context) -> Outputs:
        """Start it; import the copy again first where an earlier start made it unusable, or an import of it was cut off."""
        start = first_start(context)
        if start.good():
            ensure_running(context)
        else:
            reimport.make_whole(context, host_setting.write)
        moved = context.configuration.move
        evidence = start.run(move.before_start(context) if moved else None)
        if moved:
            evidence = {**evidence, "version rows": move.prove_version_unchanged(context)}
        users_in.settle(context)
        store(context).mark_switched()
        served.mark(context)
        return {"start": evidence, **_with_rehearsed(context, evidence)}

    def verify(self, context: Context) -> Outputs:
        """Nothing is started again by a changed input; the recorded proof stands."""
        return {"start": StartState.of(store(context).facts(FIRST_START)).good}

    def revert(self, context: Context) -> None:
        """Fence it."""
        first_start(context).fence()


def _what_is_proved(configuration: StackConfiguration) -> list[str]:
    signs = "no module failed, own mshost row Up, a signed call gives the version, port 8250 open"
    if configuration.move:
        return [
            f"follow the start: the databases are of {configuration.new.version.full} already, and it must upgrade nothing",
            f"good only if: unit active, cloud.version, views and procedures unchanged, {signs}",
        ]
    return [
        f"follow the schema upgrade {configuration.original.version} -> {configuration.new.version} line by line",
        f"good only if: unit active, newest version row Complete, views and procedures renewed, {signs}",
    ]


def _with_rehearsed(context: Context, evidence: dict[str, Any]) -> dict[str, Any]:
    """The times of this start next to those of the rehearsal, shown and kept; empty where this machine knows of no rehearsal of these versions."""
    record = passed_here(context.configuration, context.site.stack)
    pairs = side_by_side(record, evidence) if record is not None else []
    if not pairs:
        return {}
    context.progress(compared_in_words(pairs))
    return {"rehearsal": [pair.document() for pair in pairs]}
