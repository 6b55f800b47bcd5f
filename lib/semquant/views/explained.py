"""The page of an explanation: what goes into it, see explanation.js for what it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


from semquant.checks import InputError, check_finite
from semquant.shown import pictures
from semquant.views import page

__all__ = ["write"]

MOST = 100  # images in a page; a picture takes about 10 kB
SIZE = 224  # pixels of a picture's longer side


def write(explanation, path: str | Path, images: object, undo: object,
          names: Sequence[str], title: str) -> Path:
    """Write the page; parameters as in `semquant.Explanation.save_html`."""
    count, most = len(explanation), min(len(explanation), MOST)
    if count == 0:
        raise InputError("explanation: it is of no images")
    check_finite(yhat=explanation.yhat, y=explanation.y, alpha=explanation.alpha)
    notes = [] if most == count else [
        f"These are images 0 to {most - 1} of {count}: {count - most} were left out to keep the file small "
        "(explanation[index].save_html(path) writes others)."]
    addresses = None
    if images is not None:
        images = images[None] if images.ndim == 3 and count == 1 else images
        if len(images) != count:
            raise InputError(f"images: {len(images)} don't fit an explanation of {count}")
        found = pictures(images[:most], undo)
        notes += [f"Pictures: {found.note}."] * bool(found.note)
        addresses = [page.picture(picture, SIZE) for picture in found.pixels]
    part = explanation[:most]
    yhat, y, alpha = (page.pack(values.detach().cpu().float().numpy())
                      for values in (part.yhat, part.y, part.alpha))
    return page.save(path, "explanation", title, {
        "title": title, "names": list(names), "score": yhat, "y": y, "alpha": alpha,
        "bias": explanation.bias, "pictures": addresses, "notes": notes,
        "labels": [f"image {k}" for k in range(most)]})
