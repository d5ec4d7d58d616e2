"""The report page as people meet it: in a browser, light and dark, on a phone and on a wide screen, and read out by a screen reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from parallel_build.cli import report
from parallel_build.records.run_folder import RunFolder
from tests.browser.chromium import PROGRAM, Chromium, Page
from tests.fast.cli.test_report import EVIDENCE, JOURNAL, entry
from tests.fast.sites import site

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="Chromium is not here: scripts/setup --for browser"),
    pytest.mark.timeout(300),
]

AUDIT = (Path(__file__).parent / "audit.js").read_text()
LOOKS = [(width, scheme) for width in (360, 1400) for scheme in ("light", "dark")]
SMALLEST = 9.0
"""Pixels of the smallest text."""

MORE = [
    entry(91, "end", "Window", operation="undo", outcome="done", seconds=60),
    entry(92, "confirmed down", "", server="newms1", error="no route to host, tried at 10.91.0.41 with " + "a-very-long-word" * 12),
    entry(93, "begin", "Routers", operation="apply"),
]


LAB_RUN = json.loads((Path(__file__).parent / "lab_run.json").read_text())
"""A whole switch of the embedded lab, as its run folder had it."""


def fill_from_lab(folder: RunFolder) -> None:
    """The lab's run."""
    (folder.path / "journal.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in LAB_RUN["journal"]))
    for name, found in LAB_RUN["evidence"].items():
        (folder.path / f"evidence/{name}.json").write_text(json.dumps(found))
    (folder.path / "run.log").write_text("\n".join(LAB_RUN["log"]))


def fill(folder: RunFolder) -> None:
    """A run that went forward, failed, and went back, with long words and a log."""
    (folder.path / "journal.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in [*JOURNAL, *MORE]))
    times = [
        {"out": 1767225600.0, "clock": "the user probe's", "in": 1767225634.25, "side": "new", "seconds": 34.25},
        {"out": 1767226000.0, "clock": "the original database host's"},
    ]
    for name, found in {**EVIDENCE, "users-out": {"times": times}}.items():
        (folder.path / f"evidence/{name}.json").write_text(json.dumps(found))
    (folder.path / "run.log").write_text("2026-01-01T00:00:00.000+00:00 Window: " + "10 guards hold, " * 40 + "\n")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One for all."""
    with Chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def opened(browser: Chromium, filled: Callable[[RunFolder], None], runs: Path) -> Page:
    """The page of a run, written by the command."""
    where = site(runs=str(runs))
    folder = RunFolder(where.configuration.runs, where.stack, where.hidden())
    filled(folder)
    report.write(where, folder, folder.path / "report.html")
    return browser.open(folder.path / "report.html")


@pytest.fixture(scope="module")
def page(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a run that has all that a page can have."""
    return opened(browser, fill, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def lab_page(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the lab's run."""
    return opened(browser, fill_from_lab, tmp_path_factory.mktemp("runs"))


@pytest.fixture(params=["page", "lab_page"])
def either(request: pytest.FixtureRequest) -> Page:
    """Each of the two."""
    found: Page = request.getfixturevalue(request.param)
    return found


def unfold(page: Page, *, everything: bool) -> None:
    """Open what is folded, or fold it as it was at first."""
    page.run(f"document.querySelectorAll('details').forEach((each, at) => each.open = {json.dumps(everything)} || at === 0)")


@pytest.mark.parametrize("everything", [False, True], ids=["folded", "unfolded"])
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_can_be_read_on_every_screen(either: Page, width: int, scheme: str, everything: bool) -> None:
    either.look(width=width, scheme=scheme)
    unfold(either, everything=everything)
    found: dict[str, Any] = either.run(AUDIT)
    assert len(found["texts"]) > 50 and len(found["bars"]) > 3
    assert found["overflow"] <= 0 and found["wide"] == [], "nothing stands out sideways"
    assert found["cut"] == [], "no text of the drawing is cut off"
    assert found["silent"] == [], "what scrolls can be reached by the keyboard"
    faint = [each for each in found["texts"] if each["contrast"] < (3.0 if each["large"] else 4.5)]
    assert faint == [], "WCAG 1.4.3, level AA"
    assert [each for each in found["bars"] if each["contrast"] < 3.0] == [], "WCAG 1.4.11, level AA"
    assert [each for each in found["texts"] if each["size"] < SMALLEST] == []


def test_light_and_dark_are_two(page: Page) -> None:
    def paper(scheme: str) -> str:
        page.look(width=1400, scheme=scheme)
        return str(page.run("getComputedStyle(document.body).backgroundColor"))

    assert paper("light") != paper("dark")


def test_it_has_one_title_and_headings_in_order(page: Page) -> None:
    unfold(page, everything=True)
    levels = [int(node.properties["level"]) for node in page.tree().all("heading")]
    assert levels[0] == 1 and levels.count(1) == 1 and len(levels) > 5
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert page.run("document.title") and page.run("document.documentElement.lang") == "en"


def test_every_part_is_a_landmark_with_a_name(page: Page) -> None:
    tree = page.tree()
    assert len(tree.all("main")) == 1
    regions = {node.name for node in tree.all("region")}
    assert {"In numbers", "Rehearsed and actual", "Who did what", "Timeline", "Rollback plan", "Noted", "Evidence", "Log"} <= regions
    assert all(node.name for node in tree.all("region", "img", "table")), "each has a name"
    assert tree.text == tree.all("main")[0].text, "nothing is outside"


def test_every_table_says_what_its_cells_are(page: Page) -> None:
    unfold(page, everything=True)
    tables = page.tree().all("table")
    assert len(tables) >= 5
    for table in tables:
        rows = table.all("row")
        heads = rows[0].all("columnheader")
        assert (heads and len(heads) == len(rows[0].children)) or all(row.all("rowheader") for row in rows), table.text


def test_a_screen_reader_reads_the_numbers_of_a_change_board(page: Page) -> None:
    unfold(page, everything=False)
    tree = page.tree()
    rows: dict[str, str] = {}
    for row in (row for table in tree.all("table") for row in table.all("row") if row.all("rowheader")):
        question, answer = row.all("rowheader")[0].text, row.all("cell")[0].text
        rows[question] = f"{rows.get(question, '')} {answer}".strip()
    assert "34 s, by the user probe's clock; then the new side" in rows["Users out"] and "Users are out since" in rows["Users out"]
    assert "5 min 0 s; then the new side served" in rows["Management down"]
    assert "310 tables, 1,234,567 rows" in rows["Compared"]
    assert rows["Version, as configured"] == "4.20.3.0 to 4.22.1.0"
    assert rows["Version, by the schema upgrade"] == "4.21.0.0, 4.22.1.0"
    for witness, printed in (("API", "4.22.0"), ("database", "4.22.0"), ("appliances themselves", "not on record")):
        assert rows[f"System VMs, by the {witness}"] == printed
    assert "after the switch (window.rollbackWindow)" in rows["Allowed"] and "what they made or changed" in rows["What users lose"]
    assert (
        "the last rollback of this stack took 1 min" in rows["Time"]
        and rows["Networks"].startswith("none")
        and rows["System VMs"].startswith("renewed once more")
    )
    cells = [[cell.text for cell in row.all("cell", "rowheader")] for table in tree.all("table") for row in table.all("row")]
    assert ["start", "41 s", "44 s"] in cells
    assert any(row[:1] == ["me@here"] and row[1].startswith("did Window, FirstManagement") for row in cells if len(row) > 1)


def test_a_screen_reader_reads_the_numbers_of_the_labs_run(lab_page: Page) -> None:
    text = lab_page.tree().text
    for words in (
        "for 1 min 53 s, by the user probe's clock; then the new side served them",
        "1 min 15 s; then the new side served",
        "336 tables, 225,592 rows",
        "4.21.0.0, 4.22.0.0, 4.22.1.0",
        "Cloudstack Release 4.22.0",
        "3 whose routers the new side renewed are restarted by the original",
        "operator@workstation",
    ):
        assert words in text, words


def test_nothing_is_asked_of_a_network_and_nothing_is_wrong(either: Page) -> None:
    asked = {each["request"]["url"] for each in either.reported("Network.requestWillBeSent")}
    assert asked == {either.run("location.href")} and all(each.startswith("file:") for each in asked)
    assert either.reported("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown") == []


def test_an_open_page_shows_what_a_run_does_meanwhile(browser: Chromium, tmp_path: Path) -> None:
    where = site(runs=str(tmp_path))
    folder, target = RunFolder(where.configuration.runs, where.stack, where.hidden()), tmp_path / "followed.html"
    report.write(where, folder, target, refresh=1)
    followed = browser.open(target)
    assert "StillToCome" not in followed.tree().text
    since = len(browser.events)
    folder.record("begin", step="StillToCome", operation="apply")
    report.write(where, folder, target)
    browser.await_event("Page.loadEventFired", followed.session, since)
    assert "StillToCome" in followed.tree().text
