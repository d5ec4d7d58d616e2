"""Where the packages keep their files."""

from __future__ import annotations

import os
from pathlib import Path

#: Another root than / lets a test run several servers side by side without containers.
ROOT = Path(os.environ.get("STANDIN_ROOT", "/"))

SETTINGS = ROOT / "etc/cloudstack/standin.json"

MANAGEMENT_CONFIGURATION = ROOT / "etc/cloudstack/management"
MANAGEMENT_LOG = ROOT / "var/log/cloudstack/management"
MANAGEMENT_HOME = ROOT / "var/cloudstack/management"
MANAGEMENT_SHARE = ROOT / "usr/share/cloudstack-management"
COMMON_SHARE = ROOT / "usr/share/cloudstack-common"

USAGE_CONFIGURATION = ROOT / "etc/cloudstack/usage"
USAGE_LOG = ROOT / "var/log/cloudstack/usage"

AGENT_CONFIGURATION = ROOT / "etc/cloudstack/agent"
AGENT_LOG = ROOT / "var/log/cloudstack/agent"
AGENT_STATE = ROOT / "var/lib/cloudstack/agent"
