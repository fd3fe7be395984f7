"""Pipelines of diffusers: which of them make images, and what stands in their places while attached."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from fastmark._imports import package
from fastmark.errors import IntegrationError

PURPOSE = "watermarking the images of pipelines"

PROCESSORS = ("image_processor", "image_mask_processor")
"""Attributes of pipelines that turn what a decoder gives into images."""


class Attached(Protocol):
    """What joins a pipeline to a watermark."""

    @property
    def active(self) -> bool:
        """Whether images are watermarked."""

    def apply_watermark(self, images: Any) -> Any:
        """Stand in for ``pipe.watermark.apply_watermark``."""

    def run(self, hook: Hook, *args: Any, **kwargs: Any) -> Any:
        """Stand in for a method of a processor."""


# ---- what the places hold --------------------------------------------------------------------------------


class PipelineWatermark:
    """What ``pipe.watermark`` is while the pipeline is attached."""

    def __init__(self, attachment: Attached) -> None:
        """Keep what does the work."""
        self._attachment = attachment

    def apply_watermark(self, images: Any) -> Any:
        """Watermark a batch, a tensor NCHW on -1..1 of any float dtype and device; return one of the same.

        Raises:
            InvalidImageError: if it is no such batch.
        """
        return self._attachment.apply_watermark(images)

    def __deepcopy__(self, memo: object) -> PipelineWatermark:
        """Return itself: copies of a pipeline share it."""
        return self


class Hook:
    """Stands for a method of a processor: first the method itself, then the watermark."""

    __slots__ = ("__weakref__", "_attachment", "name", "original", "overlays", "plain")

    def __init__(self, attachment: Attached, processor: Any, name: str, original: Any) -> None:
        """Keep what does the work; ``name`` is the method's, ``original`` the method, or its stand-in."""
        common = package("diffusers.image_processor", PURPOSE, "diffusers").VaeImageProcessor
        self._attachment, self.name, self.original = attachment, name, original
        self.overlays = hasattr(processor, "apply_overlay")
        # whether it is the common one, which rounds after its step `np`
        self.plain = getattr(original, "__func__", None) is common.postprocess

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the method, and watermark what it returns."""
        return self._attachment.run(self, *args, **kwargs)

    @property
    def active(self) -> bool:
        """Whether it watermarks."""
        return self._attachment.active

    def __deepcopy__(self, memo: object) -> Hook:
        """Return itself: copies of a pipeline share it."""
        return self

    def __reduce__(self) -> Any:
        """Refuse, as what does the work does."""
        return self._attachment.__reduce__()


# ---- pipelines -------------------------------------------------------------------------------------------


def check_pipeline(pipe: Any) -> None:
    """Raise IntegrationError unless a pipeline makes images, and is not attached."""
    name = type(pipe).__name__
    if isinstance(pipe, type) or not hasattr(pipe, "__dict__"):
        raise IntegrationError(f"attach takes a pipeline of diffusers, not {name}")
    attached = vars(type(pipe)).get("_fastmark_attachment")
    if attached is not None and attached.active:
        raise IntegrationError(
            f"fastmark is attached to this {name} already: call what attach returned, and attach again"
        )
    for place in PROCESSORS:
        hook = getattr(getattr(pipe, place, None), "postprocess", None)
        if isinstance(hook, Hook) and hook.active:
            raise IntegrationError(
                f"the {place} of this {name} belongs to another pipeline too, to which fastmark is attached:"
                " its images are watermarked there already; detach that one first, or give this one a"
                f" processor of its own: pipe.{place} = copy.deepcopy(pipe.{place}) before attaching either"
            )
    if hasattr(pipe, "watermark") or any(processes(getattr(pipe, place, None)) for place in PROCESSORS):
        return
    if hasattr(pipe, "watermarker"):  # DeepFloyd: images are Pillow's when they leave
        return
    parts = [part for part, value in vars(pipe).items() if _makes_images(value)]
    if parts:
        raise IntegrationError(
            f"{name} leaves its images to a part of it: attach to that, pipe.{' or pipe.'.join(parts)}"
        )
    raise IntegrationError(
        f"{name} makes no images that can be watermarked on their way out: it has no image_processor. Those"
        " of audio and videos have none; a modular pipeline has one after pipe.load_components(). If it"
        " returns images, or frames that are to be watermarked, pass each to marker.embed(image, message)"
    )


def _makes_images(value: Any) -> bool:
    """Whether a part of a pipeline is itself one that :func:`attach` takes."""
    return callable(value) and any(processes(getattr(value, place, None)) for place in PROCESSORS)


def processes(processor: Any) -> bool:
    """Whether it makes images of what a decoder gives; image processors of other models only prepare them."""
    postprocess: Any = getattr(processor, "postprocess", None)
    if isinstance(postprocess, Hook):
        return True
    try:
        return "output_type" in inspect.signature(postprocess).parameters
    except (TypeError, ValueError):
        return False


def original_class(kind: Any) -> Any:
    """Return a pipeline's class; not the one that a copy has kept of an attachment since detached."""
    return kind.__mro__[1] if "_fastmark_attachment" in vars(kind) else kind


def arguments_of(kind: Any, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what a call of a pipeline is given, with its defaults, by name."""
    try:
        bound = inspect.signature(kind.__call__).bind(pipe, *args, **kwargs)
    except (TypeError, ValueError):  # the pipeline itself will say what is wrong
        return kwargs
    bound.apply_defaults()
    return {**bound.arguments, **kwargs}
