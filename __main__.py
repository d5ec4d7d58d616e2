"""The Pulumi program of the stack."""

from components.program import main

main()
