"""The Pulumi program of the stack."""

from parallel_build import core_files
from parallel_build.components.program import main

core_files.refuse()
main()
