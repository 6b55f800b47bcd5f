"""Do two builds hold the same numbers? python benchmarks/compare_runs.py before/_build after/_build

Compares the records and weights in both stores, file by file; a file's name is taken without the
digest of its settings and sources. Prints what differs, and exits with 1 if anything does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from safetensors.numpy import load_file

ABOUT_THE_RUN = ("settings", "versions", "seconds", "peak_memory_mb")  # no numbers of the method


def files(build: str) -> dict[str, Path]:
    """Return the newest record and weights of each name in a build folder's store."""
    found = [p for p in Path(build, "store").rglob("*") if p.suffix in (".json", ".safetensors")]
    return {re.sub(r"-[0-9a-f]{10}(?=\.)", "", f"{p.parent.name}/{p.name}"): p
            for p in sorted(found, key=lambda p: p.stat().st_mtime)}


def numbers(path: Path) -> dict[str, object]:
    """Return a record's values, by their path in it, or the tensors of a file of weights."""
    if path.suffix == ".safetensors":
        return load_file(path)
    content = json.loads(path.read_text())
    return dict(_walk({k: v for k, v in content.items() if k not in ABOUT_THE_RUN}))


def _walk(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(item, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def difference(a: object, b: object) -> str | None:
    """Say how two values differ; None if they are the same."""
    if hasattr(a, "shape") and hasattr(b, "shape"):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype} {a.shape} against {b.dtype} {b.shape}"
        return None if (a == b).all() else f"by up to {abs(a.astype(float) - b).max():.3g}"
    return None if repr(a) == repr(b) else f"{a!r} against {b!r}"


if __name__ == "__main__":
    before, after = (files(build) for build in sys.argv[1:3])
    said = [f"only in {sys.argv[1 + (n in after)]}: {n}" for n in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        a, b = numbers(before[name]), numbers(after[name])
        found = {key: difference(a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys())}
        said += [f"{name}: {key} {how}" for key, how in found.items() if how]
    print("\n".join(said) or f"{len(before)} files hold the same numbers")
    sys.exit(bool(said) or not before)
