"""Photos in files: decoded as a whole, and what can't be used said in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from semquant.checks import InputError

ORIENTATION = 0x0112  # EXIF's entry for how the camera was held

__all__ = ["first", "opened", "report"]


def opened(path: Path, decode: bool = True) -> Image.Image:
    """Return a photo in RGB, turned as its EXIF entry says, which ``info["turned"]`` tells; without
    `decode` only its header is read, for its size. InputError, which does not name the file, if it
    can't be read, or decoded as a whole, or has more than 8 bits a channel."""
    try:
        with Image.open(path) as photo:
            if photo.mode.startswith(("I", "F")):  # Pillow would cut such values off at 255
                raise InputError(f"more than 8 bits a channel (mode {photo.mode})")
            turned = photo.getexif().get(ORIENTATION, 1) if photo.format != "PNG" or "exif" in photo.info else 1
            if not decode:
                size = photo.size[::-1] if turned > 4 else photo.size
                return Image.new("1", size)
            found = ImageOps.exif_transpose(photo).convert("RGB")
            found.info["turned"] = turned != 1
            return found
    except InputError:
        raise
    except Exception as error:  # whatever Pillow meets in a file that is something else
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else reason
        raise InputError(f"not readable: {reason}") from error


def first(names: Sequence[str]) -> str:
    """Return the first three names, and whether there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def report(problems: Sequence[str], what: str) -> None:
    """Raise InputError with the number of problems and the first of them, if there are any."""
    if problems:
        raise InputError(f"data: {len(problems)} {what}: {first(problems)}")
