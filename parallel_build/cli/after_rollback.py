"""`after-rollback STACK`: what users created on the new side before a rollback, and what of it is created again on the original."""

from __future__ import annotations

import argparse
import json

from parallel_build.cli import DONE, FAILED
from parallel_build.cli.back import undoing
from parallel_build.cli.recover import with_recorded_keys
from parallel_build.cloudstack.api import Cloud
from parallel_build.operations import replay_record
from parallel_build.operations.claim import claim
from parallel_build.replay import report
from parallel_build.replay.run import REPLAYED, Replay
from parallel_build.stack.file import read_stack

NAME = "after-rollback"
HELP = (
    "what users created on the new side before it was rolled back: by kind, with owner and the hypervisor's name. --replay creates on the original "
    "what can be created again: domains, accounts, users, SSH keys, groups, empty networks, addresses, rules, tags. Run it again to resume."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The stack, and whether anything is created."""
    parser.add_argument("stack")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--plan", action="store_true", help="print each object and what --replay would do; changes nothing (the default)")
    kinds.add_argument("--replay", action="store_true", help="create on the original what can be created again and is not there")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(given: argparse.Namespace) -> int:
    """Plan or replay; 1 where the cloud has refused an object."""
    reading = read_stack(given.stack, config_file=given.config_file)
    with undoing(with_recorded_keys(reading), NAME) as context:
        created = replay_record.read(context)
        if given.replay:
            claim(context)
            replay_record.may_replay(context, created)
        cloud = replay_record.guarded(context, Cloud.original(context.site), created)
        log = replay_record.ReplayLog(context, created)
        # With --json standard output is the document's alone.
        say = (lambda text: context.run.log(NAME, text)) if given.json else context.progress
        replay = Replay(cloud, created.found.objects, log, context.cancel, say)
        secrets = report.SecretFile(context.run.path, created.opened)
        lines = replay.run(secrets) if given.replay else replay.plan()
        document = report.document(lines, created.found.unknown)
        if given.replay:
            context.run.keep(NAME, document)
    if given.json:
        print(json.dumps(document, indent=1))
    else:
        print(report.text(lines, created.found.unknown))
        if any(line.verdict == REPLAYED for line in lines):
            print(f"users are disabled: give each its password, then enable it (enableUser). Passwords and new API keys: {secrets.path}")
        elif not given.replay:
            print(f"nothing was changed. Create them again: parallel-build after-rollback {given.stack} --replay")
    return FAILED if any(line.why.startswith("the cloud refused it") for line in lines) else DONE
