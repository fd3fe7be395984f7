"""Pipelines of diffusers: every image that one makes leaves it watermarked.

>>> marker = Watermarker(Key.load("my.key"))  # doctest: +SKIP
>>> detach = attach(pipe, marker, "0123456789abcdef")  # doctest: +SKIP
>>> image = pipe("a harbour at dawn").images[0]  # doctest: +SKIP

The SDXL family hands images to ``pipe.watermark`` before they are rounded; all others pass them through
``pipe.image_processor.postprocess``. Both are stood in for, and the inpainting overlay after them. What a
call returns without having passed through any of these is watermarked in the result, or warned of.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fastmark._imports import package
from fastmark.errors import IntegrationError, InvalidImageError, one_line
from fastmark.integrations.marking import Marking, Messages, OnError, UnmarkedImageWarning
from fastmark.integrations.pipelines import (
    PROCESSORS,
    PURPOSE,
    Hook,
    PipelineWatermark,
    arguments_of,
    check_pipeline,
    original_class,
    processes,
)
from fastmark.integrations.tensors import to_arrays, with_arrays
from fastmark.watermarker import Watermarker

if TYPE_CHECKING:
    from fastmark.codec.public import PublicCode
    from fastmark.records import Record
    from fastmark.registry.store import Registry
    from fastmark.results import EmbedReport

__all__ = ["Attachment", "UnmarkedImageWarning", "attach"]

_LATENTS = (
    "this call returns latents, which are no image yet: attach to the pipeline that decodes them, or decode"
    " them and pass what comes out through pipe.image_processor.postprocess"
)


def attach(
    pipe: Any,
    marker: Watermarker,
    message: Messages = None,
    *,
    registry: Registry | None = None,
    record: Record | None = None,
    public: PublicCode | None = None,
    on_error: OnError = "warn",
) -> Attachment:
    """Watermark every image that a pipeline makes from now on.

    ``pipe`` stays the same object, of the same name; it may be moved, offloaded, saved, and called from
    several threads. Pipelines made of it (``from_pipe``) need an attachment of their own; copies made by
    ``copy.deepcopy`` share this one. Each image of a batch is watermarked by itself, before its samples are
    rounded to bytes.

    Args:
        pipe: a pipeline of diffusers that makes images; a modular pipeline with its components loaded.
        marker: that embeds.
        message: one message for every image; or a function without arguments that returns one, called for
            each image in the order of the batch, by one thread at a time; None with a registry, which then
            draws an id for each.
        registry, record: as for ``Watermarker.embed_report``.
        public: a public watermark to embed beside it.
        on_error: what becomes of an image that cannot carry the watermark: too small, of a noise that drowns
            it, not finite, or a latent. (The black ones of a safety checker carry it.) "warn" lets it leave
            as it is, with an :class:`UnmarkedImageWarning`, and loses nothing that took minutes to make.
            "raise" raises its error, for services that must let nothing out; a call for latents is refused
            before any work. What is not the image's fault raises either way: a message that does not fit, a
            registry that cannot be reached.

    Returns:
        What detaches when it is called, once or more often: the pipeline is as it was before.

    Raises:
        MissingPackageError: if diffusers or torch is not installed.
        IntegrationError: if the pipeline makes no images that can be watermarked, or is attached already.
        TypeError, ValueError, InvalidMessageError: if an argument is not of these kinds.
    """
    for name in ("torch", "diffusers"):
        package(name, PURPOSE, "diffusers")
    marking = Marking(
        "diffusers", marker, message, registry=registry, record=record, public=public, on_error=on_error
    )
    check_pipeline(pipe)
    return Attachment(pipe, marking)


class Attachment:
    """What :func:`attach` returns: detaches when it is called.

    Copies and pickles of a pipeline hold no secret by way of it: it is not copied, and refuses to be pickled.
    """

    def __init__(self, pipe: Any, marking: Marking) -> None:
        """Put the stand-ins in their places; :func:`attach` checks the arguments."""
        self._marking = marking
        self._local = threading.local()
        self._lock, self._active = threading.Lock(), True
        # NOTE: nothing here holds the pipeline, whose weights must be free as soon as its owner lets it go
        self._pipe = weakref.ref(pipe)
        self._kind = original_class(type(pipe))
        self._stand_in = self._subclass()
        self._places: list[tuple[Any, str, Any, dict[str, Any]]] = []
        # past the pipeline's own __setattr__, which writes what it is given to the configuration
        if hasattr(pipe, "watermark"):
            self._put(pipe, "watermark", PipelineWatermark(self))
        for name in PROCESSORS:
            processor = getattr(pipe, name, None)
            if processes(processor):
                for method in ("postprocess", "apply_overlay"):
                    original = getattr(processor, method, None)
                    if original is not None:
                        self._put(processor, method, Hook(self, processor, method, original))
        if self._stand_in is not self._kind:
            pipe.__class__ = self._stand_in

    # ---- attached and detached ---------------------------------------------------------------------------

    def __call__(self) -> None:
        """Detach; what another program has put over it since stays, and passes images on as they are."""
        with self._lock:
            if not self._active:
                return
            self._active = False
        for reference, name, hook, before in self._places:
            owner = reference()
            if owner is not None and vars(owner).get(name) is hook:
                vars(owner).update(before)
                if not before:
                    del vars(owner)[name]
        pipe = self._pipe()
        if pipe is not None and type(pipe) is self._stand_in:
            pipe.__class__ = self._kind

    @property
    def active(self) -> bool:
        """Whether images are watermarked; False after detaching."""
        return self._active

    @property
    def reports(self) -> tuple[EmbedReport | None, ...]:
        """What was done with the images of this thread's last call, in order; None for one left unmarked.

        ``reports[i].message`` is the id that a registry drew.
        """
        return tuple(getattr(self._local, "reports", ()))

    def __repr__(self) -> str:
        """Name the pipeline's class and the key's public id."""
        state = "attached" if self._active else "detached"
        return f"<Attachment of key {self._marking.key_id} to {self._kind.__name__}, {state}>"

    def __deepcopy__(self, memo: object) -> Attachment:
        """Return itself: copies of a pipeline share it."""
        return self

    def __reduce__(self) -> Any:
        """Refuse: a pickle would hold the secret key."""
        raise IntegrationError(
            "a pipeline cannot be pickled while fastmark is attached, as that would write the secret key:"
            " detach first, and attach where it is loaded"
        )

    def _put(self, owner: Any, name: str, hook: Any) -> None:
        held = vars(owner)
        self._places.append((weakref.ref(owner), name, hook, {name: held[name]} if name in held else {}))
        held[name] = hook

    def _subclass(self) -> Any:
        """Make the class that the pipeline has while it is attached: the same, but for its calls."""
        kind, attachment = self._kind, self
        if not hasattr(kind, "__call__"):  # noqa: B004 # of its objects, not of itself
            return kind

        @functools.wraps(kind.__call__)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return attachment._call(self, args, kwargs)

        body: dict[str, Any] = {
            "__call__": call,
            "__doc__": kind.__doc__,
            "__module__": kind.__module__,
            "__qualname__": kind.__qualname__,
            "_fastmark_attachment": attachment,
        }
        if hasattr(kind, "run_safety_checker"):

            @functools.wraps(kind.run_safety_checker)
            def run_safety_checker(self: Any, *args: Any, **kwargs: Any) -> Any:
                with attachment._aside():  # it looks at images of its own making
                    return kind.run_safety_checker(self, *args, **kwargs)

            body["run_safety_checker"] = run_safety_checker
        return type(kind)(kind.__name__, (kind,), body)

    # ---- one call of the pipeline ------------------------------------------------------------------------

    def _call(self, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._active:
            return self._kind.__call__(pipe, *args, **kwargs)
        given = arguments_of(self._kind, pipe, args, kwargs)
        outer, self._local.call = self._now(), None
        call = _Call(given.get("output_type") == "latent", given.get("padding_mask_crop") is not None)
        self._local.reports = []
        if call.latent:
            self._marking.pass_over(_LATENTS)
        self._local.call = call
        try:
            result = self._kind.__call__(pipe, *args, **kwargs)
            if not call.latent and not self._local.reports:
                self._finish(result)
            return result
        finally:
            self._local.call = outer

    def _finish(self, result: Any) -> None:
        """Watermark the images of a result none of which has passed through any of the places."""
        images = result[0] if isinstance(result, tuple) and result else getattr(result, "images", result)
        pillow = isinstance(images, list) and all(isinstance(one, Image.Image) for one in images)
        if (pillow and images) or (isinstance(images, np.ndarray) and images.ndim == 4):
            images[:] = self._marked(images)
        else:
            self._marking.pass_over(
                f"this call returned {_described(images)}, no images of a range that is known; if there are"
                " any in it, pass each to marker.embed(image, message)"
            )

    def _now(self) -> _Call | None:
        """The call of the pipeline that this thread is in."""
        return getattr(self._local, "call", None)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        before, self._local.aside = getattr(self._local, "aside", False), True
        try:
            yield
        finally:
            self._local.aside = before

    # ---- the places --------------------------------------------------------------------------------------

    def apply_watermark(self, images: Any) -> Any:
        """Stand in for ``pipe.watermark.apply_watermark``: NCHW on -1..1, the same dtype and device out."""
        call = self._now()
        if not self._active or (call is not None and (call.latent or call.overlay)):
            return images
        marked = self._marked(images, signed=True)
        if call is not None:
            call.watermarked = True
        self._local.last = weakref.ref(marked)
        return marked

    def _postprocess(
        self, hook: Hook, image: Any, output_type: str = "pil", *args: Any, **kwargs: Any
    ) -> Any:
        """Stand in for ``postprocess`` of a processor."""
        call, last = self._now(), getattr(self._local, "last", None)
        done = last is not None and last() is image
        overlaid = call is not None and call.overlay and hook.overlays
        if done or overlaid or (call is not None and (call.latent or call.watermarked)):
            return hook.original(image, output_type, *args, **kwargs)
        if output_type == "latent":
            self._marking.pass_over(_LATENTS)
            return hook.original(image, output_type, *args, **kwargs)
        if output_type == "pil" and hook.plain:
            # in floats, so that rounding to bytes comes once, and last
            exact = self._marked(hook.original(image, "np", *args, **kwargs))
            with np.errstate(invalid="ignore"):
                return hook.original.__self__.numpy_to_pil(exact)
        return self._marked(hook.original(image, output_type, *args, **kwargs))

    def _apply_overlay(self, hook: Hook, *args: Any, **kwargs: Any) -> Any:
        """Stand in for ``apply_overlay`` of a processor, which lays the original around what was painted."""
        return self._marked([hook.original(*args, **kwargs)])[0]

    def run(self, hook: Hook, *args: Any, **kwargs: Any) -> Any:
        """Stand in for a method of a processor."""
        if not self._active or getattr(self._local, "aside", False):
            return hook.original(*args, **kwargs)
        return getattr(self, f"_{hook.name}")(hook, *args, **kwargs)

    def _marked(self, images: Any, *, signed: bool = False) -> Any:
        """Watermark a batch: a list of Pillow images, an array NHWC, or a tensor NCHW."""
        reports: list[EmbedReport | None] = []
        if self._now() is None:
            self._local.reports = []  # a batch that is no part of a call
        if signed or hasattr(images, "permute"):
            try:
                arrays = to_arrays(images, "NCHW", signed=signed, what="the batch of images")
            except InvalidImageError as error:
                if signed:
                    raise
                return self._not_marked(images, one_line(error))
            ours = [self._one(one, reports) for one in arrays]
            changed = {i: one for i, (one, said) in enumerate(zip(ours, reports, strict=True)) if said}
            result: Any = with_arrays(images, changed, "NCHW", signed=signed)
        elif isinstance(images, list | tuple) and all(isinstance(one, Image.Image) for one in images):
            result = [self._one(one, reports) for one in images]
        elif isinstance(images, np.ndarray) and images.ndim == 4:
            result = np.stack([self._one(one, reports) for one in images])
        else:
            return self._not_marked(images, f"a batch of images is an array NHWC, not {_described(images)}")
        self._local.reports = [*self._local.reports, *reports]
        return result

    def _not_marked(self, images: Any, why: str) -> Any:
        self._marking.pass_over(why)
        self._local.reports = [*self._local.reports, None]
        return images

    def _one(self, image: Any, reports: list[EmbedReport | None]) -> Any:
        done = self._marking.mark(image)
        reports.append(None if done is None else done[1])
        return image if done is None else done[0]


class _Call:
    """One call of a pipeline.

    Attributes:
        latent: whether it returns latents.
        overlay: whether the original may be laid around what was painted, which ends it.
        watermarked: whether its images have passed through ``pipe.watermark``.
    """

    __slots__ = ("latent", "overlay", "watermarked")

    def __init__(self, latent: bool, overlay: bool) -> None:
        self.latent, self.overlay, self.watermarked = latent, overlay, False


def _described(images: Any) -> str:
    """Say in short what was given for a batch."""
    kind = f"a {type(images).__name__}"
    return f"{kind} of shape {tuple(images.shape)}" if hasattr(images, "shape") else kind
