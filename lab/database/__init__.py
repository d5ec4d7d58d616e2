"""The database of the lab's original cloud: generated from a seed at any size or given as a dump, and its loading."""

from __future__ import annotations

from lab.database.dump import DumpFacts, adapt
from lab.database.errors import LabDatabaseError
from lab.database.generator import describe, generate, generate_files
from lab.database.loading import Accounts, Loaded, load
from lab.database.plan import (
    ApiUser,
    DatabasePlan,
    Generated,
    HypervisorHost,
    KvmHost,
    Layout,
    ManagementServer,
    Secrets,
    SystemVm,
)
from lab.database.restoring import ORIGINS, Origin, restore

__all__ = [
    "ORIGINS",
    "Accounts",
    "ApiUser",
    "DatabasePlan",
    "DumpFacts",
    "Generated",
    "HypervisorHost",
    "KvmHost",
    "LabDatabaseError",
    "Layout",
    "Loaded",
    "ManagementServer",
    "Origin",
    "Secrets",
    "SystemVm",
    "adapt",
    "describe",
    "generate",
    "generate_files",
    "load",
    "restore",
]
