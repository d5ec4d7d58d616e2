#!/bin/sh
# What the management server can't do without.
/usr/bin/python3 -c 'import cryptography, pymysql' || {
    echo "python3-cryptography and python3-pymysql are needed" >&2
    exit 1
}
