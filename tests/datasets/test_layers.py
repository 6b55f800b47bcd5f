"""Layers composited by a slow definition are the drawings themselves, whatever is left out."""

import random

import numpy as np
import pytest

from semquant_book.datasets.drawn import animals
from semquant_book.datasets.drawn.layers import layered


def composited(found, without):
    """Pixel by pixel of the layers: which part is on top, and its colour; then light, grain and means."""
    side = len(found.layers[0].pixels)
    top = np.full((side, side), "sky", object)
    colours = np.zeros((side, side, 3), np.int64)
    for y in range(side):
        colours[y] = [h + (l - h) * min(2 * y, side) // side for h, l in zip(found.high, found.low)]
    for layer in found.layers:
        if layer.part in without:
            continue
        for y, x in zip(*np.nonzero(layer.pixels)):
            number, owner = int(layer.pixels[y, x]), layer.part or "scene"
            if number > len(layer.colours):
                if top[y, x] != owner:
                    continue
                number -= len(layer.colours)
            top[y, x], colours[y, x] = owner, layer.colours[number - 1]
    ramp = np.array([(2 * i - side) / side for i in range(side)])
    glow = np.floor(ramp[None, :] * found.slope[0] - ramp[:, None] * found.slope[1]).astype(int)
    glow += np.kron(found.grain.astype(int), np.ones((side // 64, side // 64), int))
    lit = np.clip((colours * found.light) // 256 + glow[:, :, None], 0, 255)
    return (lit.reshape(side // 2, 2, side // 2, 2, 3).sum(axis=(1, 3)) + 2) // 4


@pytest.mark.parametrize("kind", animals.KINDS)
def test_layers_give_the_drawing_without_any_set_of_parts(kind):
    chance = random.Random(kind)
    for index in range(4):
        found = layered(kind, 0, "test", index)
        parts = animals.PARTS_OF[kind]
        for without in (set(), set(parts), {p for p in parts if chance.random() < 0.5},
                        {p for p in parts if chance.random() < 0.2}):
            np.testing.assert_array_equal(composited(found, without),
                                          animals.render(kind, 0, "test", index, without=without)[0])


def test_layers_of_another_size_give_the_drawing_of_that_size():
    found = layered("dog", 0, "test", 1, size=128)
    np.testing.assert_array_equal(composited(found, {"head", "tail"}), animals.render(
        "dog", 0, "test", 1, size=128, without={"head", "tail"})[0])
