"""Functional tests of a cloud after an upgrade, as a pytest plug-in (`parallel_build.acceptance.suite`) that an operator's own tests can use too."""
