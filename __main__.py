"""The Pulumi program of the stack."""

from components.program import main
from parallel_build import core_files

core_files.refuse()
main()
