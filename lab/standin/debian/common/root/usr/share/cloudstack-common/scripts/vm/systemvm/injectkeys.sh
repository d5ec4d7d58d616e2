#!/bin/bash
# Compares the management server's key with the one that hosts get, as far as there is one.
[ -r "$1" ] || { echo "cannot read $1" >&2; exit 2; }
