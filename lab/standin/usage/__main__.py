"""Entry point of cloudstack-usage.service."""

from __future__ import annotations

import sys

from . import daemon

sys.exit(daemon.main())
