"""Events of rows and bytes drawn at random: keys are found in rows of any columns, and no bytes are an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parallel_build.database.replicate import log_events
from parallel_build.database.replicate.log_events import Event, Keys
from tests.fast.database.test_log_events import VM, event, rows, seen, table

pytestmark = pytest.mark.processes

SIZES = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
COLUMN = st.sampled_from(
    [(1, b""), (2, b""), (9, b""), (3, b""), (8, b""), (4, b"\x04"), (5, b"\x08"), (13, b""), (10, b""), (17, b"\x02"), (18, b"\x06"), (19, b"\x03"),
     (15, b"\x20\0"), (15, b"\0\x04"), (254, b"\xfe\x20"), (254, b"\xee\xf0"), (254, b"\xf7\x02"), (246, b"\x14\x06"), (16, b"\x01\x01"), (252, b"\x01"),
     (252, b"\x04"), (245, b"\x04"), (252, b"\x03")]
)  # fmt: skip


def _value(kind: int, detail: bytes, draw: Any) -> bytes:
    """Any value of a column, as the log holds it."""
    layout = log_events._layout(kind, detail)
    if isinstance(layout, int):
        return bytes(draw(st.binary(min_size=layout, max_size=layout)))
    data = draw(st.binary(max_size=40))
    return len(data).to_bytes(layout[1], "little") + bytes(data)


@st.composite
def written(draw: Any) -> tuple[list[tuple[int, bytes]], list[list[int]], list[tuple[int, ...]], bytes]:
    """Columns, which of them are the key, the keys of some rows, and the rows' bytes."""
    columns = draw(st.lists(COLUMN, min_size=1, max_size=12))
    columns.insert(draw(st.integers(0, len(columns))), (draw(st.sampled_from(sorted(SIZES))), b""))
    integers = [index for index, (kind, _) in enumerate(columns) if kind in SIZES]
    key = draw(st.lists(st.sampled_from(integers), min_size=1, max_size=3, unique=True))
    numbers = [[index + 1, draw(st.integers(0, 1))] for index in key]
    keys, data = [], b""
    for _ in range(draw(st.integers(1, 4))):
        nulls = [index not in key and draw(st.booleans()) for index in range(len(columns))]
        values = [b"" if null else _value(column[0], column[1], draw) for column, null in zip(columns, nulls, strict=True)]
        bits = sum(1 << index for index, null in enumerate(nulls) if null)
        data += bits.to_bytes((len(columns) + 7) // 8, "little") + b"".join(values)
        keys.append(tuple(int.from_bytes(values[number - 1], "little", signed=not unsigned) for number, unsigned in numbers))
    return columns, numbers, keys, data


@given(written(), st.sampled_from([23, 30, 166]))
def test_keys_are_found_in_rows_of_any_columns(given_rows: Any, kind: int) -> None:
    columns, numbers, keys, data = given_rows
    _, found = log_events.table_map(table(9, "cloud", "vm", columns))
    assert list(Keys(found, numbers).of(Event(kind, 1, 1, 1, rows(9, len(columns), data, kind=kind)))) == keys


@given(st.binary(max_size=200))
def test_any_bytes_are_a_doubt_or_nothing_but_never_an_error(data: bytes) -> None:
    for kind in (2, 18, 19, 30, 31, 39, 165, 166):
        assert set(seen(event(19, table(9, "cloud", "vm", VM)), event(kind, data))) == set(seen())
