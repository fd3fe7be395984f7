"""Nodes for ComfyUI: embed, detect and locate watermarks in its images.

A workflow, and the PNG that is saved with it, holds the name of a key, never a key. ComfyUI loads folders in
``custom_nodes``: ``python -m fastmark.integrations.comfyui FOLDER_OF_COMFYUI`` copies one there.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fastmark._checks import ON_MARKED, check_message_bits
from fastmark._imports import package
from fastmark.errors import FastmarkError, OutputError, one_line, reason_of
from fastmark.integrations.comfyui_inputs import (
    NO_REGISTRY,
    RANDOM,
    REGISTRY,
    bits_input,
    check_registry,
    check_texts,
    detector_of,
    finite_images,
    first_of,
    key_input,
    marker_of,
    messages_in,
    messages_of,
    public_of,
    registry_of,
    valid,
    verdict,
)
from fastmark.integrations.marking import Marking
from fastmark.integrations.named_keys import fingerprint, load_named, load_named_secret
from fastmark.integrations.tensors import to_arrays, with_arrays

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "install"]

_IMAGE = ("IMAGE", {"tooltip": "The images of a batch, each by itself."})
_FOLDER = Path(__file__).parent / "comfyui_nodes"


class FastmarkEmbed:
    """Embeds a watermark in each image of a batch."""

    DESCRIPTION = "Embeds an invisible watermark in each image. Put it last, right before the image is saved."
    CATEGORY = "fastmark"
    FUNCTION = "embed"
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("image", "message")
    OUTPUT_TOOLTIPS = ("The watermarked images.", "The message of each image, in hex, one on a line.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 # ComfyUI's name
        """Describe the inputs."""
        return {
            "required": {
                "image": _IMAGE,
                "key": key_input(),
                "message": (
                    "STRING",
                    {
                        "default": RANDOM,
                        "tooltip": "Hex digits, message_bits / 4 of them, or fewer after 0x: one message"
                        " for all images, or one for each with commas between. random draws one for each.",
                    },
                ),
                "message_bits": bits_input(),
                "strength": ("FLOAT", {"default": 1.0, "min": 0.25, "max": 4.0, "step": 0.05}),
                "on_marked": (
                    list(ON_MARKED),
                    {"tooltip": "What to do with an image that has a watermark of this key already."},
                ),
                "on_error": (
                    ["raise", "warn"],
                    {"tooltip": "An image that cannot carry it, as it is too small: stop, or pass it on."},
                ),
            },
            "optional": {
                "public": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "A second watermark that anybody can read: ai-generated, ai-edited,"
                        " do-not-train, do-not-train-generative, captured; several with commas between.",
                    },
                ),
                "registry": (
                    [NO_REGISTRY, REGISTRY],
                    {"tooltip": "Keeps the message of each image, and draws it where it is random."},
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(  # noqa: N802 # ComfyUI's name
        cls,
        key: Any = None,
        message: Any = None,
        message_bits: Any = None,
        public: Any = None,
        registry: Any = None,
    ) -> bool | str:
        """Check what can be before anything runs; ComfyUI's own check of a list would repeat the value.

        Inputs that are linked to another node are None.
        """
        return valid(
            lambda: None if key is None else load_named_secret(key),
            lambda: check_texts(message=message, public=public),
            lambda: message_bits is None or check_message_bits(message_bits),
            lambda: None in (message, message_bits) or messages_in(message, message_bits),
            lambda: None if registry is None else registry_of(check_registry(registry)),
            lambda: None if public is None else public_of(public),
        )

    @classmethod
    def IS_CHANGED(  # noqa: N802 # ComfyUI's name
        cls, key: Any = None, message: Any = None, registry: Any = None, **_: Any
    ) -> str:
        """Return what changes when the node must run again; ComfyUI writes it into the images' metadata."""
        if str(message).strip() == RANDOM or registry == REGISTRY:
            return secrets.token_hex(8)
        return fingerprint(key)

    def embed(
        self,
        image: Any,
        key: str,
        message: str = RANDOM,
        message_bits: int = 64,
        strength: float = 1.0,
        on_marked: str = "replace",
        on_error: str = "raise",
        public: str = "",
        registry: str = NO_REGISTRY,
    ) -> tuple[Any, str]:
        """Return the images with the watermark, and the messages, one on a line.

        Args:
            image: float32 ``(B, H, W, C)`` on 0..1.
            key: name of a key that embeds.
            message: see the node.
            message_bits, strength, on_marked: as for ``Watermarker``.
            on_error: as for ``attach``; "raise" by default, as ComfyUI keeps what the nodes before have made.
            public: names of the public watermark's flags, or nothing.
            registry: none, or the variable that holds a registry's URL.

        Raises:
            FastmarkError: if a value is not of these kinds, or an image cannot carry the watermark.
        """
        check_texts(message=message, public=public)
        arrays = to_arrays(image, "NHWC", signed=False, what="the input image")
        kept = registry_of(check_registry(registry))
        marking = Marking(
            "ComfyUI",
            marker_of(load_named_secret(key), message_bits, float(strength)),
            messages_of(message, message_bits, len(arrays), registered=kept is not None),
            registry=kept,
            public=public_of(public),
            on_error=on_error,  # type: ignore[arg-type] # which checks it
            on_marked=on_marked,  # type: ignore[arg-type]
            first=first_of(message_bits),
        )
        done = [marking.mark(one) for one in arrays]
        changed = {i: np.asarray(one[0]) for i, one in enumerate(done) if one is not None}
        said = [one[1].message or "" if one is not None else "" for one in done]
        return with_arrays(image, changed, "NHWC", signed=False), "\n".join(said)


class FastmarkDetect:
    """Looks for a key's watermark in each image of a batch, and for the public one."""

    DESCRIPTION = (
        "Looks for the watermark of a key in each image, whatever happened to it, and for the public one."
    )
    CATEGORY = "fastmark"
    FUNCTION = "detect"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "BOOLEAN", "STRING", "STRING", "STRING")
    RETURN_NAMES = ("verdict", "detected", "message", "public", "report")
    OUTPUT_IS_LIST = (True,) * 5
    OUTPUT_TOOLTIPS = (
        "In words.",
        "Whether this key's watermark is there.",
        "Its message in hex, or nothing.",
        "What the public watermark says, or nothing.",
        "All that is known, as JSON.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 # ComfyUI's name
        """Describe the inputs."""
        deep = "Search on, for images that somebody tried to clean: seconds for each."
        return {
            "required": {
                "image": _IMAGE,
                "key": key_input(),
                "message_bits": bits_input(),
                "deep": ("BOOLEAN", {"default": False, "tooltip": deep}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, key: Any = None) -> bool | str:  # noqa: N802 # ComfyUI's name
        """Check the key's name; ComfyUI's own check of a list would repeat it."""
        return valid(lambda: None if key is None else load_named(key))

    @classmethod
    def IS_CHANGED(cls, key: Any = None, **_: Any) -> str:  # noqa: N802 # ComfyUI's name
        """Return what changes with the key; ComfyUI writes it into the images' metadata."""
        return fingerprint(key)

    def detect(self, image: Any, key: str, message_bits: int = 64, deep: bool = False) -> dict[str, Any]:
        """Return for each image the verdict, whether it is detected, message, public watermark and report.

        Args:
            image: float32 ``(B, H, W, C)`` on 0..1.
            key: name of a key of either kind.
            message_bits, deep: as for ``Detector``.

        Raises:
            FastmarkError: if a value is not of these kinds.
        """
        from fastmark import public

        detector = detector_of(load_named(key), message_bits)
        rows = []
        for one in finite_images(image):
            (found,), reading = detector.detect(one, deep=deep), public.read(one, deep=deep)
            said = "" if reading.code is None else str(reading.code)
            report = found.to_dict() | {"public": said or None}
            rows.append(
                (verdict(found, said), bool(found), found.message_hex or "", said, json.dumps(report))
            )
        columns = tuple(map(list, zip(*rows, strict=True)))
        return {"ui": {"text": columns[0]}, "result": columns}


class FastmarkLocate:
    """Shows where in each image a key's watermark lies."""

    DESCRIPTION = "Shows which part of each image carries the watermark of a key."
    CATEGORY = "fastmark"
    FUNCTION = "locate"
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("map", "mask", "verdict")
    OUTPUT_TOOLTIPS = (
        "Blue where the watermark lies, orange where the content was changed under it, grey elsewhere.",
        "1 where the watermark lies.",
        "In words, one on a line.",
    )
    INPUT_TYPES = FastmarkDetect.INPUT_TYPES
    VALIDATE_INPUTS = FastmarkDetect.VALIDATE_INPUTS
    IS_CHANGED = FastmarkDetect.IS_CHANGED

    def locate(
        self, image: Any, key: str, message_bits: int = 64, deep: bool = False
    ) -> tuple[Any, Any, str]:
        """Return the maps, float32 ``(B, H, W, 3)``, masks, float32 ``(B, H, W)``, and the verdicts.

        Arguments and errors are those of :meth:`FastmarkDetect.detect`.
        """
        torch = package("torch", "images in tensors", "diffusers")
        detector = detector_of(load_named(key), message_bits)
        maps, masks, verdicts = [], [], []
        for one in finite_images(image):
            height, width = one.shape[:2]
            where = detector.locate(one, deep=deep)
            maps.append(np.asarray(where.to_image(), np.float32) / 255)
            cells = where.carries.repeat(where.cell_px, 0).repeat(where.cell_px, 1)
            masks.append(cells[:height, :width].astype(np.float32))
            share = f", in {where.share:.0%} of the image" if where else ""
            verdicts.append(verdict(where.detection, "") + share)
        return torch.from_numpy(np.stack(maps)), torch.from_numpy(np.stack(masks)), "\n".join(verdicts)


NODE_CLASS_MAPPINGS = {
    "FastmarkEmbed": FastmarkEmbed,
    "FastmarkDetect": FastmarkDetect,
    "FastmarkLocate": FastmarkLocate,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "FastmarkEmbed": "Embed watermark (fastmark)",
    "FastmarkDetect": "Detect watermark (fastmark)",
    "FastmarkLocate": "Locate watermark (fastmark)",
}


# ---- the folder ------------------------------------------------------------------------------------------


def install(comfyui: str | os.PathLike[str]) -> Path:
    """Copy the folder of the nodes to where ComfyUI looks for it; return where that is.

    Args:
        comfyui: the folder in which ComfyUI lies, with ``custom_nodes`` in it.

    Raises:
        OutputError: if there is no such folder, or it cannot be written.
    """
    target = Path(comfyui) / "custom_nodes"
    if not target.is_dir():
        raise OutputError(f"{target} is no folder: name the folder of ComfyUI, in which custom_nodes is")
    try:
        shutil.copytree(
            _FOLDER, target / "fastmark", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
    except OSError as error:
        raise OutputError(f"{target / 'fastmark'} cannot be written: {reason_of(error)}") from None
    return target / "fastmark"


def main(arguments: list[str] | None = None) -> int:
    """Copy the folder as the command line says; return 0, or 2 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m fastmark.integrations.comfyui", description="Install fastmark's nodes in ComfyUI."
    )
    parser.add_argument("comfyui", metavar="FOLDER", help="the folder of ComfyUI, in which custom_nodes is")
    try:
        print(f"installed {install(parser.parse_args(arguments).comfyui)}: restart ComfyUI")
    except FastmarkError as error:
        print(f"fastmark: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
