"""The benchmark's attacks: well-formed, repeatable, and harmless to their input."""

import numpy as np
import pytest
from scripts import benchmark

pytest.importorskip("skimage", reason="the denoisers among the attacks are scikit-image's")
pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def registry():
    """The module, imported as the scripts beside it import it."""
    return benchmark("attacks")


@pytest.fixture(scope="module")
def picture():
    """160 x 192: gradients, an edge, a disc and a little texture, so that no filter meets a constant."""
    y, x = np.mgrid[0:160, 0:192].astype(np.float32)
    planes = [x, 255 - y, 128 + 90 * np.sin(x / 9) * np.cos(y / 7)]
    drawn = np.stack(planes, axis=-1)
    drawn[(x - 60) ** 2 + (y - 90) ** 2 < 40**2] = (200, 60, 40)
    drawn[:, 150:] *= 0.4
    drawn += np.random.default_rng(1).normal(0, 4, drawn.shape)
    return np.clip(drawn, 0, 255).astype(np.uint8)


def test_each_attack_is_registered_under_its_own_name_with_its_group_s_targets(registry):
    assert len(registry.ATTACKS) >= 130
    for name, attack in registry.ATTACKS.items():
        assert attack.name == name
        assert (attack.target_message, attack.target_presence) == registry.TARGETS[attack.group]


def test_groups_for_the_deep_search_are_groups_and_say_so(registry):
    assert set(registry.TARGETS) > registry.DEEP
    assert {attack.group for attack in registry.ATTACKS.values() if attack.deep} == registry.DEEP


def test_a_name_cannot_be_taken_twice(registry):
    with pytest.raises(ValueError, match="two attacks"):
        registry.add("jpeg-50", "everyday", np.copy)


def test_every_group_has_an_attack(registry):
    assert {attack.group for attack in registry.ATTACKS.values()} == set(registry.TARGETS)


@pytest.fixture(scope="module")
def attacked(registry, picture):
    """What each attack makes of the picture, by name."""
    picture.flags.writeable = False  # an attack that writes into its input raises
    return {name: attack(picture) for name, attack in registry.ATTACKS.items()}


def test_each_attack_gives_an_rgb_picture_repeats_itself_and_spares_its_input(registry, picture, attacked):
    before = picture.copy()
    for name, attack in registry.ATTACKS.items():
        first, second = attacked[name], attack(picture)
        assert first.dtype == np.uint8 and first.ndim == 3 and first.shape[2] == 3, name
        assert min(first.shape[:2]) >= 1, name
        assert np.array_equal(first, second), name
        assert not np.shares_memory(first, picture), name
    assert np.array_equal(picture, before)


def test_attacks_change_the_picture(picture, attacked):
    unchanged = [name for name, after in attacked.items() if np.array_equal(after, picture)]
    assert unchanged == ["none"]


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("screen-0.45-png", 1920, 1080),
        ("screen-0.65-jpeg-75", 1920, 1080),
        ("slide", 1920, 1080),
        ("screen-1600x1200", 1600, 1200),
        ("screen-2560x1440", 2560, 1440),
        ("video-frame-upright", 1080, 1920),
        ("feed-1080x1350", 1080, 1350),
        ("phone-1080x2400", 1080, 2400),
        ("phone-1170x2532-to-1600", 739, 1600),
        ("avatar-400", 400, 400),
        ("screen-4k-0.6-png", 3840, 2160),
    ],
)
def test_scenes_have_the_size_of_the_screen_they_are_named_after(attacked, name, width, height):
    assert attacked[name].shape == (height, width, 3)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("screen-0.45-png", (0.45 * 1024) ** 2),
        ("screen-0.55-png", (0.55 * 1024) ** 2),
        ("screen-0.65-png", (0.65 * 1024) ** 2),
        ("screen-4k-0.6-png", (0.6 * 1024) ** 2),
        ("screen-1600x1200", 640 * 960),  # what a small picture is enlarged to at most, 1.25 times
        ("screen-2560x1440", 640 * 960),
        ("phone-1080x2400", 640 * 960),
        ("screen-2560x1440-0.35-png", (0.35 * 1024) ** 2),
    ],
)
def test_scenes_show_the_whole_picture_at_the_size_they_say(registry, name, area):
    colour = (251, 3, 247)  # one that no scene draws with
    scene = registry.ATTACKS[name](np.full((512, 768, 3), colour, np.uint8))
    seen = np.all(scene == np.array(colour, np.uint8), axis=-1)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert seen.sum() == pytest.approx(area, rel=0.01)
    assert seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_scenes_apply_to_pictures_of_500_px_and_more_only(registry):
    scenes = {"screen-1080p", "screen-larger", "phone", "posted-small", "screen-4k", "screen-tiny"}
    for attack in registry.ATTACKS.values():
        if attack.group in scenes:
            assert attack.applies(500, 700) and not attack.applies(499, 700)


def test_rotation_cropped_to_the_inner_rectangle_shows_no_corner(registry):
    for height, width in ((160, 192), (192, 160), (100, 300)):
        white = np.full((height, width, 3), 255, np.uint8)
        for degrees in (1, 5, 17, 45, 60, 77, 123):
            turned = registry.geo.rotate(white, degrees, "cropped")
            assert turned.min() >= 254, (height, width, degrees)


def test_notching_flattens_planted_tones(registry):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:256, 0:256]
    tone = 3 * np.cos(2 * np.pi * (31 * x + 44 * y) / 256)
    marked = np.clip(128 + rng.normal(0, 6, (256, 256)) + tone, 0, 255).astype(np.uint8)
    cleaned = registry.pix.notch(np.repeat(marked[..., None], 3, axis=2), 20)
    strength = [
        abs(np.vdot(np.exp(2j * np.pi * (31 * x + 44 * y) / 256), p)) for p in (marked, cleaned[..., 0])
    ]
    assert strength[1] < 0.2 * strength[0]
