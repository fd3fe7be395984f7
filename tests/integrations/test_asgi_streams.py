"""Streams of events: cut wherever chunks end, images in them watermarked, partial ones by policy."""

import asyncio
import gzip
import json

import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="the tests ask the middleware by httpx")

from image_servers import GENERATIONS, ImageServer, Reply, base64_of, encoded, event, images_of  # noqa: E402

from fastmark.integrations.answering.bounds import Room, Threads  # noqa: E402
from fastmark.integrations.answering.events import Event, Splitter  # noqa: E402
from fastmark.integrations.asgi import FastmarkMiddleware  # noqa: E402

MESSAGE = "0123456789abcdef"
STREAM = "text/event-stream; charset=utf-8"


def ask(app):
    async def asked():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return await client.post(GENERATIONS, json={"stream": True})

    return asyncio.run(asked())


def events_of(data):
    """The data of all events, as JSON where they are."""
    found = [Event.of(raw).data for raw in Splitter().feed(data)]
    return [json.loads(one) if one and one.startswith("{") else one for one in found]


def cut(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.fixture
def guarded(marker):
    def made(chunks, message=MESSAGE, kind=STREAM, headers=(), **options):
        reply = Reply(chunks, kind=kind, headers=list(headers), length=False)
        return FastmarkMiddleware(ImageServer(reply), marker, message, workers=2, **options)

    return made


@pytest.fixture
def png(draw):
    return encoded(draw(1, 256, 256))


@pytest.fixture
def stream(png, draw):
    """A stream as OpenAI's API has it: two partial images, and the whole one."""
    partial = [encoded(draw(seed, 256, 256)) for seed in (2, 3)]
    return b"".join(
        [
            b": keep-alive\n\n",
            *(
                event("image_generation.partial_image", b64_json=base64_of(one), partial_image_index=number)
                for number, one in enumerate(partial)
            ),
            event("image_generation.completed", b64_json=base64_of(png), usage={"total_tokens": 5}),
            b"data: [DONE]\n\n",
        ]
    )


def message_in(marker, text):
    (data,) = images_of(json.dumps({"data": [{"b64_json": text}]}))
    return marker.detect(data).message_hex


# ---- events ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_are_the_same_wherever_chunks_end(end):
    lines = [
        "\ufeff: remark",
        "event: a",
        "data: one",
        "data:two",
        "id: 5",
        "",
        "data",
        "",
        "",
        "event:b",
        "",
    ]
    text = end.join([*lines, "data: {}", "", ""]).encode()
    rng = np.random.default_rng(1)
    for trial in range(300):
        splitter, raw, at = Splitter(), [], 0
        while at < len(text):
            step = 1 if trial == 0 else int(rng.integers(1, 12))
            raw += splitter.feed(text[at : at + step])
            at += step
        assert b"".join(raw) + splitter.rest() == text
        told = [(one.name, one.data) for one in map(Event.of, raw) if one.data is not None]
        assert told == [("a", "one\ntwo"), ("", ""), ("", "{}")]
    first = Event.of(raw[0])
    assert first.others == (b": remark", b"event: a", b"id: 5")
    assert Event.of(first.to_bytes(b"x\ny")) == Event("a", "x\ny", first.others)


def test_a_splitter_does_not_search_what_it_searched():
    splitter, steps = Splitter(), 4000
    for _ in range(steps):
        assert splitter.feed(b"data: " + b"A" * 994) == []
    assert len(splitter) == steps * 1000
    assert len(splitter.feed(b"\n\n")) == 1 and len(splitter) == 0


# ---- streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 997, 10**9])
def test_the_whole_image_is_marked_and_partial_ones_are_dropped(guarded, marker, stream, size):
    if size == 1:  # byte by byte where lines end, as a million steps would take long
        chunks = [*cut(stream[:300], 1), stream[300:-300], *cut(stream[-300:], 1)]
    else:
        chunks = cut(stream, size)
    assert b"".join(chunks) == stream
    response = ask(guarded(chunks))
    assert response.status_code == 200 and response.headers["content-type"] == STREAM
    assert "content-length" not in response.headers and "fastmark-warning" not in response.headers
    assert response.content.startswith(b": keep-alive\n\nevent: image_generation.completed\ndata: ")
    remark, whole, done = events_of(response.content)
    assert (remark, done) == (None, "[DONE]")
    assert whole["usage"] == {"total_tokens": 5}
    assert message_in(marker, whole["b64_json"]) == MESSAGE


def test_partial_images_are_passed_or_marked_where_told(guarded, marker, stream):
    response = ask(guarded([stream], on_partial="pass"))
    assert "partial images are passed" in response.headers["fastmark-warning"]
    before, after = events_of(stream), events_of(response.content)
    assert after[1:3] == before[1:3] and after[3] != before[3]
    told = events_of(ask(guarded([stream], on_partial="mark")).content)
    assert [one["partial_image_index"] for one in told[1:3]] == [0, 1]
    assert [message_in(marker, one["b64_json"]) for one in told[1:4]] == [MESSAGE] * 3


def test_a_kind_may_stand_in_the_name_of_an_event_alone(guarded, marker, png):
    data = json.dumps({"b64_json": base64_of(png)})
    kinds = ("partial_image", "completed")
    chunks = [f"event: image_edit.{kind}\r\ndata: {data}\r\n\r\n".encode() for kind in kinds]
    (whole,) = events_of(ask(guarded(chunks)).content)
    assert message_in(marker, whole["b64_json"]) == MESSAGE


def test_an_event_without_its_end_and_one_in_pieces_are_marked_too(guarded, marker, png):
    text = json.dumps({"type": "image_generation.completed", "b64_json": base64_of(png)}, indent=1)
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    (whole,) = events_of(ask(guarded([lines.encode()])).content)
    assert message_in(marker, whole["b64_json"]) == MESSAGE


def test_events_of_other_kinds_are_as_they_were(guarded):
    stream = (
        b'retry: 10\n\nevent: ping\ndata: {"type": "ping", "n": 1.0}\n\ndata:\n\nid: 1\ndata: [1, 2]\r\n\r\n'
    )
    assert ask(guarded([stream])).content == stream


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_what_cannot_be_marked_ends_a_stream_or_is_passed(guarded, draw, fail):
    tiny = event("image_generation.completed", b64_json=base64_of(encoded(draw(1, 64, 64))))
    for raw, code in (
        (tiny, "image_not_watermarked"),
        (b"data: iVBORw0KGgo\n\n", "unknown_answer"),
        (b"data: \xff\n\n", "unknown_answer"),
        (event("image_generation.completed", url="https://cdn.example/1.png"), "image_by_url"),
    ):
        after = event("more", n=2)
        response = ask(guarded([event("more", n=1), raw, after], fail=fail))
        assert response.status_code == 200
        if fail == "open":
            assert response.content == event("more", n=1) + raw + after
            continue
        first, error = events_of(response.content)
        assert first == {"type": "more", "n": 1}
        assert (error["type"], error["error"]["code"]) == ("error", code)
        assert response.content.count(b"\n\n") == 2


def test_packed_streams_and_ones_that_are_too_large(guarded, marker, stream):
    packed = gzip.compress(stream)
    response = ask(guarded(cut(packed, 5000), headers=[(b"content-encoding", b"gzip")]))
    assert message_in(marker, events_of(response.content)[1]["b64_json"]) == MESSAGE
    *_, error = events_of(ask(guarded(cut(stream, 5000), max_bytes=20_000)).content)
    assert error["error"]["code"] == "answer_too_large"
    *_, error = events_of(ask(guarded([b"abc"], headers=[(b"content-encoding", b"gzip")])).content)
    assert error["error"]["code"] == "unknown_answer"


def test_a_stream_that_breaks_off_sends_no_image(guarded, stream):
    with pytest.raises(RuntimeError, match="died"):
        ask(guarded([stream[:-5000], RuntimeError("died")]))


# ---- bounds ----------------------------------------------------------------------------------------------


def test_room_is_given_in_the_order_of_asking_and_none_is_lost():
    async def use():
        room, order = Room(10), []

        async def hold(name, amount):
            taken = await room.take(amount)
            order.append(name)
            await asyncio.sleep(0)
            room.give(taken)

        first = await room.take(8)
        waiting = [
            asyncio.create_task(hold(name, amount)) for name, amount in (("a", 9), ("b", 1), ("c", 99))
        ]
        await asyncio.sleep(0)
        assert not room.take_now(3) and room.take_now(2)  # who does not wait may go before
        room.give(2)
        waiting[0].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["b"]
        room.give(first)
        await asyncio.gather(*waiting, return_exceptions=True)
        assert order == ["b", "c"] and room.free == 10
        # cancelled in the very moment in which it is given
        first = await room.take(10)
        late = asyncio.create_task(hold("d", 10))
        await asyncio.sleep(0)
        room.give(first)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert room.free == 10

    asyncio.run(use())


def test_threads_share_what_they_make_and_start_again_after_their_end():
    made = []

    class Work:
        def __init__(self):
            made.append(self)

        def double(self, number):
            return 2 * number

    async def use():
        threads = Threads(Work, 2)
        assert await asyncio.gather(*(threads.run("double", n) for n in range(8))) == [*range(0, 16, 2)]
        threads.close()
        assert await threads.run("double", 4) == 8
        threads.close()
        threads.close()

    asyncio.run(use())
    assert len(made) == 1
    assert Threads(Work, 0).size >= 1
