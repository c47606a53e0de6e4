"""The default colours differ from each other, also for colour-blind sight, and from what photographs show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from segtool import load
from segtool.array_types import Float64Array, UInt8Array
from segtool.contract import default_palette
from segtool.images.overlay import overlay
from segtool.models.shipped import SHIPPED

# Linear RGB as people without one kind of cone see it: Machado, Oliveira and Fernandes (2009), severity 1.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}

PHOTOGRAPHS = {
    "asphalt": (60, 60, 62),
    "concrete": (160, 160, 160),
    "leaves": (70, 85, 50),
    "sky": (150, 180, 210),
    "earth": (120, 85, 60),
    "skin": (200, 160, 135),
    "brick": (140, 75, 60),
    "snow": (225, 225, 220),
    "shadow": (30, 30, 30),
}


def to_lab(colors: object, sight: str = "normal") -> Float64Array:
    """Return CIE L*a*b* (D65) of sRGB colours (n, 3), 0..255, as people of a sight see them."""
    values = np.asarray(colors, np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(SIGHTS[sight]).T, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    x, y, z = (
        np.cbrt(np.maximum(part, (6 / 29) ** 3)) + np.minimum(part - (6 / 29) ** 3, 0) * 841 / 108
        for part in np.moveaxis(seen @ to_xyz.T / (0.95047, 1, 1.08883), -1, 0)
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def differences(first: Float64Array, second: Float64Array) -> Float64Array:
    """Return CIEDE2000 between all colours (n, 3) and (m, 3) in L*a*b*: (n, m)."""
    l1, a1, b1 = np.moveaxis(first[:, None], -1, 0)
    l2, a2, b2 = np.moveaxis(second[None], -1, 0)
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean7 / (mean7 + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = np.arctan2(b1, a1 * stretch), np.arctan2(b2, a2 * stretch)
    turn = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi
    lightness, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, h1 + turn / 2
    t = (
        1
        - 0.17 * np.cos(hue - np.pi / 6)
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.pi / 30)
        - 0.2 * np.cos(4 * hue - np.radians(63))
    )
    of_lightness = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))
    of_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    of_hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * chroma * t)
    around_blue = np.exp(-(((np.degrees(hue) % 360 - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.pi / 3 * around_blue)
    return np.sqrt(of_lightness**2 + of_chroma**2 + of_hue**2 + rotation * of_chroma * of_hue)


def smallest_difference(count: int, sight: str) -> float:
    lab = to_lab(default_palette(count), sight)
    return float((differences(lab, lab) + 1000 * np.eye(count)).min())


def test_the_difference_is_ciede2000() -> None:
    """Pairs 1 and 25 of Sharma, Wu and Dalal (2005), and the white of sRGB."""
    first = np.array([[50, 2.6772, -79.7751], [60.2574, -34.0099, 36.2677]])
    second = np.array([[50, 0, -82.7485], [60.4626, -34.1751, 39.4387]])
    np.testing.assert_allclose(np.diag(differences(first, second)), [2.0425, 1.2644], atol=1e-4)
    np.testing.assert_allclose(to_lab([(255, 255, 255), (0, 0, 0)]), [(100, 0, 0), (0, 0, 0)], atol=0.01)


@pytest.mark.parametrize(
    ("sight", "of_4", "of_12"),
    [("normal", 45, 17), ("protanopia", 30, 9.7), ("deuteranopia", 25, 9.6), ("tritanopia", 29, 11)],
)
def test_colours_differ_for_every_sight(sight: str, of_4: float, of_12: float) -> None:
    """Two colours that are shown apart are told apart from a difference of about 5."""
    assert smallest_difference(4, sight) > of_4
    assert smallest_difference(12, sight) > of_12


def test_the_first_20_differ() -> None:
    assert min(smallest_difference(20, sight) for sight in SIGHTS) > 8


@pytest.mark.parametrize(
    ("sight", "of_9", "of_12"),
    [("normal", 12, 9.5), ("protanopia", 4.5, 3.7), ("deuteranopia", 3.3, 3.3), ("tritanopia", 5.5, 5.5)],
)
def test_regions_of_an_overlay_differ_in_the_shadow_and_in_the_sun(sight: str, of_9: float, of_12: float) -> None:
    """A tint is weaker than its colour; a road and a car beside it are also of different brightness."""
    brightness = (40, 90, 140, 200)
    seen = [to_lab(tinted(default_palette(12), grey), sight) for grey in brightness]
    pairs = [(one, other) for at, one in enumerate(seen) for other in seen[at : at + 2]]
    smallest = np.min([differences(*pair) for pair in pairs] + [differences(*pair).T for pair in pairs], axis=0)
    smallest += 1000 * np.eye(12)
    assert smallest[:9, :9].min() > of_9
    assert smallest.min() > of_12


def tinted(palette: Sequence[tuple[int, int, int]], grey: int) -> list[UInt8Array]:
    """Return the colours of regions on a flat image of one brightness."""
    image, labels = np.full((1, 1), grey, np.uint8), np.zeros((1, 1), np.uint8)
    return [overlay(image, labels, [color])[0, 0] for color in palette]


def test_colours_are_not_those_of_photographs() -> None:
    colors = to_lab(default_palette(12))
    assert differences(colors, to_lab(list(PHOTOGRAPHS.values()))).min() > 19
    assert differences(colors, to_lab([(0, 0, 0), (222, 222, 222)])).min() > 23  # the background, and ignored pixels


@pytest.mark.parametrize("background", [None, 0, 5])
def test_the_colour_of_an_id_depends_on_nothing_else(background: int | None) -> None:
    most = default_palette(300)
    for count in (6, 12, 21, 150):
        colors = default_palette(count, background_id=background)
        assert [color for at, color in enumerate(colors) if at != background] == [
            color for at, color in enumerate(most[:count]) if at != background
        ]


def test_the_model_in_the_package_has_these_colours() -> None:
    contract = load(SHIPPED, provider="cpu").contract
    assert contract.palette == default_palette(contract.num_classes, background_id=contract.background_id)
