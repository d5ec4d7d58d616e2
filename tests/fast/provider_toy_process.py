"""The provider's own main with the toy steps: a process of its own for tests that kill things."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from parallel_build.provider.handlers import token
from parallel_build.provider.identity_handler import StackIdentityHandler
from parallel_build.provider.server import main
from parallel_build.provider.step_handler import StepHandler
from tests.fast.provider_harness import EarlyToy, Toy

if __name__ == "__main__":
    pid_file = Path(sys.argv.pop(1))
    pid_file.write_text(str(os.getpid()))
    sys.exit(
        main({token("StackIdentity"): StackIdentityHandler(), token("Toy"): StepHandler(Toy), token("EarlyToy"): StepHandler(EarlyToy)})
    )
