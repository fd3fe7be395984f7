"""Key files among the sources: refused by what they hold, and nothing of a secret in anything written."""

import io
import types

import pytest
from archives import jpeg, members_of, tar_of, write
from commands import assert_refused, run

from fastmark import bulk
from fastmark.bulk import sources
from fastmark.bulk.fetching import fetched
from fastmark.bulk.messages import Listed
from fastmark.bulk.readers import read
from fastmark.bulk.sources import check_sources, entries, named
from fastmark.bulk.walk import Walk
from fastmark.codec.key import Key
from fastmark.errors import FastmarkError, SourceError
from fastmark.images.formats import is_key_file

KEY = Key(bytes(range(100, 132)), "secret ünder test")
TEXT = KEY.to_text()
SECRET = KEY.secret.hex()

FORMS = {
    "as it is saved": TEXT.encode(),
    "on one line": " ".join(TEXT.split()).encode(),
    "with a mark": TEXT.encode("utf-8-sig"),
    "in UTF-16": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "in UTF-16, the other end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "in UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "with Windows's lines": b"\r\n\r\n" + TEXT.replace("\n", "\r\n").encode(),
    "in another order": (
        f'{{"secret": "01{SECRET}", "name": "{"x" * 64}", "format" : "fastmark-key"}}'.encode()
    ),
    "cut": TEXT.encode()[:-20],
}


def says_nothing(error):
    assert SECRET not in str(error)
    assert SECRET[:16] not in str(error)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["my.key", "my.txt", "my.lst", "my", "my.jpg", "my.tar", "my.parquet", "k.csv"]
)
def test_a_key_file_is_refused_by_what_it_holds(tmp_path, form, name):
    path = write(tmp_path / name, FORMS[form])
    for given in (named(path), named((), path)):
        for refused in (
            lambda given=given: check_sources(given),
            lambda given=given: [*entries(given, Walk())],
        ):
            with pytest.raises(SourceError) as caught:
                refused()
            says_nothing(caught.value)
            assert str(caught.value).startswith(f"{path} is a fastmark key file, not an image: take it out")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_list", [False, True])
def test_a_key_on_standard_input_is_refused(monkeypatch, form, is_list):
    stream = io.BufferedReader(io.BytesIO(FORMS[form]))
    monkeypatch.setattr(sources.sys, "stdin", types.SimpleNamespace(buffer=stream))
    with pytest.raises(SourceError, match="standard input is a fastmark key file") as caught:
        list(entries(named((), "-") if is_list else named("-"), Walk()))
    says_nothing(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["m.txt", "m.csv", "m.jsonl", "m.key"])
def test_a_key_is_no_file_of_messages(tmp_path, form, name):
    path = write(tmp_path / name, FORMS[form])
    with pytest.raises(SourceError, match="is a fastmark key file, not one of messages") as caught:
        Listed(str(path), 64)
    assert str(path) in str(caught.value)
    says_nothing(caught.value)


def test_the_file_of_a_detector_key_is_no_image_either(tmp_path):
    text = KEY.detector_key("the museum").to_text()
    for data in (text.encode(), text.encode("utf-16"), b"\r\n" + text.replace("\n", "").encode()):
        assert is_key_file(data[:8192])
        for name in ("check.key", "check.txt", "check.jpg"):
            path = write(tmp_path / name, data)
            for given in (named(path), named((), path)):
                with pytest.raises(SourceError, match="is a fastmark key file, not an image: take it out"):
                    check_sources(given)
    write(tmp_path / "in" / "check.key", text.encode())
    write(tmp_path / "in" / "check.jpg", text.encode())
    (entry,) = entries(named(tmp_path / "in"), Walk())
    (item,) = fetched(read(entry, lambda item: False, limit=1 << 20), 1 << 20)
    assert item.data is None or "key file" in item.error


def test_what_is_no_key_file_is_none():
    for data in (b"", b"{}", b"photos/fastmark-key/a.jpg\n", b'["fastmark-key"]', jpeg(), TEXT.encode()[1:]):
        assert not is_key_file(data)


def test_lines_that_may_be_secret_are_not_repeated(tmp_path):
    """Of a key that a list was pasted together with, or of one without its quotes."""
    for text in (f"a.jpg\n{TEXT}", TEXT[1:], f' "secret": "01{SECRET}",\n'):
        path = write(tmp_path / "list", text.encode())
        with pytest.raises(SourceError, match=r"list, line \d is of a fastmark key file") as caught:
            list(entries(named((), path), Walk()))
        says_nothing(caught.value)
    for line in (SECRET, f"01{SECRET}00000000", f' "{SECRET}",', f"0x{SECRET}"):
        listed = write(tmp_path / "list", f"a.jpg\n{line}\n".encode())
        found = list(entries(named((), listed), Walk()))
        assert [entry.path for entry in found] == ["a.jpg", f"{listed}, line 2"]
        says_nothing(found)
    for name in ("m.txt", "m.jsonl"):
        for text in (SECRET, TEXT[1:], f'{{"source": "{SECRET}", "message": "{SECRET}"}}'):
            with pytest.raises(FastmarkError) as caught:
                Listed(str(write(tmp_path / name, text.encode())), 64)
            says_nothing(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_keys_in_folders_are_passed_over_unless_they_are_named_like_images(tmp_path, form):
    for name in ("a.key", "b.txt", "c", "d.tar", "e.parquet", "f.zip", "g.jpg", "h.PNG"):
        write(tmp_path / "in" / name, FORMS[form])
    write(tmp_path / "in" / "real.jpg", jpeg())
    walk = Walk()
    found = [(entry.name, entry.error) for entry in entries(named(tmp_path / "in"), walk)]
    says = "is a fastmark key file, not an image: take it out of the sources"
    assert found == [(name, f"{tmp_path}/in/{name} {says}") for name in ("g.jpg", "h.PNG")] + [
        ("real.jpg", "")
    ]
    assert walk.others == 6
    listed = write(
        tmp_path / "list", b"".join(f"{p}\n".encode() for p in sorted((tmp_path / "in").iterdir()))
    )
    errors = [entry.error for entry in entries(named((), listed), Walk())]
    assert [says in error for error in errors] == [True] * 8 + [False]


def test_keys_of_remote_storage_are_told_when_they_have_come():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe({"/keys/a.jpg": TEXT.encode(), "/keys/b.key": TEXT.encode()})
    walk = Walk()
    pictures = [
        picture
        for entry in entries(named("memory://keys"), walk)
        for picture in fetched(read(entry, lambda picture: False, limit=1 << 20), 1 << 20)
    ]
    memory.store.clear()
    assert [(p.data, p.error) for p in pictures] == [
        (None, "memory:///keys/a.jpg is a fastmark key file, not an image: take it out of the sources")
    ]
    assert walk.others == 1


# ---- everything that is written --------------------------------------------------------------------

KEYS_IN_ALL_PLACES = ("my.key", "k.txt", "noending", "key.jpg", "meta.json", "t.tar")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Keys in a folder, a tar, a tar in a tar and a Parquet file, beside a few images."""
    folder = tmp_path_factory.mktemp("secrets")
    forms = list(FORMS.values())
    members = [(name, forms[i]) for i, name in enumerate(KEYS_IN_ALL_PLACES)]
    inner = tar_of(folder / "inner.tar", [*members, ("2.jpg", jpeg(288, 352, seed=2))]).read_bytes()
    for name, data in members:
        write(folder / "in" / name, data)
    write(folder / "in" / "0.jpg", jpeg(288, 352, seed=0))
    tar_of(folder / "in" / "s.tar", [("1.jpg", jpeg(288, 352, seed=1)), *members, ("inner.tar", inner)])
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"jpg": [jpeg(288, 352, seed=3), TEXT.encode()]}), folder / "in" / "p.parquet")
    (folder / "inner.tar").unlink()
    return folder


def assert_no_secret(folder, *streams):
    """In no file below a folder and in no stream, in any encoding."""
    texts = [*streams, *(path.read_bytes() for path in folder.rglob("*") if path.is_file())]
    assert texts
    for text in texts:
        plain = text.replace(b"\0", b"").lower()
        for part in (SECRET, SECRET[:16], KEY.to_text()[-60:-40]):
            assert part.encode() not in plain
        assert KEY.secret not in text


def test_scanning_writes_nothing_of_a_key(folder, tmp_path):
    ours = folder / "in" / "my.key"
    for output, code in (("rows.jsonl", 3), ("-", 3)):
        done = run("scan", folder / "in", "--key", ours, "-o", output, "--workers", "1", cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert_no_secret(tmp_path, done.stdout, done.stderr)
    table = (tmp_path / "rows.jsonl").read_text()
    assert table.count("is a fastmark key file") == 4  # key.jpg in three places and a row
    assert table.count('"absent"') == 4
    for arguments in ((ours,), ("--list", ours), (folder / "in", ours)):
        done = run("scan", *arguments, "--key", ours, "-o", "no.csv", cwd=tmp_path)
        assert_refused(done, "is a fastmark key file")
        assert_no_secret(tmp_path, done.stdout, done.stderr)
    for arguments in (("-",), ("--list", "-")):
        done = run("scan", *arguments, "--key", ours, "-o", "no.csv", cwd=tmp_path, input=TEXT.encode())
        assert_refused(done, "is a fastmark key file")
        assert_no_secret(tmp_path, done.stdout, done.stderr)


def test_marking_writes_nothing_of_a_key(folder, tmp_path):
    ours = folder / "in" / "my.key"
    options = ("--key", ours, "--message", "0x1", "--workers", "1")
    for output in ("out", "out.tar"):
        done = run("embed", folder / "in", "-o", output, *options, cwd=tmp_path)
        assert done.returncode == 3, done.stderr
        assert_no_secret(tmp_path, done.stdout, done.stderr)
    written = [name for name, _ in members_of(tmp_path / "out.tar")]
    assert written == ["0.jpg", "p/00000000.jpg", "s/1.jpg", "s/inner/2.jpg"]
    manifest = (tmp_path / "out.manifest.jsonl").read_text()
    assert "s.tar: inner.tar/my.key is a fastmark key file; it is not copied" in manifest
    assert manifest.count("is a fastmark key file") == 2 + 2 * len(KEYS_IN_ALL_PLACES)
    done = run(
        "embed", folder / "in", "-o", "no", "--key", ours, "--messages", ours, "--workers", "1", cwd=tmp_path
    )
    assert_refused(done, "my.key is a fastmark key file, not one of messages")
    assert_no_secret(tmp_path, done.stdout, done.stderr)


def test_marking_from_python_refuses_a_key(tmp_path):
    path = write(tmp_path / "my.txt", TEXT.encode())
    for arguments, options in (
        ((path,), {}),
        (((),), {"lists": path}),
        ((tmp_path,), {"messages": str(path)}),
    ):
        with pytest.raises(SourceError, match=r"my\.txt is a fastmark key file") as caught:
            bulk.embed(*arguments, tmp_path / "out", KEY, **options)
        says_nothing(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["my.txt"]
