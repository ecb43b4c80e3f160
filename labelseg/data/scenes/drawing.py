"""Built-in synthetic scenes: photographs in miniature for demonstrations, tests and measurements without any download.

One to three objects lie on cluttered ground. Body, colour and texture of an object say nothing of its class; only a badge
on it does. So a classifier learns to look at the badge, its activation covers the badge alone, and the mask of the whole
object must be found by spreading over what coheres.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from labelseg.class_ids import IGNORE
from labelseg.data.folder.labels import write_labels
from labelseg.data.formats.png import export_masks
from labelseg.data.scenes.badges import paint_badge
from labelseg.data.scenes.textures import random_color, random_texture, smooth_noise
from labelseg.data.scenes.world import CLASSES, FIRST_SCENE, STYLES
from labelseg.errors import UsageError

Array = NDArray[Any]
Window = tuple[slice, slice]
Style = Literal["day", "dusk"]

SIDES = (96, 161)  # of an image, in pixels; the end is left out
RADII = (0.22, 0.36)  # of a body, in shorter sides of the image
VISIBLE_BODY, VISIBLE_BADGE = 0.45, 0.8  # least share of an object that others leave in sight


@dataclass(frozen=True)
class Scene:
    """An image (H, W, 3) uint8, its mask (H, W) uint8 with 0 for the ground, and the sorted class ids in it."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    tags: tuple[int, ...]


@dataclass(frozen=True)
class _Body:
    """The shape of an object: an ellipse with a wavy rim.

    Attributes:
        row, column: Its middle.
        radius: Mean radius in pixels.
        stretch: Length over width.
        angle: Direction of its length.
        waves: (3, 2) height and phase of the waves of two, three and four periods on its rim.
    """

    row: float
    column: float
    radius: float
    stretch: float
    angle: float
    waves: Array

    def window(self, shape: tuple[int, int]) -> Window:
        """The part of an image that holds the body, its rim and its shadow."""
        reach = self.radius * np.sqrt(self.stretch) * (1 + self.waves[:, 0].sum()) + 8
        return _window(shape, self.row, self.column, reach)

    def local(self, window: Window) -> tuple[Array, Array]:
        """Coordinates of each pixel along and across the body, in pixels from its middle."""
        y, x = _offsets(window, self.row, self.column)
        return x * np.cos(self.angle) + y * np.sin(self.angle), y * np.cos(self.angle) - x * np.sin(self.angle)

    def depth(self, window: Window) -> Array:
        """Distance of each pixel from the rim, in pixels, negative outside."""
        along, across = self.local(window)
        along, across = along / np.sqrt(self.stretch), across * np.sqrt(self.stretch)
        theta = np.arctan2(across, along)
        rim = np.ones_like(theta)
        for periods, (height, phase) in enumerate(self.waves, start=2):
            rim += height * np.cos(periods * theta + phase)
        return rim * self.radius - np.hypot(along, across)


@dataclass(frozen=True)
class _Object:
    """A body, the class it shows and where on it the badge sits, as an offset along and across in pixels."""

    body: _Body
    class_id: int
    badge_place: tuple[float, float]
    badge_radius: float

    def badge_window(self, shape: tuple[int, int]) -> Window:
        """The part of an image that holds the badge."""
        along, across = self.badge_place
        row = self.body.row + along * np.sin(self.body.angle) + across * np.cos(self.body.angle)
        column = self.body.column + along * np.cos(self.body.angle) - across * np.sin(self.body.angle)
        return _window(shape, row, column, 1.6 * self.badge_radius)

    def badge_local(self, window: Window) -> tuple[Array, Array]:
        """Coordinates of each pixel on the badge, in its radii."""
        along, across = self.body.local(window)
        return (along - self.badge_place[0]) / self.badge_radius, (across - self.badge_place[1]) / self.badge_radius


def make_scene(index: int, seed: int = 0, style: Style = "day", ignore_border: bool = True) -> Scene:
    """Draw one scene; the same index and seed give the same objects in every style.

    Args:
        index: Number of the scene, at least 0.
        seed: Number of the world, at least 0.
        style: ``day`` or ``dusk``: darker and bluer, with lamps, haze and a noisy sensor.
        ignore_border: Whether the rim of objects, two pixels wide, is 255 in the mask.

    Raises:
        UsageError: there is no such style.
    """
    if style not in STYLES:
        raise UsageError(f"scenes have no style '{style}'. Styles: {', '.join(STYLES)}.")
    rng = np.random.default_rng([seed, index])
    height, width = (int(side) for side in rng.integers(*SIDES, size=2))
    objects, depths = _place_objects((height, width), rng)
    canvas = _paint_ground((height, width), rng)
    for thing, depth in zip(objects, depths, strict=True):
        _paint_object(canvas, thing, depth, rng)
    # Light has its own generator: the draws of one style must not shift those of the geometry.
    light = _dusk if style == "dusk" else _day
    image = light(canvas, np.random.default_rng([seed, index, 1 + STYLES.index(style)]))
    mask = np.zeros((height, width), dtype=np.uint8)
    for thing, depth in zip(objects, depths, strict=True):
        mask[depth > 0] = thing.class_id
        if ignore_border:
            mask[np.abs(depth) < 1] = IGNORE
    tags = tuple(sorted({thing.class_id for thing in objects}))
    return Scene(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), mask, tags)


def make_scenes(n: int, seed: int = 0, style: Style = "day", ignore_border: bool = True) -> Iterator[Scene]:
    """Draw the scenes 0 to ``n - 1``; see :func:`make_scene`."""
    return (make_scene(index, seed, style, ignore_border) for index in range(n))


def write_scenes(root: Path, train: int = 200, val: int = 100, test: int = 0, seed: int = 0, style: Style = "day") -> dict[str, str]:
    """Write scenes as a dataset of files: images, masks, label table, classes and a list for each split.

    Returns:
        The ``[data]`` table for a ``labelseg.toml`` in ``root``.
    """
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tags: dict[str, tuple[int, ...]] = {}

    def write_split(name: str, count: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for number in range(count):
            image_id = f"{name}_{number:04}"
            scene = make_scene(FIRST_SCENE[name] + number, seed, style)
            Image.fromarray(scene.image).save(root / "images" / f"{image_id}.jpg", quality=95, subsampling=0)
            tags[image_id] = scene.tags
            yield image_id, scene.mask
        (root / "splits" / f"{name}.txt").write_text("".join(f"{name}_{number:04}\n" for number in range(count)))

    for name, count in (("train", train), ("val", val), ("test", test)):
        if count:
            export_masks(write_split(name, count), root / "masks")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    write_labels(root / "labels.csv", tags, CLASSES)
    return {"images": "images", "labels": "labels.csv", "masks": "masks", "classes": "classes.txt", "splits": "splits"}


def _place_objects(shape: tuple[int, int], rng: Generator) -> tuple[list[_Object], list[Array]]:
    """Draw one to three objects, later ones in front, so that each keeps its badge and much of its body in sight."""
    objects: list[_Object] = []
    depths: list[Array] = []
    count = rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25])
    for _ in range(20):
        thing = _draw_object(shape, rng)
        depth = thing.body.depth(_whole(shape))
        if _all_in_sight([*objects, thing], [*depths, depth]):
            objects.append(thing)
            depths.append(depth)
        if len(objects) == count:
            break
    return objects, depths


def _draw_object(shape: tuple[int, int], rng: Generator) -> _Object:
    """Draw an object whose middle is well inside the image."""
    radius = rng.uniform(*RADII) * min(shape)
    row, column = (rng.uniform(0.8 * radius, side - 0.8 * radius) for side in shape)
    waves = np.stack([rng.uniform(0, 0.14, 3) / np.arange(1, 4), rng.uniform(0, 2 * np.pi, 3)], axis=1)
    body = _Body(row, column, radius, rng.uniform(1, 1.7), rng.uniform(-0.7, 0.7) + np.pi * rng.integers(2), waves)
    badge_radius = max(7.5, radius * rng.uniform(0.32, 0.4))
    place = (radius * rng.uniform(0.25, 0.5) * np.sqrt(body.stretch), radius * rng.uniform(-0.15, 0.15))
    return _Object(body, int(rng.integers(1, len(CLASSES))), place, badge_radius)


def _all_in_sight(objects: list[_Object], depths: list[Array]) -> bool:
    """Whether enough of every object is visible behind others and inside the image."""
    shape = depths[0].shape
    hidden = np.zeros(shape, dtype=bool)
    for thing, depth in zip(reversed(objects), reversed(depths), strict=True):
        body = depth > 0
        shown = body & ~hidden
        window = thing.badge_window(shape)
        badge_shown = shown[window] & (np.hypot(*thing.badge_local(window)) < 1)
        whole_badge = np.pi * thing.badge_radius**2
        if badge_shown.sum() < VISIBLE_BADGE * whole_badge or shown.sum() < VISIBLE_BODY * body.sum():
            return False
        hidden |= body
    return True


def _paint_ground(shape: tuple[int, int], rng: Generator) -> Array:
    """Paint two regions of texture and clutter of the same textures as the objects, without their shading."""
    ground = random_texture(shape, rng, contrast=0.6)
    horizon = rng.uniform(0.25, 0.75) * shape[0] + smooth_noise(shape, 30, rng) * 10
    ground = _blend(ground, random_texture(shape, rng, contrast=0.6), np.arange(shape[0])[:, None] - horizon)
    for _ in range(rng.integers(5, 11)):
        row, column = (rng.uniform(0, side) for side in shape)
        waves = np.stack([rng.uniform(0, 0.3, 3), rng.uniform(0, 2 * np.pi, 3)], axis=1)
        radius = rng.uniform(0.04, 0.2) * min(shape)
        patch = _Body(row, column, radius, rng.uniform(1, 2.5), rng.uniform(0, 2 * np.pi), waves)
        window = patch.window(shape)
        depth = patch.depth(window)
        ground[window] = _blend(ground[window], random_texture(depth.shape, rng, contrast=0.7), depth)
    return ground


def _paint_object(canvas: Array, thing: _Object, depth: Array, rng: Generator) -> None:
    """Paint shadow, body, shading, rim and badge onto ``canvas``."""
    shape = (canvas.shape[0], canvas.shape[1])
    window = thing.body.window(shape)
    inside = depth[window]
    shadow = replace(thing.body, row=thing.body.row + 3, column=thing.body.column + 2).depth(window)
    ground = canvas[window] * (1 - 0.45 * np.clip(shadow / 6 + 0.6, 0, 1)[..., None])
    texture = random_texture(inside.shape, rng, contrast=0.55, color=random_color(rng, 0.45, 0.95))
    down, right = _offsets(window, thing.body.row, thing.body.column)
    toward_light = -(down + 0.6 * right) / thing.body.radius
    rim = np.clip(1 - np.abs(inside - 1.2) / 1.4, 0, 1) * 0.6
    shade = (1 + 0.18 * np.clip(toward_light, -1.2, 1.2)) * (1 - rim)
    canvas[window] = _blend(ground, texture * shade[..., None], inside)
    window = thing.badge_window(shape)
    colors, cover = paint_badge(CLASSES[thing.class_id], *thing.badge_local(window), thing.badge_radius)
    # A badge never hangs over the rim: pixels outside the body keep what lies behind.
    cover = np.minimum(cover, np.clip(depth[window] + 0.5, 0, 1))[..., None]
    canvas[window] += (colors * rng.uniform(0.85, 1.0) - canvas[window]) * cover


def _whole(shape: tuple[int, int]) -> Window:
    return slice(0, shape[0]), slice(0, shape[1])


def _window(shape: tuple[int, int], row: float, column: float, reach: float) -> Window:
    """The square around a point, cut at the edges of the image."""
    rows, columns = (
        slice(max(0, int(at - reach)), max(0, min(side, int(at + reach) + 2))) for at, side in zip((row, column), shape, strict=True)
    )
    return rows, columns


def _offsets(window: Window, row: float, column: float) -> tuple[Array, Array]:
    """How far below and right of a point each pixel of a window lies, as a column and a row."""
    down = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - np.float32(row)
    right = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(column)
    return down, right


def _blend(under: Array, over: Array, depth: Array) -> Array:
    """Put ``over`` on ``under`` where ``depth`` is positive, with an edge one pixel soft."""
    cover = np.clip(depth + 0.5, 0, 1).astype(np.float32)[..., None]
    return under + (over - under) * cover


def _day(canvas: Array, rng: Generator) -> Array:
    """Light the scene by day: uneven light and a little sensor noise."""
    light = 1.08 + 0.1 * smooth_noise(canvas.shape[:2], 60, rng)
    return canvas * light[..., None] + rng.normal(0, 0.02, canvas.shape)


def _dusk(canvas: Array, rng: Generator) -> Array:
    """Light the scene at dusk: dark, bluish, hazy, lamps of warm light, a soft lens and a noisy sensor."""
    shape = canvas.shape[:2]
    grey = canvas.mean(axis=2, keepdims=True)
    faded = grey + (canvas - grey) * 0.6
    night = np.array([0.38, 0.42, 0.62]) * (1 + 0.25 * smooth_noise(shape, 50, rng)[..., None])
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    lamps = np.zeros((*shape, 1))
    for _ in range(rng.integers(1, 3)):
        distance = np.hypot(rows - rng.uniform(0, shape[0]), columns - rng.uniform(0, shape[1]))
        lamps += np.exp(-((distance / (0.35 * max(shape))) ** 2))[..., None] * rng.uniform(0.3, 0.6)
    lit = faded * (night + lamps * np.array([1.0, 0.8, 0.5])) + np.array([0.04, 0.05, 0.09])
    photo = Image.fromarray(np.round(np.clip(lit, 0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(photo) / 255 + rng.normal(0, 0.03, canvas.shape)
