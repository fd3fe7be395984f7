"""What a report says in sentences; the figures stand in ``figures.py``."""

from __future__ import annotations

from typing import Any

CODE = "EU Code of Practice on Transparency of AI-Generated Content"

NO_CLAIM = (
    "This report helps to meet the measures named below. It does not claim that they are met, nor that any"
    " law is complied with: that depends on much that is not measured here, and is for you and your assessor"
    " to judge."
)

MEASURES: tuple[dict[str, Any], ...] = (
    {
        "measure": "1.1",
        "asks": "a watermark that is difficult to separate from the content, beside signed metadata",
        "helps": "Quality says how little it shows; local edits and attempts at removal say how it holds on."
        " Metadata are not part of this report.",
        "sections": ["quality", "survival"],
    },
    {
        "measure": "3.2",
        "asks": "reliability: accuracy in nominal conditions, how it varies with size and kind of content,"
        " and false detections, on samples of one's own marks and of other content",
        "helps": "Untouched images are the nominal conditions; tables by size and by kind show how it varies;"
        " false detections are counted on the unmarked originals. Constants of the program were fitted to"
        " other images than yours, unless you are its author.",
        "sections": ["sample", "survival", "null"],
    },
    {
        "measure": "3.3",
        "asks": "robustness by the same measures: typical processing, desynchronisation, the analogue hole,"
        " local edits, adversarial attacks with copies, removal, regeneration and modification",
        "helps": "The tables have these groups. The analogue hole is simulated. Regeneration by generative"
        " models is not tried; expect it to remove the watermark.",
        "sections": ["survival", "copies"],
    },
    {
        "measure": "4.2",
        "asks": "tests before release and regularly after, reported",
        "helps": "Date, versions, settings and the definition of the sample make this a report of one test;"
        " the same command with the same seed repeats it.",
        "sections": ["sample", "limits"],
    },
)
"""Measures of the Code's section for providers, what each asks for, and which figures help."""

TITLES = {
    "sample": "What was measured",
    "quality": "Quality: what the watermark changed",
    "survival": "Survival: what is left after handling",
    "copies": "Watermarks copied to other pictures",
    "null": "False detections of unmarked images",
    "measures": "Measures of the Code of Practice",
    "limits": "What this does not show",
    "images": "Each image",
}
"""The sections of the page, by their anchors, in order."""

QUALITY = (
    "PSNR is over red, green and blue. SSIM is of luma with the Gaussian window of Wang et al. (2004)."
    " SSIMULACRA2 scores the middle of each image, at most {side} pixels each way: 90 stands for what is very"
    " hard to tell from the original, 70 for high quality. The worst is the lowest of all images, and 5 % of"
    " the images are below the 5th percentile. Images are compared as they are shown, at 8 bits."
)

SURVIVAL = (
    "Read means that the message came out as it was embedded, itself proven at p at most 1e-9; detected means"
    " that the presence of the watermark was. Each attack is carried out once on each image, so a share's"
    " interval (Wilson, 95 %) is over images. A p-value bounds the chance that an unmarked image looks as"
    " convincing; the median is over images, and the worst is that of the image where least was left."
)

SURVIVAL_SIZES = (
    "By the short side of the image: the share of all trials of a group. Small images hold less, and the same"
    " attack takes more of what they hold."
)

ANALOGUE = (
    "The analogue hole is simulated: perspective, a slight turn, uneven light, blur, noise and JPEG stand for"
    " a camera or a scanner. A real one may do less or more."
)

COPIES = (
    "A thief of watermarks takes off what a denoising filter (an adaptive Wiener filter, doubled) says is"
    " noise, or, with the original at hand, the exact difference, and adds it to the next image of the"
    " sample, or to a drawn picture where that one cannot be used. That the watermark is then detected there"
    " is no false detection: it is there. Where its message can be read, the detector says whether the"
    " watermark was made for what the picture shows: mismatch tells the copy, match would be wrong, unknown"
    " says neither. These rates are measured, and no proven bound."
)

NULL = (
    "A detection is claimed at p at most 1e-9. That is a bound by construction (SPEC.md, section 10): over"
    " the random choice of the key, the chance that an image made without this key is called detected is at"
    " most one in a billion, whatever the image shows, as it rests on the randomness of the key and on no"
    " model of images; every geometry that is searched is counted in. Trials cannot prove so small a rate."
    " They only check it: they would show an error in the program, or a kind of image for which the proof"
    " fails."
)

NULL_TRIALS = (
    "A trial is one unmarked image, untouched or attacked, searched for one key that was drawn at random for"
    " this report. The trials of one image share its content, so they are many keys and few images; images"
    " are therefore counted too. The upper end is that of the 95 % interval of Clopper and Pearson: with no"
    " detection in n trials it is about 3.7 / n, which says how little trials can show, and not what is"
    " expected."
)

LIMITS = (
    "What was not tried: redrawing by generative models (diffusion, autoencoders), learned denoisers and"
    " super-resolution; expect them to remove the watermark, in whole or in part.",
    "Re-photography, printing and screenshots are simulated.",
    "Other images may differ. The intervals are those of a random sample; they do not hold for images of"
    " another kind than yours, nor if you picked the images by hand.",
    "That no watermark is found in an image is never evidence that it is authentic, or that no AI made it.",
    "Messages, seeds and keys that were drawn for the trials are of no use to others; your key is named by"
    " its id, which says nothing of its secret.",
)
