"""The cloud that the generated database describes, a module for each part of it.

`infrastructure` comes after `identity`, machines after networks and templates, `operations` last: each part refers to
rows of those before it.
"""

from __future__ import annotations

from lab.database.content import (
    identity,
    infrastructure,
    machines,
    networks,
    offerings,
    operations,
    systemvms,
    templates,
    usage,
)
from lab.database.content.world import World
from lab.database.plan import DatabasePlan

__all__ = ["World", "build"]


def build(plan: DatabasePlan) -> World:
    """Make up all rows of a plan but those of the big tables."""
    world = World(plan)
    for part in (identity, infrastructure, offerings, templates, networks, machines, systemvms, usage, operations):
        part.build(world)
    return world
