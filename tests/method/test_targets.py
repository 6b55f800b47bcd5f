"""What a target may be, and the scores that it stands for."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from semquant.checks import InputError
from semquant.concepts import OutputConcepts
from semquant.targets import resolve, resolve_each, scores_of

OUTPUTS = torch.arange(12.0).view(4, 3)


def named(**attributes):
    """A model that knows names."""
    model = nn.Linear(2, 3)
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


HUGGING = named(config=SimpleNamespace(id2label={0: "cat", 1: "dog", 2: "owl"}))
VISION = named(categories=["crane", "tabby", "crane"])


@pytest.mark.parametrize("target", [2, np.int64(2), np.uint8(2), np.array(2), torch.tensor(2),
                                    torch.tensor(2, dtype=torch.uint8), "owl"])
def test_one_target_is_a_number(target):
    found = resolve(target, HUGGING)
    assert found == 2 and type(found) is int
    assert scores_of(OUTPUTS, target, HUGGING).tolist() == [2, 5, 8, 11]


def test_names_are_the_concepts_or_the_models():
    assert resolve("tabby", VISION) == 1
    assert resolve("b", HUGGING, OutputConcepts("s", "l", ["a", "b", "c"])) == 1
    assert resolve("7", named(config=SimpleNamespace(id2label={"3": "7"}))) == 3


@pytest.mark.parametrize("target", [[2, 0, 1, 1], (2, 0, np.int64(1), torch.tensor(1)),
                                    np.array([2, 0, 1, 1]), torch.tensor([2, 0, 1, 1]), ["owl", "cat", "dog", 1]])
def test_one_target_for_each_image(target):
    assert resolve_each(target, HUGGING).tolist() == [2, 0, 1, 1]
    assert scores_of(OUTPUTS, target, HUGGING).tolist() == [2, 3, 7, 10]


@pytest.mark.parametrize("call, message", [
    (lambda: resolve(-1), "^target: -1 is not a whole number of at least 0$"),
    (lambda: resolve(True), "^target: True is not a whole number"),
    (lambda: resolve(np.bool_(True)), "^target: True is not a whole number"),
    (lambda: resolve(torch.tensor(True)), "^target: True is not a whole number"),
    (lambda: resolve(1.0), "^target: 1.0 is not a whole number of at least 0, or a class's name$"),
    (lambda: resolve(torch.tensor(1.0)), "^target: 1.0 is not a whole number"),
    (lambda: resolve(None), "^target: None is not a whole number"),
    (lambda: resolve([1, 2]), "^target: 2 outputs is not a whole number.*several: see measure_many$"),
    (lambda: resolve(torch.tensor([1, 2])), "^target: 2 outputs is not a whole number"),
    (lambda: resolve("cat", nn.Linear(1, 1)), "^target: 'cat' is a name, and this model knows none"),
    (lambda: resolve("own", HUGGING), r"^target: 'own' is not one of cat, dog, owl \(did you mean owl\?\)"),
    (lambda: resolve("crane", VISION), "^target: 'crane' is the name of outputs 0, 2; accepted: one"),
    (lambda: resolve_each([0, 1.5]), "^target: 1.5 is not a whole number"),
    (lambda: resolve_each(torch.zeros(2, 2, dtype=int)), r"^target: shape \(2, 2\) is not \(B,\)"),
    (lambda: resolve_each([]), "^target: none were given"),
    (lambda: scores_of(OUTPUTS, 3), "^target: 3 is not a whole number from 0 to 2$"),
    (lambda: scores_of(OUTPUTS, [0, 1, 5, 2]), "^target: 5 is not a whole number from 0 to 2$"),
    (lambda: scores_of(OUTPUTS, [0, 1]), "^target: 2 were given for 4 images; accepted: one, or one "),
])
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
