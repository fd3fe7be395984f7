"""Attacks that show the picture among other things: screenshots of desktops and phones, slides, memes.

Everything round the picture is drawn. A picture is shown at some share of its size, as a user would see it:
its area is that of a square of so many pixels, and a small picture is enlarged a little at most.
"""

from __future__ import annotations

import math

import numpy as np
from _edits import write
from _geometry import array, crop_aspect, fit, pil, resize_to
from _pixels import jpeg
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Box = tuple[int, int, int, int]  # left, top, right, bottom
Colour = tuple[int, int, int]

UNIT_PX = 1024  # a share of 1 shows a picture with the area of a square of this side
_MOST_ENLARGED = 1.25

INK, GREY, PALE, WHITE = (32, 33, 36), (95, 99, 104), (241, 243, 244), (255, 255, 255)
BLUE, NIGHT = (26, 115, 232), (24, 26, 30)
_WORDS = (
    "a", "the", "of", "and", "in", "on", "by", "for", "with", "light", "house", "morning", "report",
    "picture", "small", "water", "long", "road", "people", "year", "found", "garden", "between", "window",
    "paper", "under", "winter", "market", "seven", "city", "often", "river", "second", "table", "north",
    "street", "music", "never", "carry", "letter", "summer", "island", "early", "train", "colour",
)  # fmt: skip


# --- the picture --------------------------------------------------------------------------------------------


def shown(rgb: np.ndarray, share: float, most_px: tuple[int, int]) -> Image.Image:
    """The picture at a share of 1024 px, no larger than `most_px`, width and height."""
    h, w = rgb.shape[:2]
    scale = min(share * UNIT_PX / math.sqrt(h * w), most_px[0] / w, most_px[1] / h, _MOST_ENLARGED)
    return pil(resize_to(rgb, round(w * scale), round(h * scale)))


def contained(rgb: np.ndarray, most_px: tuple[int, int]) -> Image.Image:
    """The picture as large as fits into `most_px`, width and height."""
    return shown(rgb, math.inf, most_px)


def paste(canvas: Image.Image, picture: Image.Image, box: Box) -> Box:
    """Put the picture into the middle of a box; return the place it takes."""
    left, top = (box[0] + box[2] - picture.width) // 2, (box[1] + box[3] - picture.height) // 2
    canvas.paste(picture, (left, top))
    return left, top, left + picture.width, top + picture.height


def saved(canvas: Image.Image, quality: int | None) -> np.ndarray:
    """As a JPEG of that quality; as PNG where it is None."""
    return array(canvas) if quality is None else jpeg(array(canvas), quality)


# --- what is round it ---------------------------------------------------------------------------------------


def words(rng: np.random.Generator, count: int) -> str:
    """So many drawn words, the first with a capital letter."""
    return " ".join(_WORDS[i] for i in rng.integers(len(_WORDS), size=count)).capitalize()


def label(canvas: Image.Image, xy: tuple[int, int], text: str, px: float, colour: Colour = INK) -> None:
    """One line of text, its left end and the middle of its height at `xy`."""
    ImageDraw.Draw(canvas).text(xy, text, colour, ImageFont.load_default(px), anchor="lm")


def paragraph(
    canvas: Image.Image, rng: np.random.Generator, box: Box, px: float, colour: Colour = INK
) -> None:
    """Fill a box with lines of text, the last of a paragraph shorter."""
    left, top, right, bottom = box
    per_line = max(1, round((right - left) / (3.3 * px)))
    for number, y in enumerate(range(round(top + px), round(bottom - 0.5 * px), round(1.6 * px))):
        count = per_line if number % 5 < 4 else max(1, per_line // 3)
        label(canvas, (left, y), words(rng, count), px, colour)


def wallpaper(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Soft colours and two hills."""
    colours = rng.integers(40, 190, (4, 5, 3), np.uint8)
    canvas = pil(colours).resize((width, height), Image.Resampling.BICUBIC)
    x = np.arange(0, width + 32, 32)
    for level in (0.62, 0.78):
        y = height * (level + 0.07 * np.sin(x / width * rng.uniform(3, 8) + rng.uniform(0, 6)))
        outline = [*zip(x.tolist(), y.tolist(), strict=True), (width, height), (0, height)]
        ImageDraw.Draw(canvas).polygon(outline, tuple(int(c) for c in rng.integers(20, 90, 3)))
    return canvas


def icon(canvas: Image.Image, rng: np.random.Generator, left: int, top: int, side: int) -> None:
    """A rounded tile of one colour with a sign on it."""
    draw = ImageDraw.Draw(canvas)
    tile, sign = (tuple(int(c) for c in rng.integers(low, high, 3)) for low, high in ((30, 230), (190, 256)))
    draw.rounded_rectangle((left, top, left + side, top + side), side // 5, tile)
    a, b = left + side // 4, top + side // 4
    inner = (a, b, a + side // 2, b + side // 2)
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse(inner, sign)
    elif kind == 1:
        draw.polygon([(a, b), (a + side // 2, b + side // 4), (a, b + side // 2)], sign)
    else:
        draw.rectangle(inner, None, sign, max(2, side // 12))


def desktop_icons(canvas: Image.Image, rng: np.random.Generator, rows: int, side: int) -> None:
    """A column of icons with names at the left edge."""
    for row in range(rows):
        y = side // 2 + row * 2 * side
        icon(canvas, rng, side // 2, y, side)
        label(canvas, (side // 3, y + side + side // 4), words(rng, 1), side / 4, WHITE)


def taskbar(canvas: Image.Image, rng: np.random.Generator, height: int) -> None:
    """A bar at the bottom edge with icons and the time."""
    w, h = canvas.size
    ImageDraw.Draw(canvas).rectangle((0, h - height, w, h), (28, 32, 40))
    side = height * 2 // 3
    for i in range(9):
        icon(canvas, rng, height // 3 + i * (side + height // 3), h - height + height // 6, side)
    label(canvas, (w - 3 * height, h - height // 2), "14:32", height / 2.6, WHITE)


def window(canvas: Image.Image, box: Box, title: str, bar: int, light: bool = True) -> Box:
    """A window with a title bar and three buttons; return the box of its content."""
    left, top, right, bottom = box
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), (150, 152, 156))
    draw.rectangle(box, WHITE if light else NIGHT)
    draw.rectangle((left, top, right, top + bar), (222, 225, 230) if light else (45, 48, 54))
    label(canvas, (left + bar // 2, top + bar // 2), title, bar / 2.4, INK if light else PALE)
    for i, colour in enumerate(((232, 92, 82), (240, 190, 70), (98, 190, 84))):
        x = right - (i + 1) * bar
        draw.ellipse((x, top + bar // 3, x + bar // 3, top + 2 * bar // 3), colour)
    return left, top + bar, right, bottom


def browser(canvas: Image.Image, rng: np.random.Generator, box: Box, bar: int) -> Box:
    """A browser's window: tabs, address, menu of the page; return the box of the page."""
    left, top, right, bottom = window(canvas, box, "", bar)
    draw = ImageDraw.Draw(canvas)
    for i in range(4):  # tabs
        x = left + 8 + i * 7 * bar
        draw.rounded_rectangle(
            (x, top - bar + 6, x + 7 * bar - 8, top), 8, WHITE if i == 1 else (205, 209, 216)
        )
        label(canvas, (x + 12, top - bar // 2 + 3), words(rng, 2), bar / 2.6, GREY)
    draw.rounded_rectangle((left + 3 * bar, top + 6, right - 5 * bar, top + bar), bar // 2, PALE)
    label(canvas, (left + 4 * bar, top + bar // 2 + 3), "https://pictures.example/post/4711", bar / 2.4, GREY)
    line = top + bar + 8
    draw.line((left, line, right, line), (218, 220, 224), 1)
    for i in range(6):  # the page's menu
        label(canvas, (left + 2 * bar + i * 5 * bar, line + bar // 2), words(rng, 1), bar / 2.2, BLUE)
    return left, line + bar, right, bottom


def phone_screen(
    rng: np.random.Generator, width: int, height: int, dark: bool = False
) -> tuple[Image.Image, Box]:
    """A phone's screen with its status bar and the bar of an app; and the box between."""
    back, ink = (NIGHT, PALE) if dark else (WHITE, INK)
    canvas = Image.new("RGB", (width, height), back)
    status, bar = width // 16, width // 8
    label(canvas, (status, status // 2), "9:41", status / 2, ink)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((width - 2 * status, status // 4, width - status, 3 * status // 4), ink)
    draw.ellipse((status // 2, status + bar // 6, status // 2 + 2 * bar // 3, status + 5 * bar // 6), BLUE)
    label(canvas, (status + bar, status + bar // 2), words(rng, 2), bar / 3, ink)
    draw.line((0, status + bar, width, status + bar), GREY, 2)
    bottom = height - bar
    for i in range(5):
        icon(canvas, rng, (2 * i + 1) * width // 10 - bar // 4, bottom + bar // 4, bar // 2)
    return canvas, (0, status + bar, width, bottom)


# --- desktops -----------------------------------------------------------------------------------------------


def page(
    rgb: np.ndarray, rng: np.random.Generator, size: tuple[int, int], share: float, quality: int | None
) -> np.ndarray:
    """A web page on a desktop: the picture in the page, text above, beside and below it."""
    w, h = size
    bar = round(h / 34) if h < 1600 else 44  # bars do not grow with the screen
    canvas = wallpaper(rng, w, h)
    taskbar(canvas, rng, bar + 10)
    desktop_icons(canvas, rng, h // (5 * bar), 2 * bar)
    box = browser(canvas, rng, (w // 9, bar // 2, w - w // 40, h - 2 * bar), bar)
    left, top, right, bottom = box
    inner = (left + bar, top + 2 * bar, right - (right - left) // 4, bottom - bar)
    label(canvas, (inner[0], top + bar), words(rng, 6), bar)
    picture = shown(rgb, share, (inner[2] - inner[0], inner[3] - inner[1]))
    # off the middle: pages keep to their own grid, whose lines fall anywhere on the watermark's
    x, y = inner[0] + int(rng.integers(0, 24)), inner[1] + int(rng.integers(0, 12))
    canvas.paste(picture, (x, y))
    below, beside = y + picture.height + 8, x + picture.width + bar
    if below < bottom - 2 * bar:
        paragraph(canvas, rng, (x, below, x + picture.width, bottom - bar // 2), bar / 2)
    column = min(right - bar, beside + 18 * bar)  # lines are no longer than can be read
    paragraph(canvas, rng, (beside, y, column, bottom - bar), bar / 2)
    for i in range(max(0, (bottom - y) // (5 * bar))):  # what else there is to see
        if column + 6 * bar < right:
            icon(canvas, rng, column + bar, y + 5 * i * bar, 4 * bar)
        if column + 16 * bar < right:
            card = (column + 6 * bar, y + 5 * i * bar, column + 15 * bar, y + 5 * i * bar + 4 * bar)
            paragraph(canvas, rng, card, bar / 2, GREY)
    return saved(canvas, quality)


def viewer(
    rgb: np.ndarray, rng: np.random.Generator, size: tuple[int, int], share: float, quality: int | None
) -> np.ndarray:
    """A picture viewer on a desktop: a list of names at the left, tools above."""
    w, h = size
    bar = 36
    canvas = wallpaper(rng, w, h)
    taskbar(canvas, rng, 48)
    box = (w // 20, h // 30, w - w // 20, h - 48 - h // 30)
    left, top, right, bottom = window(canvas, box, f"{words(rng, 2)} - Viewer", bar, light=False)
    for i in range(8):
        icon(canvas, rng, left + 12 + 2 * bar * i, top + 8, bar)
    draw, side = ImageDraw.Draw(canvas), (right - left) // 6
    draw.rectangle((left, top + 2 * bar, left + side, bottom), (36, 39, 45))
    for i, y in enumerate(range(top + 3 * bar, bottom - bar, bar)):
        label(canvas, (left + 16, y), f"{words(rng, 1)}-{i:03d}.jpg", bar / 2.4, PALE)
    room = (left + side + 20, top + 2 * bar + 10, right - 20, bottom - 20)
    paste(canvas, shown(rgb, share, (room[2] - room[0], room[3] - room[1])), room)
    return saved(canvas, quality)


def slide(rgb: np.ndarray, rng: np.random.Generator, quality: int | None) -> np.ndarray:
    """1920 x 1080: a title, points at the left, the picture at the right, a line at the foot."""
    canvas = Image.new("RGB", (1920, 1080), (250, 250, 247))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, 1920, 22), (0, 82, 136))
    label(canvas, (90, 120), words(rng, 5), 72, (0, 62, 106))
    draw.line((90, 190, 1830, 190), (0, 82, 136), 4)
    for i in range(5):
        y = 290 + 140 * i
        draw.ellipse((96, y - 8, 112, y + 8), (0, 82, 136))
        label(canvas, (140, y), words(rng, 6), 40)
        label(canvas, (140, y + 52), words(rng, 7), 28, GREY)
    paste(canvas, contained(rgb, (820, 760)), (1000, 220, 1860, 1000))
    label(canvas, (90, 1040), f"{words(rng, 4)}   |   17", 24, GREY)
    return saved(canvas, quality)


# --- phones -------------------------------------------------------------------------------------------------


def video_frame(rgb: np.ndarray, rng: np.random.Generator, quality: int) -> np.ndarray:
    """An upright frame, 1080 x 1920: the picture across it, a blurred one behind, captions and signs."""
    back = pil(resize_to(crop_aspect(rgb, 1080 / 1920), 270, 480)).filter(ImageFilter.GaussianBlur(14))
    canvas = back.point([i // 2 for i in range(256)] * 3).resize((1080, 1920), Image.Resampling.BICUBIC)
    left, top, _, bottom = paste(canvas, contained(rgb, (1080, 1400)), (0, 200, 1080, 1640))
    write(canvas, words(rng, 4).upper(), (60, top - 150, 1020, top - 30), WHITE)
    write(canvas, words(rng, 3), (left, bottom - 120, 1080 - left, bottom - 20), (255, 230, 60))
    for i in range(5):
        icon(canvas, rng, 960, 1000 + 130 * i, 84)
    label(canvas, (50, 1730), f"@{words(rng, 1)}", 44, WHITE)
    label(canvas, (50, 1800), words(rng, 6), 36, WHITE)
    ImageDraw.Draw(canvas).rectangle((0, 1908, 640, 1920), WHITE)
    return jpeg(array(canvas), quality)


def feed(rgb: np.ndarray, rng: np.random.Generator, quality: int | None) -> np.ndarray:
    """A post in a feed, 1080 x 1350: sender above, the picture as wide as it gets, signs and text below."""
    canvas = Image.new("RGB", (1080, 1350), WHITE)
    ImageDraw.Draw(canvas).ellipse((30, 20, 110, 100), (196, 84, 120))
    label(canvas, (140, 46), words(rng, 2), 34)
    label(canvas, (140, 86), words(rng, 1), 26, GREY)
    picture = contained(rgb, (1080, 1060))
    ImageDraw.Draw(canvas).rectangle((0, 120, 1080, 120 + picture.height), (236, 237, 239))
    below = paste(canvas, picture, (0, 120, 1080, 120 + picture.height))[3]
    for i in range(4):
        icon(canvas, rng, 30 + 100 * i if i < 3 else 980, below + 20, 64)
    paragraph(canvas, rng, (30, below + 100, 1050, 1340), 32)
    return saved(canvas, quality)


def phone_page(rgb: np.ndarray, rng: np.random.Generator, quality: int | None) -> np.ndarray:
    """An article on a phone of 1080 x 2400: a heading, the picture from edge to edge, text below."""
    canvas, (_, top, _, bottom) = phone_screen(rng, 1080, 2400)
    paragraph(canvas, rng, (48, top + 20, 1032, top + 230), 60)
    picture = contained(rgb, (1080, 1500))
    below = paste(canvas, picture, (0, top + 260, 1080, top + 260 + picture.height))[3]
    paragraph(canvas, rng, (48, below + 20, 1032, bottom - 10), 42)
    return saved(canvas, quality)


def phone_chat(rgb: np.ndarray, rng: np.random.Generator, side: int, quality: int) -> np.ndarray:
    """The picture in a chat on a phone of 1170 x 2532; the screenshot shrunk to `side` px, then JPEG."""
    canvas, (_, top, _, bottom) = phone_screen(rng, 1170, 2532, dark=True)
    draw = ImageDraw.Draw(canvas)
    picture = contained(rgb, (1000, 1400))
    y = top + 60
    for i in range(3):
        right = i == 1
        tall = picture.height + 40 if right else 240
        wide = picture.width + 40 if right else 760
        left = 1130 - wide if right else 40
        draw.rounded_rectangle((left, y, left + wide, y + tall), 36, (32, 92, 74) if right else (52, 55, 62))
        if right:
            canvas.paste(picture, (left + 20, y + 20))
        else:
            paragraph(canvas, rng, (left + 36, y + 20, left + wide - 30, y + tall - 10), 40, PALE)
        label(canvas, (left + 20, y + tall + 30), f"10:{10 + 7 * i}", 28, GREY)
        y += tall + 90
    draw.rounded_rectangle((40, bottom - 130, 1130, bottom - 20), 50, (52, 55, 62))
    label(canvas, (90, bottom - 75), "Message", 40, GREY)
    return jpeg(fit(array(canvas), side), quality)


# --- small ones ---------------------------------------------------------------------------------------------


def captioned(rgb: np.ndarray, rng: np.random.Generator, side: int, quality: int) -> np.ndarray:
    """Bars with captions above and below the picture, all of it shrunk to `side` px, JPEG."""
    h, w = rgb.shape[:2]
    bar = h // 7
    image = pil(np.pad(rgb, ((bar, bar), (0, 0), (0, 0)), constant_values=255))
    write(image, words(rng, 5).upper(), (0, 0, w, bar), INK)
    write(image, words(rng, 4).upper(), (0, h + bar, w, h + 2 * bar), INK)
    return jpeg(fit(array(image), side), quality)


def avatar(rgb: np.ndarray, side: int, quality: int) -> np.ndarray:
    """The middle square of the picture at `side` px, JPEG."""
    return jpeg(resize_to(crop_aspect(rgb, 1.0), side, side, "lanczos"), quality)
