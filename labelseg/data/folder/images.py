"""Reading images and masks from files."""

from __future__ import annotations

import errno
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from labelseg.class_ids import IGNORE
from labelseg.errors import DataError
from labelseg.file_kinds import demand_file, odd_kind
from labelseg.working_size import Scaling, working_size

# All that Pillow raises on damaged files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, NotImplementedError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # what turns an image of that orientation upright
TIFF_WIDTH, TIFF_HEIGHT, TIFF_BITS = 256, 257, 258
_BITS = "labelseg bits"  # of the pixels of a TIFF file, kept with the image
_IN_GREY, _IN_COLOUR = 0, 2  # kinds of colours in a PNG file
# What is large is told in a line of our own, where the data is looked at.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: Path, long_side: int = 0) -> NDArray[np.uint8]:
    """Read an image file as RGB, upright.

    EXIF rotation is applied. 16-bit grey is divided by 257, so that 65535 becomes 255. What is transparent shows white.
    Of a file with several frames the first counts.

    Args:
        path: jpg, png, webp, bmp or tiff; grey, RGB, CMYK, palette, with or without alpha; floats must lie in [0, 1].
        long_side: Pixels of the longer side that a larger image is shrunk to, as ``working_size`` says, by averages; 0 shrinks none. Of
            a JPEG file no more is decoded than that needs: a half, a quarter or an eighth of its sides.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: the file is missing, damaged, cut short or holds values outside the above.
    """
    image = _open(path, "an image", long_side)
    if image.mode[0] == "I" or image.mode == "F":
        return _grey_to_rgb(_grey(image, path))
    return np.array(_opaque(image))


def scaling_of(path: Path, long_side: int) -> Scaling | None:
    """The size of an image file, from its header, and the size it is worked on at; None where they are the same.

    Args:
        path: As of ``read_image``.
        long_side: Pixels of the longer side that larger images are worked on at; 0 takes all as they are.

    Raises:
        DataError: the file cannot be read.
    """
    size = image_size(path)
    smaller = working_size(size, long_side)
    return None if smaller == size else Scaling(size, smaller)


def image_size(path: Path) -> tuple[int, int]:
    """Read (height, width) of an upright image from its header.

    Raises:
        DataError: the file is missing or no image.
    """
    _demand_file(path, "an image")
    try:
        with opened(path) as image:
            width, height = _stored_size(image)
            sideways = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
    except UNREADABLE as error:
        raise _unreadable(path, "an image", error) from error
    return (width, height) if sideways else (height, width)


def opened(path: Path) -> Image.Image:
    """Open an image file for whoever looks at a part of it.

    Raises:
        OSError: it is no file, such as a pipe, which would be waited for, or cannot be opened; Pillow raises more: see ``UNREADABLE``.
    """
    demand_file(path)
    return Image.open(path)


def read_mask(path: Path, n_classes: int, size: tuple[int, int] | None = None, *, in_first_channel: bool = False) -> NDArray[np.uint8]:
    """Read a mask of class ids from a grey or a palette image.

    Args:
        path: png, bmp or tiff whose values, or palette indices, are class ids.
        n_classes: Ids 0 to ``n_classes - 1`` and 255 (ignore) are allowed.
        size: (H, W) of the image, if it is to be checked.
        in_first_channel: Of a PNG file in colour of 16 bits the first channel holds class ids; the others, such as instances, do not count.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: the file is missing, damaged or otherwise in colour, holds another value, or differs in size.
    """
    image = _open(path, "a mask")
    deep = in_first_channel and _png_kind(path) == (16, _IN_COLOUR)
    step = _grey_step(path, image)
    if not deep and image.mode not in ("1", "L", "P", "I", "I;16", "I;16L", "I;16B"):
        raise DataError(
            f"{path}: expected a grey or palette image of class ids, got {image.mode}. "
            "Write class ids as grey values, 255 where nothing is known."
        )
    mask = _first_channel(path, image) if deep else np.array(image)
    mask = mask // step if image.mode == "L" else mask
    if size is not None and mask.shape != tuple(size):
        raise DataError(f"{path}: expected the size of its image, {_by(size)}, got {_by(mask.shape)}.{_size_hint(size, mask.shape)}")
    wrong = ((mask >= n_classes) & (mask != IGNORE)) | (mask < 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = mask[row, column]
        raise DataError(
            f"{path}: value {value} at row {row}, column {column} ({np.count_nonzero(mask == value)} pixels) is no class: "
            f"expected 0 to {n_classes - 1} or {IGNORE}."
        )
    return mask.astype(np.uint8)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """The (width, height) of the pixels in the file; whether that of a TIFF file is turned upright depends on Pillow's version."""
    tags = getattr(image, "tag_v2", {})
    return (tags[TIFF_WIDTH], tags[TIFF_HEIGHT]) if TIFF_WIDTH in tags and TIFF_HEIGHT in tags else image.size


def _open(path: Path, what: str, long_side: int = 0) -> Image.Image:
    """Open and decode a file, turned upright, and shrunk where it is larger than ``long_side``."""
    _demand_file(path, what)
    try:
        with opened(path) as image:
            whole, part = image.size, None
            if working_size(whole, long_side) != whole:
                part = image.draft(None, working_size(whole, long_side))  # of JPEG files alone
            image.load()
            size = working_size(image.size if part is None else whole, long_side)
            if size != image.size or part is not None:
                return _shrunk(image, size, part[1] if part else None, path)
            if bits := getattr(image, "tag_v2", {}).get(TIFF_BITS):
                image.info[_BITS] = bits
            if image.getexif().get(EXIF_ORIENTATION, 1) == 1:
                return image.copy()
            return ImageOps.exif_transpose(image)
    except UNREADABLE as error:
        raise _unreadable(path, what, error) from error


def _demand_file(path: Path, what: str) -> None:
    """Refuse what is no file before it is opened: a pipe would be waited for, a device do anything."""
    if kind := odd_kind(path):
        raise DataError(f"{path}: expected {what}, found {kind}. Remove it from the data.")


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    """Say what is wrong with a file in one line."""
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        found = "no file" if isinstance(error, FileNotFoundError) else f"one that cannot be read: {(error.strerror or '').lower()}"
        return DataError(f"{path}: expected {what}, found {found}.")
    if not os.path.getsize(path):
        return DataError(f"{path}: expected {what}, found an empty file.")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"{path}: expected {what} of at most {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels. Make a smaller copy."
        )
    reason = "no known format" if type(error).__name__ == "UnidentifiedImageError" else str(error) or type(error).__name__
    return DataError(f"{path}: expected {what}, cannot be read: {reason}.")


def _shrunk(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None, path: Path) -> Image.Image:
    """Shrink a decoded image to (width, height) and turn it upright.

    The filter averages, with no weight below 0: no value leaves the range of those that are there. Grey of 16 bits becomes 8 after it.

    Args:
        image: As it is stored.
        size: Of the result, before it is turned.
        box: What of it the image is, where a file was decoded at a fraction that its sides are no multiple of; None is all.
        path: Begins an error.
    """
    turn = TURNS.get(image.getexif().get(EXIF_ORIENTATION, 1))
    if image.mode[0] == "I" or image.mode == "F":
        grey = Image.fromarray(_grey(image, path).astype(np.float32))
        small = Image.fromarray(_grey_to_rgb(np.asarray(grey.resize(size, Image.Resampling.HAMMING), np.float64)))
    else:
        small = _opaque(image).resize(size, Image.Resampling.HAMMING, box)
    return small if turn is None else small.transpose(turn)


def _opaque(image: Image.Image) -> Image.Image:
    """Make an image RGB; what is transparent shows white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Image.Image, path: Path) -> NDArray[np.float64]:
    """Scale one channel of 16-bit integers or floats to 0 .. 255, (H, W)."""
    top = 1.0 if image.mode == "F" else 65535.0
    grey = np.array(image).astype(np.float64)
    if not (np.isfinite(grey).all() and grey.min() >= 0 and grey.max() <= top):
        raise DataError(f"{path}: expected values in 0 to {top:g}, got {grey.min():g} to {grey.max():g}.")
    return np.multiply(grey, 255 / top, out=grey)


def _grey_to_rgb(grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round grey values of 0 .. 255, (H, W), and repeat them for three channels."""
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)


def _grey_step(path: Path, image: Image.Image) -> int:
    """The step between grey values: Pillow stretches PNG and TIFF files of 2 and 4 bits to 0..255, which would change class ids."""
    bits, colour = _png_kind(path) or (0, None)
    bits = bits if colour == _IN_GREY else (image.info.get(_BITS) or (8,))[0]
    return {2: 85, 4: 17}.get(bits, 1)


def _png_kind(path: Path) -> tuple[int, int] | None:
    """The bits of a channel and the kind of colours, from the header of a PNG file; None of other files."""
    with path.open("rb") as file:
        header = file.read(26)
    return (header[24], header[25]) if header[:8] == b"\x89PNG\r\n\x1a\n" and len(header) == 26 else None


def _first_channel(path: Path, high: Image.Image) -> NDArray[np.int64]:
    """Read all 16 bits of the first channel of a PNG file in colour, (H, W), of which Pillow keeps the high byte, ``high``.

    Read as if the low byte came last, the file gives the low byte in its place.
    """
    with opened(path) as image:
        image.tile = [(*tile[:3], "RGB;16L") for tile in image.tile]  # type: ignore[attr-defined]
        image.load()
        low = ImageOps.exif_transpose(image)
    return np.asarray(high, np.int64)[..., 0] * 256 + np.asarray(low, np.int64)[..., 0]


def _size_hint(image: tuple[int, int], mask: tuple[int, ...]) -> str:
    """Say why a mask may have another size than its image."""
    if mask == image[::-1]:
        return " It fits the photo as it is stored, and the photo is turned upright by its EXIF orientation: turn the mask alike."
    if all(abs(a - b) <= 2 for a, b in zip(image, mask, strict=True)):
        return " It is off by a pixel or two, as a mask of a shrunk copy may be: cut or pad it at the right and the bottom."
    if abs(image[0] * mask[1] - image[1] * mask[0]) <= 2 * max(*image, *mask):
        return " It has the shape of the image at another scale: resize it to the size of the image by nearest neighbour."
    return ""


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
