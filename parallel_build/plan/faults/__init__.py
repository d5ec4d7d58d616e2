"""The catalogue of known faults: what is known of releases, how to find out whether this cloud would be hit, and what to do then."""

from __future__ import annotations

from parallel_build.plan.faults import hosts, networks, schema, work
from parallel_build.plan.faults.fault import Answer, Fault, Lists, Sources, Span, Verdict, concerning, judge

CATALOGUE: tuple[Fault, ...] = (*schema.FAULTS, *hosts.FAULTS, *networks.FAULTS, *work.FAULTS)

__all__ = ["CATALOGUE", "Answer", "Fault", "Lists", "Sources", "Span", "Verdict", "concerning", "judge"]
