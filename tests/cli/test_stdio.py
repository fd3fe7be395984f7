"""``fastmark detect --serve-stdio``, as another program starts it."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import MESSAGE, assert_refused, rows, run
from pictures import drawn
from PIL import Image

from fastmark import Key, Watermarker
from fastmark.cli.stdio import MOST_BYTES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two keys, and an image with and without a watermark."""
    made = tmp_path_factory.mktemp("stdio")
    key = Key(bytes(range(32)), name="studio")
    key.save(made / "my.key")
    Key(bytes(range(1, 33))).save(made / "other.key")
    bare = drawn(300, 320, 4)
    Image.fromarray(bare).save(made / "bare.png")
    Image.fromarray(Watermarker(key).embed(bare, MESSAGE)).save(made / "marked.png")
    (made / "text.png").write_text("no image at all")
    return made


def serve(folder, requests, *arguments, key="my.key", **options):
    """All answers to all requests, which are lines as bytes, or objects."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in requests]
    done = run(
        "detect", "--serve-stdio", "--key", key, *arguments,
        cwd=folder, input=b"\n".join(lines) + b"\n", **options,
    )  # fmt: skip
    return done, rows(done.stdout)


class Program:
    """A detector that is asked one thing after another."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastmark", "detect", "--serve-stdio", "--key", "my.key", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
        )  # fmt: skip

    def __enter__(self):
        self.ready = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def send(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, **request):
        self.send(**request)
        return json.loads(self.process.stdout.readline())


def test_answers_come_in_order_with_the_columns_of_detect(folder):
    image = base64.b64encode((folder / "marked.png").read_bytes()).decode()
    done, told = serve(
        folder,
        [
            {"id": 1, "path": "marked.png"},
            {"id": "two", "path": "bare.png"},
            {"id": {"three": [3]}, "image": image},
            {"path": "marked.png"},
        ],
    )
    assert (done.returncode, done.stderr) == (0, b"")
    ready, *answers = told
    assert (ready["ready"], ready["message_bits"]) == (True, 64)
    assert Key.load(folder / "my.key").id in ready["keys"]
    assert [answer["id"] for answer in answers] == [1, "two", {"three": [3]}, None]
    assert [answer["state"] for answer in answers] == ["detected", "absent", "detected", "detected"]
    assert [answer["message"] for answer in answers] == [MESSAGE, None, MESSAGE, MESSAGE]
    (row,) = rows(run("detect", "marked.png", "--json", "--key", "my.key", cwd=folder).stdout)
    assert answers[0] | {"ms": row["ms"]} == {"id": 1} | row
    assert answers[2]["source"] == "-"


def test_an_answer_comes_before_the_next_request(folder):
    with Program(folder) as program:
        for number in range(3):
            answer = program.ask(id=number, path="marked.png")
            assert (answer["id"], answer["message"]) == (number, MESSAGE)
        program.process.stdin.close()
        assert program.process.wait(60) == 0
        assert program.process.stdout.read() == program.process.stderr.read() == b""
        program.process.stdin = None


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_ends_it_and_what_is_at_work_is_answered(folder, busy):
    with Program(folder) as program:
        if busy:
            Image.fromarray(drawn(2000, 2600, 4)).save(folder / "large.png")
            program.send(id=7, path="large.png")
            time.sleep(0.2)  # most often it is read by then, and takes longer
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(120) == 0
        answers = [answer["id"] for answer in rows(program.process.stdout.read())]
        assert answers in ([[7], []] if busy else [[]])  # whether or not it was read already
        assert program.process.stderr.read() == b""


def test_what_is_wrong_with_a_request_is_its_answer(folder):
    flat = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(flat, "PNG")
    wrong = [
        (b"{", "not JSON"),
        (b'{"id": NaN, "path": "marked.png"}', "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "no JSON object"),
        ({"id": 1}, "exactly one"),
        ({"id": 1, "path": "marked.png", "image": ""}, "exactly one"),
        ({"id": 1, "path": 5}, "must be a text"),
        ({"id": 1, "image": 5}, "must be a text"),
        ({"id": 1, "image": "?"}, "not base64"),
        ({"id": 1, "image": ""}, "empty"),
        ({"id": 1, "image": base64.b64encode(b"no image").decode()}, "image"),
        ({"id": 1, "path": "marked.png", "depp": True}, "no field 'depp'"),
        ({"id": 1, "path": "marked.png", "deep": 1}, "true or false"),
        ({"id": 1, "path": "nowhere.png"}, "no such file"),
        ({"id": 1, "path": "text.png"}, "text"),
        ({"id": 1, "path": "my.key"}, "key file"),
        ({"id": 1, "path": "\0"}, ""),
        ({"id": 1, "path": "-"}, "no such file"),
        ({"id": 1, "image": base64.b64encode(flat.getvalue()).decode()}, "pixels"),
    ]
    requests = [request for request, _ in wrong]
    done, (_, *answers) = serve(
        folder, [*requests, b"", b"  ", {"id": 2, "path": "marked.png"}], "--max-pixels", "1000000"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(answers) == len(wrong) + 1
    for (request, says), answer in zip(wrong, answers, strict=False):
        assert set(answer) == {"id", "error"}, request
        assert says in answer["error"], request
        assert "internal" not in answer["error"], request
        assert answer["id"] == (request["id"] if isinstance(request, dict) else None)
    assert (answers[-1]["id"], answers[-1]["message"]) == (2, MESSAGE)


def test_a_line_that_is_too_long_is_passed_over(folder):
    long = b'{"id": 1, "image": "' + b"A" * (MOST_BYTES + (3 << 20)) + b'"}'
    done, (_, *answers) = serve(folder, [long, {"id": 2, "path": "marked.png"}])
    assert (done.returncode, done.stderr) == (0, b"")
    assert answers[0]["id"] is None and "more than" in answers[0]["error"]
    assert (answers[1]["id"], answers[1]["state"], len(answers)) == (2, "detected", 2)


def test_the_last_request_needs_no_end_of_line(folder):
    done = run(
        "detect", "--serve-stdio", "--key", "my.key", cwd=folder, input=b'{"id": 1, "path": "bare.png"}'
    )
    assert (done.returncode, rows(done.stdout)[1]["state"]) == (0, "absent")
    closed = run("detect", "--serve-stdio", "--key", "my.key", cwd=folder, input=b"")
    assert (closed.returncode, len(rows(closed.stdout))) == (0, 1)


def test_places_and_other_keys_are_told_where_they_are_asked_for(folder):
    done, (ready, located, many) = serve(
        folder,
        [{"id": 1, "path": "marked.png", "locate": True}, {"id": 2, "path": "marked.png", "all": True}],
        "--key", "other.key",
    )  # fmt: skip
    assert done.returncode == 0
    assert {Key.load(folder / name).id for name in ("my.key", "other.key")} <= set(ready["keys"])
    assert located["message"] == MESSAGE and located["share"] > 0.9 and len(located["box"]) == 4
    assert [other["state"] for other in located["others"]] == ["absent"]
    assert [place["message"] for place in many["places"] if place["message"]] == [MESSAGE]


def test_nothing_but_answers_is_written_to_stdout(folder, tmp_path):
    """Kernels that are not compiled yet are told of on stderr, and what else prints writes there too."""
    (tmp_path / "sitecustomize.py").write_text(
        "import fastmark.cli.stdio as stdio\n"
        "answer = stdio._answer\n"
        "def printing(*arguments):\n"
        "    print('a remark', flush=True)\n"
        "    return answer(*arguments)\n"
        "stdio._answer = printing\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), str(Path.cwd())])
    done, told = serve(folder, [{"id": 1, "path": "bare.png"}], env={"PYTHONPATH": path})
    assert done.stderr == b"a remark\n"
    assert [row.get("id") for row in told] == [None, 1]


def test_wrong_use_is_told_before_anything_is_read(folder):
    assert_refused(run("detect", "--key", "my.key", cwd=folder), "no image")
    for more, says in (
        (["bare.png"], "takes no images"),
        (["--deep"], "--deep does not go"),
        (["--all"], "--all does not go"),
        (["--explain"], "--explain does not go"),
    ):
        assert_refused(run("detect", "--serve-stdio", "--key", "my.key", *more, cwd=folder), says)
    assert_refused(run("detect", "--serve-stdio", "--key", "no.key", cwd=folder), "no.key")
