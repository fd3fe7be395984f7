"""Tables: the same rows in every format, whole or not at all."""

import csv
import json

import pytest

from fastmark.bulk.tables import SCAN_COLUMNS, check_table, json_line, write_table
from fastmark.errors import MissingPackageError, OutputError

SEEN = {"source": 'a,"b"\n.jpg', "width": 3, "height": 4, "state": "detected", "log10_p": -12.25}
ROWS = [
    SEEN | {"mirrored": True, "message": "00ff", "scale": 0.5, "ms": 1.5},
    {"source": "ünï \U0001f600 caf\\xe9", "member": "0", "state": "error", "error": "is no picture"},
    {"source": "c", "state": "absent", "log10_p": 0.0, "mirrored": False, "extra": "not a column"},
]


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    readers = {"int32": int, "float64": float, "bool": {"true": True, "false": False}.get, "string": str}
    return [
        {name: readers[kind](row[name]) if row[name] != "" else None for name, kind in SCAN_COLUMNS.items()}
        for row in rows
    ]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_rows_come_back(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{ending}"
    check_table(str(path))
    assert write_table(str(path), SCAN_COLUMNS, iter(ROWS)) == 3
    assert read(path) == [{name: row.get(name) for name in SCAN_COLUMNS} for row in ROWS]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_no_rows_are_a_table_too(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{ending}"
    assert write_table(str(path), SCAN_COLUMNS, iter([])) == 0
    assert read(path) == []


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_what_fails_half_way_leaves_the_old_table(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{ending}"
    write_table(str(path), SCAN_COLUMNS, iter(ROWS))
    before = path.read_bytes()

    def failing():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(str(path), SCAN_COLUMNS, failing())
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_many_rows_in_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    rows = ({"source": str(i), "state": "absent", "ms": i / 2} for i in range(25_000))
    assert write_table(str(path), SCAN_COLUMNS, rows) == 25_000
    back = read(path)
    assert [row["source"] for row in back] == [str(i) for i in range(25_000)]


def test_tables_on_other_file_systems():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    write_table("memory://out/rows.jsonl", SCAN_COLUMNS, iter(ROWS))
    lines = memory.cat("/out/rows.jsonl").decode().splitlines()
    memory.store.clear()
    assert [json.loads(line)["source"] for line in lines] == [row["source"] for row in ROWS]


def test_lines_hold_every_column_in_order():
    line = json_line(ROWS[1], SCAN_COLUMNS)
    assert line.endswith("\n")
    assert line.isascii()
    assert list(json.loads(line)) == list(SCAN_COLUMNS)


def test_tables_refused(tmp_path, monkeypatch):
    for path, says in (
        ("rows.xls", "one of .jsonl, .csv, .parquet"),
        ("rows", "one of"),
        (str(tmp_path / "nowhere" / "rows.csv"), "does not exist"),
    ):
        with pytest.raises(OutputError, match=says):
            check_table(path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingPackageError, match="fastmark-watermark\\[bulk\\]"):
        check_table(str(tmp_path / "rows.parquet"))
