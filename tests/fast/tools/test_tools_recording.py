"""A recording of a terminal: what asciinema reads, nothing of this machine in it, and a picture that loads nothing."""

from __future__ import annotations

import json
import socket
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tools import recording
from tools.recording import Recording, joined, picture, renamed, squeezed, thinned

SHOW = """
import os, shutil, sys, time
print("terminal", *shutil.get_terminal_size(), os.isatty(0), flush=True)
time.sleep(0.3)
print("\\033[32mgreen\\033[0m ü 数", flush=True)
sys.exit(3)
"""


def test_a_command_is_recorded_in_a_terminal_of_its_own(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "LINES"):  # they would count for more than the terminal
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "a.cast"
    words = [str(file), "--width", "90", "--height", "20", "--title", "A test", "--longest", "0.2", "--", sys.executable, "-c", SHOW]
    assert recording.main(words) == 3, "the command's exit code"
    head, *lines = map(json.loads, file.read_text().splitlines())
    assert (head["version"], head["width"], head["height"], head["title"]) == (2, 90, 20, "A test")
    assert all(kind == "o" and isinstance(when, float) for when, kind, _ in lines)
    times = [when for when, _, _ in lines]
    assert times == sorted(times) and times[-1] <= 0.2 * len(times) + 0.01
    assert Recording.load(file).text == "terminal 90 20 True\r\n\x1b[32mgreen\x1b[0m ü 数\r\n"
    assert "green" in capfdbinary.readouterr().out.decode(), "shown as well"


def test_a_child_that_stays_behind_does_not_hold_the_recording_up(tmp_path: Path) -> None:
    words = [str(tmp_path / "a.cast"), "--", "sh", "-c", "setsid sleep 5 & echo ready"]
    assert recording.main(words) == 0
    assert "ready" in Recording.load(tmp_path / "a.cast").text


def test_pauses_are_cut_and_what_comes_together_is_one_piece() -> None:
    pieces = joined([(0.5, "a"), (0.55, "b"), (300.0, "c"), (300.5, "d")])
    assert pieces == ((0.5, "ab"), (300.0, "c"), (300.5, "d"))
    assert squeezed(pieces, 1.0) == ((0.5, "ab"), (1.5, "c"), (2.0, "d"))


@pytest.mark.parametrize("cut", range(1, 22))
def test_names_of_this_machine_are_replaced_wherever_a_piece_ends(cut: int) -> None:
    text = "on big-host in /root/x"
    found = renamed(
        [(0.0, text[:cut]), (1.0, text[cut:]), (2.0, ", /root again")], {"big-host": "workstation", "/root": "~", "/root/x": "here"}
    )
    assert "".join(part for _, part in found) == "on workstation in here, ~ again"
    assert [when for when, _ in found] == [0.0, 1.0, 2.0]


def test_a_short_name_is_replaced_as_a_word_alone() -> None:
    ((_, text),) = renamed([(0.0, "root@vm: kvm1, systemvm-1, vm")], {"vm": "workstation"})
    assert text == "root@workstation: kvm1, systemvm-1, workstation"


TABLE = "Type\x1b[K\r\na  creating (1s).\x1b[K\r\nb\x1b[K\r\n"


def test_what_is_drawn_again_is_kept_where_it_differs() -> None:
    up = "\r\x1b[3A"
    tick = TABLE.replace("(1s).", "(2s)..")
    done = "Type\x1b[K\r\na  created\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n"
    found = thinned([(0.0, TABLE), (1.0, up + tick + up + tick), (2.0, up + done), (3.0, "end\r\n")])
    assert found == ((0.0, TABLE), (2.0, f"{up}\r\na  created\x1b[K\r\n\r\nc\x1b[K\r\n"), (3.0, "end\r\n"))


def test_a_frame_that_comes_in_two_pieces_is_one() -> None:
    first, second = TABLE[:12], TABLE[12:]
    assert thinned([(0.0, first), (0.5, second), (1.0, "\r\x1b[3A" + first), (1.5, second)]) == ((0.0, TABLE),)


def test_plain_lines_are_left_as_they_are() -> None:
    pieces = [(0.0, "one\r\ntw"), (1.0, "o\r\n"), (2.0, "\x1b[?25lthree")]
    assert "".join(text for _, text in thinned(pieces)) == "one\r\ntwo\r\n\x1b[?25lthree"


def test_this_machines_own_names_do_not_reach_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "a.cast"
    recording.main([str(file), "--", "sh", "-c", "hostname; pwd; echo $HOME"])
    text = file.read_text()
    assert socket.gethostname() not in text and str(Path.cwd()) not in text and "workstation" in text


def test_the_picture_is_of_the_end_and_loads_nothing(tmp_path: Path) -> None:
    shown = "lost\r\n\x1b[2Aredrawn\x1b[K\r\none <two>\r\n\x1b[1;32mdone\x1b[0m & well\r\n10%\r100%\r\n"
    file, still = tmp_path / "a.cast", tmp_path / "a.svg"
    Recording(40, 3, 0, "Our <demo>", ((0.1, shown),)).save(file)
    assert recording.main([str(file), "--still", str(still)]) == 0
    drawn = still.read_text()
    text = "".join(ElementTree.fromstring(drawn).itertext()).replace("\xa0", " ")  # noqa: S314 - our own picture
    assert "one <two>" in text and "done" in text and "& well" in text and "100%" in text
    assert "lost" not in text and "redrawn" not in text and "10%\n" not in text, "three lines only"
    assert "redrawn" in "".join(ElementTree.fromstring(picture(Recording.load(file), 9)).itertext())  # noqa: S314
    assert "Our <demo>" in text and drawn.count("http") == 1 and 'xmlns="http://www.w3.org/2000/svg"' in drawn
