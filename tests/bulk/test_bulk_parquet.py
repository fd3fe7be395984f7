"""Parquet files: which columns hold images, and every image of every row, whatever it is packed in."""

import pytest
from archives import encode, jpeg, write
from pictures import drawn

from fastmark.bulk.readers import read
from fastmark.bulk.records import Entry
from fastmark.bulk.sources import check_sources, entries, named
from fastmark.bulk.walk import Walk
from fastmark.errors import MissingPackageError, SourceError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ONE, TWO, THREE = jpeg(seed=1), jpeg(seed=2), encode(drawn(160, 200, 3), "PNG")
HASHES = [bytes([7 * i % 256]) * 20 for i in range(3)]


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return Entry(str(path), "parquet", "part", stamp="s")


def reading(entry, done=lambda picture: False, **options):
    ends = []
    pictures = list(read(entry, done, limit=1 << 20, finished=ends.append, **options))
    return pictures, [(end.items, end.passed.others) for end in ends]


def images(entry, **options):
    """Member and bytes, or error, of every image; positions count them."""
    pictures, ends = reading(entry, **options)
    assert [p.position for p in pictures] == list(range(len(pictures)))
    assert ends == [(len(pictures), 0)]
    return [(p.member, p.error or p.data) for p in pictures]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


# ---- one column ------------------------------------------------------------------------------------


def test_rows_of_a_parquet_file(path):
    entry = parquet(path, url=["u"] * 20, jpg=[jpeg(seed=i) for i in range(20)])
    pictures, ends = reading(entry, lambda picture: picture.position % 3 == 0)
    wanted = [i for i in range(20) if i % 3]
    assert [(p.position, p.member) for p in pictures] == [(i, str(i)) for i in wanted]
    assert [p.data for p in pictures] == [jpeg(seed=i) for i in wanted]
    assert pictures[0].name == "part/00000001"
    assert ends == [(20, 0)]


BYTES = {
    "binary": pa.binary(),
    "large": pa.large_binary(),
    "view": pa.binary_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
}


@pytest.mark.parametrize("kind", BYTES)
def test_rows_without_an_image_are_told(path, kind):
    values = pa.array([ONE, None, b""], pa.binary()).cast(BYTES[kind])
    assert images(parquet(path, image=values)) == [("0", ONE), ("1", "row 1 holds no image"), ("2", b"")]


def test_images_of_one_size(path):
    values = pa.array([bytes(100), None], pa.binary(100))
    assert images(parquet(path, raw=values)) == [("0", bytes(100)), ("1", "row 1 holds no image")]


STRUCTS = {
    "as of datasets": [("bytes", pa.binary()), ("path", pa.string())],
    "large": [("path", pa.string()), ("bytes", pa.large_binary())],
    "bytes beside others": [("thumb", pa.binary()), ("bytes", pa.binary())],
    "one of another name": [("path", pa.string()), ("encoded", pa.binary())],
    "deeper": [("n", pa.int64()), ("inner", pa.struct([("bytes", pa.binary())]))],
}


@pytest.mark.parametrize("form", STRUCTS)
def test_structs_that_hold_bytes(path, form):
    kind = pa.struct(STRUCTS[form])

    def row(data):
        filled = {"path": "p", "bytes": data, "encoded": data, "thumb": TWO, "inner": {"bytes": data}, "n": 1}
        return {field.name: filled[field.name] for field in kind}

    values = pa.array([row(ONE), row(None), None], kind)
    expected = [("0", ONE), ("1", "row 1 holds no image"), ("2", "row 2 holds no image")]
    assert images(parquet(path, image=values, label=[1, 2, 3])) == expected


LISTS = {
    "list": pa.list_(pa.binary()),
    "large list": pa.large_list(pa.large_binary()),
    "of structs": pa.list_(pa.struct([("path", pa.string()), ("bytes", pa.binary())])),
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_of_images(path, form):
    def item(data):
        return {"bytes": data, "path": "p"} if form == "of structs" else data

    rows = [[ONE, None, TWO], None, [], [None], [THREE]]
    values = [None if row is None else [item(data) for data in row] for row in rows]
    entry = parquet(path, images=pa.array(values, LISTS[form]), n=range(5))
    assert images(entry) == [
        ("0/0", ONE),
        ("0/2", TWO),
        *((f"{row}", f"row {row} holds no image") for row in (1, 2, 3)),
        ("4/0", THREE),
    ]
    assert [p.name for p in reading(entry)[0]][:2] == ["part/00000000/0", "part/00000000/2"]


def test_lists_of_a_fixed_length_of_lists_and_maps(path):
    pairs = pa.array([[ONE, TWO], [THREE, ONE]], pa.list_(pa.binary(), 2))
    assert images(parquet(path, pair=pairs)) == [("0/0", ONE), ("0/1", TWO), ("1/0", THREE), ("1/1", ONE)]
    nested = pa.array([[[ONE], [], [TWO, THREE]]], pa.list_(pa.list_(pa.binary())))
    assert images(parquet(path, nested=nested)) == [("0/0/0", ONE), ("0/2/0", TWO), ("0/2/1", THREE)]
    named_ones = pa.array([[("front", ONE), ("back", TWO)]], pa.map_(pa.string(), pa.binary()))
    assert images(parquet(path, views=named_ones)) == [("0/0", ONE), ("0/1", TWO)]


# ---- several columns -------------------------------------------------------------------------------


def test_columns_are_told_by_their_values(path):
    entry = parquet(path, hash=HASHES, jpg=HASHES, photo=[ONE, TWO, b"damaged"])
    assert images(entry) == [("0", ONE), ("1", TWO), ("2", b"damaged")]


def test_all_columns_of_images_are_read(path):
    entry = parquet(path, hash=HASHES, left=[ONE, TWO, None], right=[TWO, None, None])
    assert images(entry) == [
        ("0/left", ONE),
        ("0/right", TWO),
        ("1/left", TWO),
        ("2", "row 2 holds no image"),
    ]
    names = [p.name for p in reading(entry)[0]]
    assert names[:2] == ["part/00000000/left", "part/00000000/right"]


def test_a_column_that_is_empty_at_first_is_found(path):
    """As where one column has the JPEGs and another the PNGs, which come later."""
    entry = parquet(path, jpg=[ONE] * 40 + [None], png=[None] * 40 + [THREE])
    assert images(entry) == [*((f"{i}/jpg", ONE) for i in range(40)), ("40/png", THREE)]


def test_lists_and_fields_beside_each_other(path):
    kind = pa.struct([("front", pa.binary()), ("back", pa.binary())])
    views = pa.array([{"front": ONE, "back": TWO}], kind)
    more = pa.array([[THREE, ONE]], pa.list_(pa.binary()))
    entry = parquet(path, views=views, more=more)
    assert images(entry) == [
        ("0/views.front", ONE),
        ("0/views.back", TWO),
        ("0/more/0", THREE),
        ("0/more/1", ONE),
    ]
    # no dot, which would look like an ending
    assert reading(entry)[0][0].name == "part/00000000/views_front"


def test_usual_names_where_values_tell_nothing(path):
    assert images(parquet(path, hash=HASHES, jpg=HASHES)) == [(str(i), HASHES[i]) for i in range(3)]


def test_where_one_cannot_choose_it_is_told(path, tmp_path):
    entry = parquet(path, hash=HASHES, thumb=HASHES)
    (picture,), ends = reading(entry)
    assert picture.error == (
        f"{path}: several columns are of bytes (hash, thumb) and none begins like an image: name the images'"
        " with --column"
    )
    assert ends == []
    check_sources(named(path))  # it is a row
    assert [found.kind for found in entries(named(tmp_path), Walk())] == ["parquet"]  # in a folder too


def test_columns_by_name(path):
    kind = pa.struct([("bytes", pa.binary()), ("thumb", pa.binary())])
    image = pa.array([{"bytes": ONE, "thumb": TWO}], kind)
    several = pa.array([[{"bytes": ONE, "thumb": TWO}]], pa.list_(kind))
    entry = parquet(path, image=image, several=several, hash=HASHES[:1], n=[1])
    for column, expected in (
        ("hash", [("0", HASHES[0])]),
        ("image", [("0", ONE)]),
        ("image.bytes", [("0", ONE)]),
        ("image.thumb", [("0", TWO)]),
        ("several", [("0/0", ONE)]),
        ("several.thumb", [("0/0", TWO)]),
    ):
        assert images(entry, column=column) == expected
    of_bytes = "image.bytes, image.thumb, several.bytes, several.thumb, hash"
    for column in ("n", "image.path", "nosuch"):
        says = f"{path}: no column '{column}' of bytes; of bytes are: {of_bytes}"
        assert reading(entry, column=column)[0][0].error == says
        with pytest.raises(SourceError) as caught:
            check_sources(named(path), column)
        assert str(caught.value) == says


def test_two_columns_of_one_name(path):
    pq.write_table(pa.table([[ONE], [TWO]], names=["jpg", "jpg"]), path)
    (picture,), ends = reading(Entry(str(path), "parquet"))
    assert "two columns have the name 'jpg'" in picture.error
    assert ends == []


def test_a_name_with_dots(path):
    entry = parquet(path, **{"a.b": [ONE], "hash": HASHES[:1]})
    assert images(entry) == images(entry, column="a.b") == [("0", ONE)]


# ---- files without images --------------------------------------------------------------------------


def test_a_file_without_bytes_is_no_archive_of_images(path, tmp_path):
    parquet(path, n=[1, 2], id=pa.array([bytes(16)] * 2, pa.binary(16)))  # a uuid
    walk = Walk()
    assert list(entries(named(tmp_path), walk)) == []
    assert (walk.others, walk.parquets) == (1, 1)
    with pytest.raises(SourceError, match=r"a.parquet: no column is of bytes"):
        check_sources(named(path))


def test_no_rows_are_no_fault(path):
    none = pa.array([], pa.binary())
    assert images(parquet(path, a=none, b=none)) == []
    parquet(path, n=pa.array([], pa.int64()))
    check_sources(named(path))


def test_a_damaged_parquet_file_is_told(path):
    entry = parquet(path, jpg=[ONE] * 30)
    data = path.read_bytes()
    write(path, data[: len(data) // 2])
    (picture,), ends = reading(entry)
    assert "a.parquet cannot be read" in picture.error
    assert ends == []
    check_sources(named(path))  # by its name it is one


def test_without_pyarrow_a_parquet_file_is_told(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (picture,), _ = reading(Entry(str(write(path, b"PAR1")), "parquet"))
    assert "pip install 'fastmark-watermark[bulk]'" in picture.error
    with pytest.raises(MissingPackageError, match=r"fastmark-watermark\[bulk\]"):
        check_sources(named(path))


def test_a_few_rows_of_the_columns_that_are_wanted_are_read_at_a_time(path, monkeypatch):
    parquet(path, jpg=[ONE] * 40, other=[b"x"] * 40, text=["t"] * 40)
    asked = []
    iter_batches = pq.ParquetFile.iter_batches

    def asking(self, batch_size, columns, **options):
        asked.append((batch_size, columns, options.get("row_groups")))
        return iter_batches(self, batch_size=batch_size, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", asking)
    assert len(images(Entry(str(path), "parquet"))) == 40
    assert asked == [(16, ["jpg"], [0]), (16, ["other"], [0]), (16, ["jpg"], None)]
