"""Marked images that lie in others, and how well boxes fit."""

import functools

from pictures import MESSAGE, drawn

from fastmark import Watermarker


@functools.cache
def tile(key, seed, message, height=384, width=448):
    return Watermarker(key).embed(drawn(height, width, seed), message)


@functools.cache
def pasted(key):
    """A marked picture at (72, 160) of one that is not marked."""
    canvas = drawn(620, 800, 9).copy()
    canvas[72 : 72 + 384, 160 : 160 + 448] = tile(key, 1, MESSAGE)
    return canvas


PASTED_BOX = (160, 72, 608, 456)


def iou(a, b):
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    both = sides[0] * sides[1]
    return both / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - both)
