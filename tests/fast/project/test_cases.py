"""The folders of tests/cases: complete, about one thing each, and out of each other's way."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.containers.case_files import CASES, PAIRS, Case, cases
from tests.containers.dump_check import _common_columns, sorted_rows

FILES = re.compile(r"create\.sql|events-while\.sql|pairs\.txt|methods\.txt|(may-)?refuse(-dump|-replicate)?(-m\w+-to-m\w+)?\.txt")
OWN = re.compile(r"^elsewhere$|^many_columns$|^w$|^t$|^p$")


def test_there_are_enough_of_them() -> None:
    assert len(cases()) >= 80


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_case_says_what_it_is_about_and_fits_somewhere(case: Case) -> None:
    assert re.match(r"-- .{10,}\.\n", case.create), "its first line says what it is about"
    assert all(FILES.fullmatch(path.name) for path in case.folder.iterdir())
    transfers = [(pair, method) for pair in PAIRS for method in ("dump", "replicate") if case.fits(pair, method)]
    assert transfers


def test_no_two_cases_make_an_object_of_one_name() -> None:
    made = Counter(name for case in cases() for name in case.objects if not OWN.match(name))
    assert [name for name, times in made.items() if times > 1] == []


def test_every_folder_is_a_case() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} == {case.name for case in cases()}


def test_an_order_of_rows_and_brackets_of_views_are_no_difference_of_dumps() -> None:
    one = (
        "CREATE TABLE `t` (\nINSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2);\n/*!50001 VIEW `v` AS select (`a`) from ((`t`)) */;\n"
    )
    other = "CREATE TABLE `t` (\nINSERT INTO `t` VALUES (2);\nINSERT INTO `t` VALUES (1);\n/*!50001 VIEW `v` AS select `a` from (`t`) */;\n"
    assert sorted_rows(one) == sorted_rows(other)
    assert "object view `v`" in sorted_rows(one)
    assert sorted_rows(one) != sorted_rows(other.replace("(2)", "(3)"))


def test_columns_that_one_program_leaves_out_are_no_difference() -> None:
    old = ["INSERT INTO `t` (`id`, `a)`, `g`) VALUES (1,'it''s, (x) \\'y',2);", "object table `t`"]
    new = ["INSERT INTO `t` (`id`, `a)`) VALUES (1,'it''s, (x) \\'y');", "object table `t`"]
    one, other = _common_columns(old, new)
    assert one == other == ["`t`: `id` = 1, `a)` = 'it''s, (x) \\'y'", "object table `t`"]
    assert _common_columns(old, [new[0].replace("(1,", "(2,"), new[1]])[1] != one
