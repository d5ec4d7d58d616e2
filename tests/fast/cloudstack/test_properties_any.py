"""Java's properties drawn at random: what is written is read again, and texts are read as Java itself reads them."""

from __future__ import annotations

import base64
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallel_build.cloudstack.properties import encode, parse, replace, without
from parallel_build.errors import StepFailed

pytestmark = pytest.mark.processes

LINES = st.lists(
    st.one_of(
        st.sampled_from(["", "# a comment = x", "!b", "  "]),
        st.tuples(st.sampled_from(["a", "b.c", "d e"]), st.sampled_from(["=", ":", " ", " = "]), st.text(max_size=8)),
    ),
    max_size=8,
)


def written(lines: list[Any]) -> str:
    """Lines as a file: keys and values escaped as Java's own writer does."""
    import javaproperties

    return "\n".join(each if isinstance(each, str) else javaproperties.join_key_value(each[0], each[2], each[1]) for each in lines)


@settings(deadline=None, max_examples=300)
@given(lines=LINES, value=st.text(max_size=12))
def test_any_value_can_be_written_and_every_other_line_stays(lines: list[Any], value: str) -> None:
    text = written(lines)
    known = parse(text)
    for key in known:
        changed = replace(text, {key: value})
        assert parse(changed) == {**known, key: value}
        assert without(changed, key) == without(text, key)


JAVA = """import java.io.*; import java.util.*; import java.nio.charset.StandardCharsets;
public class Read {
  static String b(String s) { return Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_16BE)); }
  public static void main(String[] a) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in)); String line;
    while ((line = in.readLine()) != null) {
      StringBuilder out = new StringBuilder();
      try {
        Properties p = new Properties(); p.load(new ByteArrayInputStream(Base64.getDecoder().decode(line)));
        for (String k : p.stringPropertyNames()) out.append(b(k)).append(":").append(b(p.getProperty(k))).append(" ");
      } catch (IllegalArgumentException e) { out.append("refused"); }
      System.out.println(out.toString().trim());
    } } }
"""
PIECES = [
    "a",
    "b",
    "=",
    ":",
    " ",
    "\t",
    "\f",
    "\\",
    "\n",
    "\r",
    "\r\n",
    "#",
    "!",
    "u",
    "\\u",
    "0041",
    "\\u00e9",
    "\xe9",
    "\x85",
    "\x1c",
    "\v",
    "\\\n",
    "\xa0",
]
# A line that begins with a backslash at its end has quirks of one JDK or another, and nobody writes it.
ODD = re.compile(r"(^|[\r\n])[ \t\f]*\\([\r\n]|$)")


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK, whose java.util.Properties is the judge")
def test_texts_are_read_as_java_reads_them(tmp_path: Path) -> None:
    (tmp_path / "Read.java").write_text(JAVA)
    chosen = random.Random(4)
    texts = ["".join(chosen.choice(PIECES) for _ in range(chosen.randrange(24))) for _ in range(4000)]
    texts = [text for text in texts if not ODD.search(text)]
    given_lines = "".join(base64.b64encode(encode(text)).decode() + "\n" for text in texts)
    done = subprocess.run(["java", str(tmp_path / "Read.java")], input=given_lines, capture_output=True, text=True, check=True, timeout=120)
    answers = done.stdout.split("\n")[: len(texts)]
    for text, answer in zip(texts, answers, strict=True):
        assert _ours(text) == _javas(answer), repr(text)
    assert sum(bool(answer) for answer in answers) > 1000


def _ours(text: str) -> dict[str, str] | None:
    try:
        return parse(text)
    except StepFailed:
        return None


def _javas(answer: str) -> dict[str, str] | None:
    if answer == "refused":
        return None
    pairs = [pair.split(":") for pair in answer.split()]
    return {_plain(key): _plain(value) for key, value in pairs}


def _plain(text: str) -> str:
    return base64.b64decode(text).decode("utf-16-be", "surrogatepass")
