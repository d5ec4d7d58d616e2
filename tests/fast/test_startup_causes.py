"""The cause of a failed start, told from what its log says: the words an operator reads."""

from __future__ import annotations

import re

import pytest

from parallel_build.cloudstack.startup import CAUSES


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Database upgrade is required but the management server is running in a clustered environment", "mshost"),
        ("Error decrypting value: HAqPw*****", "database key"),
        ("Failed to decrypt value using AeadBase64Encryptor: xLdih*****", "key file"),
        ("Unable to load db configuration, using defaults with 5 connections.", "not reachable"),
        ("Database version 4.22.1.0 is higher than management software version 4.20.3.0", "later version"),
        ("Error executing: ALTER TABLE `cloud`.`x` ADD COLUMN `y` int", "statement of the schema upgrade"),
        ("cluster node IP should be valid local address where the server is running, please check your configuration", "cluster.node.IP"),
    ],
)
def test_cause_is_named(said: str, words: str) -> None:
    causes = [cause for pattern, cause, _ in CAUSES if re.search(pattern, said)]
    assert causes, "no cause fits"
    assert words in causes[0]
