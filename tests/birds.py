"""A tiny FunnyBirds folder, drawn here: squares of colour for parts, in both layouts."""

import json
from itertools import combinations

import numpy as np
from PIL import Image

from semquant_book.datasets.funnybirds import COLOURS, PARTS

SIDE, OBJECTS = 32, 2
#: Four classes of two models a part; the first shares two parts with the second, two others with the third.
MODELS = ((0, 0, 0, 0, 0), (0, 0, 1, 1, 1), (1, 1, 0, 0, 1), (1, 1, 1, 1, 0))
NUMBERS = (3, 5, 8, 9)  # official numbers of the classes
LEFT_OUT = ("foot", "tail", "wing")  # of the first training image
PLACES = {part: (4 + 6 * p, 4 + 5 * p) for p, part in enumerate(PARTS)}


def picture(models: dict, objects=range(OBJECTS)) -> np.ndarray:
    """A bird: a square for each part that it has, its colour by the model; grey squares for objects."""
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    for n in objects:
        image[26:30, 20 + 5 * n : 24 + 5 * n] = 160 + 40 * n
    for p, (part, (row, column)) in enumerate(PLACES.items()):
        if part in models:
            image[row : row + 5, column : column + 5] = 20
            image[row : row + 5, column : column + 5, (p + models[part]) % 3] = 250
    return image


def part_map(models: dict) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for n in range(OBJECTS):
        image[26:30, 20 + 5 * n : 24 + 5 * n] = (204, 204, 204 + n)
    first = {part: colour for colour, part in reversed(COLOURS.items())}
    for part, (row, column) in PLACES.items():
        if part in models:
            image[row : row + 5, column : column + 5] = first[part]
    return image


def save(path, image, alpha: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png" and alpha:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    Image.fromarray(image).save(path, **({"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}))


def folder(root, official: bool, train: int = 3, test: int = 2):
    """Write the folder; the official layout has PNG with alpha, five classes and no subset.json."""
    root, suffix = root / "FunnyBirds", ".png" if official else ".jpg"
    root.mkdir()
    classes = [{"class_idx": n, "parts": dict(zip(PARTS, m))} for n, m in zip(NUMBERS, MODELS)]
    spare = [{"class_idx": 0, "parts": dict.fromkeys(PARTS, 0)}]
    (root / "classes.json").write_text(json.dumps(classes if official else spare + classes))
    (root / "parts.json").write_text(json.dumps({part: [{"model": f"{part}0"}, {"model": f"{part}1"}] for part in PARTS}))
    for file, count in (("train", train), ("test", test)):
        records = []
        for one in [one for k in range(count) for one in classes]:
            name = f"{one['class_idx']}/{len(records):06d}"
            left_out = LEFT_OUT if file == "train" and len(records) == 0 else ()
            shown = {part: m for part, m in one["parts"].items() if part not in left_out}
            records.append({"class_idx": one["class_idx"], "bg_objects": "2,4,"} | {
                f"{part}_model": f"{part}{shown[part]}" if part in shown else "placeholder" for part in PARTS})
            save(root / file / f"{name}{suffix}", picture(shown), official)
            save(root / f"{file}_part_map" / f"{name}.png", part_map(one["parts"]), True)
            for kept in [k for r in range(6) for k in combinations(PARTS, r)] * (file == "test"):
                shown = picture({part: one["parts"][part] for part in kept})
                save(root / "test_interventions" / name / f"body_{'_'.join(kept)}{suffix}", shown, official)
            for n in range(OBJECTS) if file == "test" and (official or len(records) <= 4) else ():
                shown = picture(one["parts"], [m for m in range(OBJECTS) if m != n])
                save(root / "test_interventions" / name / "background_interventions" / f"{n}{suffix}", shown, official)
        (root / f"dataset_{file}.json").write_text(json.dumps(records))
    if not official:
        splits = {"train": (0, 4 * train - 4), "validation": (4 * train - 4, 4 * train), "test": (0, 4 * test)}
        (root / "subset.json").write_text(json.dumps({
            "classes": [{"label": k, "class_idx": n} for k, n in reversed(list(enumerate(NUMBERS)))],
            "splits": {split: {"from": a, "to": b} for split, (a, b) in splits.items()}}))
    return root.parent
