"""Explainers in files: what comes back, and what is refused."""

import json
import os
import pickle
import random
import struct
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from semquant import FilterConcepts, FittedExplainer, OutputConcepts, distill
from semquant.checks import InputError
from semquant.concepts import Measured
from semquant.corrected import Correction
from semquant.explainers import Explainer, ExplainerOptions
from semquant.kept import FORMAT
from semquant.measure import measure
from semquant.report import Report, Row
from semquant.steps import Steps
from semquant.training import FitOptions

REPORT = Report([Row("this explanation", 0.9, 0.1, 0.25, 0.5, None, True), Row("prior alone", 0.5)], 20, 80, True, ["w"], ["n"])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(64, 3)

    def forward(self, images):
        return self.fc(self.layer(images).relu().flatten(1))


def images(count=5):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def fitted(**changes):
    torch.manual_seed(3)
    g = Correction(4, 3)
    nn.init.normal_(g.net[-1].weight)
    concepts = FilterConcepts("layer", True, "weighted", clip=False)
    return replace(FittedExplainer(g.eval(), names=["a", "b", "c", "d"], concepts=concepts, target=2, report=REPORT,
                                   without_prior=3), **changes)


def test_everything_but_the_model_comes_back(tmp_path):
    path, model = tmp_path / "g.safetensors", Net()
    saved = fitted(model=model)
    saved.save(path)
    alone, whole = FittedExplainer.load(path), FittedExplainer.load(path, model)
    assert alone.report == REPORT and alone.target == 2 and alone.names == ["a", "b", "c", "d"] and alone.without_prior == 3
    assert vars(alone.concepts) == vars(saved.concepts) and alone.model is None and not alone.g.training
    assert torch.equal(whole.explain(images()).contributions, saved.explain(images()).contributions)
    measured = measure(alone.concepts, model, images(), 2)
    assert torch.equal(alone.explain_measured(measured).contributions, saved.explain(images()).contributions)
    with pytest.raises(InputError, match="^model: none is known"):
        alone.explain(images())
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["explainer"])
    assert about["format"] == FORMAT and about["version"] and len(about["sha256"]) == 64
    assert os.listdir(tmp_path) == ["g.safetensors"]


def test_an_explainer_of_outputs_comes_back(tmp_path):
    g = Explainer(4, 2, 4, ExplainerOptions(positive=False, scale=0.3)).eval()
    concepts = OutputConcepts("layer", "layer", ["a", "b", "c"])
    FittedExplainer(g, concepts=concepts, target=1).save(tmp_path / "g")
    state = torch.get_rng_state()
    again = FittedExplainer.load(tmp_path / "g")
    assert torch.equal(state, torch.get_rng_state())  # none are drawn
    assert vars(again.concepts) == vars(concepts) and again.report is None and again.g.settings == g.settings
    x = torch.randn(3, 4, 4, 4)
    assert torch.equal(again.g(x), g(x)) and all(p.requires_grad for p in again.g.parameters())
    again.g(x).sum().backward()  # it can be fitted further


def test_files_of_before_are_still_read(tmp_path):
    g = Explainer(4, 3, 4).eval()
    save_file(g.state_dict(), tmp_path / "old", metadata={"explainer": json.dumps({"settings": g.settings, "names": ["x", "y", "z"]})})
    again = FittedExplainer.load(tmp_path / "old")
    x = torch.randn(2, 4, 4, 4)
    assert torch.equal(again.g(x), g(x)) and again.names == ["x", "y", "z"] and again.concepts is None
    with pytest.raises(InputError, match="^concepts: .* can't tell them"):
        FittedExplainer.load(tmp_path / "old", Net())


def test_a_flipped_bit_is_noticed(tmp_path):
    path, saved = tmp_path / "g", fitted()
    saved.save(path)
    content, draw = path.read_bytes(), random.Random(0)
    head = 8 + struct.unpack("<Q", content[:8])[0]
    refused = 0
    bits = [draw.randrange(8 * len(content)) for _ in range(200)] + [8 * draw.randrange(head, len(content)) for _ in range(40)]
    for bit in bits:
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        try:
            again = FittedExplainer.load(path)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        assert again.report == saved.report and vars(again.concepts) == vars(saved.concepts) and again.target == 2
        assert all(torch.equal(a, again.g.state_dict()[name]) for name, a in saved.g.state_dict().items())
    assert refused > 0.98 * len(bits)


def change(path, **about):
    """A file with other words about the same tensors."""
    with safe_open(path, framework="pt") as file:
        words = json.loads(file.metadata()["explainer"]) | about
        state = {name: file.get_tensor(name) for name in file.keys()}
    save_file(state, path, metadata={"explainer": json.dumps(words)})


@pytest.mark.parametrize("about, message", [
    ({"format": FORMAT + 1, "version": "9.9"}, r"has format 3, of semquant 9.9; accepted here: up to 2$"),
    ({"target": 1}, "is damaged, its checksum is another"), ({"names": list("dcba")}, "is damaged"),
    ({"settings": {"n": 4}}, "holds no explainer"), ({"settings": {"n": 5, "hidden": 3}}, "is of another architecture"),
    ({"settings": {"n": 4, "hidden": 10**9}}, "is of another architecture"),
    ({"settings": {"n": 10**15, "hidden": 10**15}}, "holds no explainer|is of another architecture"),
    ({"settings": {"channels": 10**5, "n": 10**8, "map_size": [9, 9], "depth": 152}}, "is of another architecture"),
    ({"settings": {"channels": 4096, "n": 10**6, "map_size": [999, 999], "depth": 152, "reduction": "conv"}},
     "is of another architecture")])
def test_a_file_that_claims_something_else_is_refused_and_costs_nothing(tmp_path, about, message):
    path = tmp_path / "g"
    fitted().save(path)
    change(path, **about)
    start = time.process_time()
    with pytest.raises(InputError, match=message) as error:
        FittedExplainer.load(path)
    assert "\n" not in str(error.value) and time.process_time() - start < 5


def test_what_is_no_explainer_is_refused(tmp_path):
    for content in (pickle.dumps(print), b"", b"\x08" + 7 * b"\x00" + b"{}      "):
        (tmp_path / "g").write_bytes(content)
        with pytest.raises(InputError, match="g holds no explainer$"):
            FittedExplainer.load(tmp_path / "g")
    with pytest.raises(InputError, match="can't be read"):
        FittedExplainer.load(tmp_path / "none")


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    fitted().save(tmp_path / "g")
    before = (tmp_path / "g").read_bytes()

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="^explainer: .*g can't be written .No space left"):
        fitted(target=0).save(tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == before and os.listdir(tmp_path) == ["g"]
    with pytest.raises(InputError, match="can't be written"):
        fitted().save(tmp_path / "missing" / "g")


class Turned(FilterConcepts):
    def __init__(self, layer, turn):
        super().__init__(layer, True, "weighted", clip=False)
        self.turn = turn


def test_a_function_is_asked_for_again(tmp_path):
    path, turned = tmp_path / "g", Turned("layer", abs)
    saved = fitted(concepts=turned, prepare=torch.neg, model=Net())
    saved.save(path)
    assert FittedExplainer.load(path).concepts is None
    with pytest.raises(InputError, match="^concepts: .* can't tell them; accepted: the ones of the fit"):
        FittedExplainer.load(path, Net())
    with pytest.raises(InputError, match="^prepare: .* was fitted with one"):
        FittedExplainer.load(path, Net(), turned)
    with pytest.raises(InputError, match="^concepts: FilterConcepts given, the fit had Turned"):
        FittedExplainer.load(path, Net(), FilterConcepts("layer"), torch.neg)
    again = FittedExplainer.load(path, Net(), turned, torch.neg)
    assert torch.equal(again.explain(images()).contributions, saved.explain(images()).contributions)


def test_measured_images_are_explained_without_a_model(tmp_path):
    fitted(concepts=None, report=None).save(tmp_path / "g")
    y = torch.rand(3, 4)
    found = FittedExplainer.load(tmp_path / "g").explain_measured(Measured(y, y, y.sum(1), y))
    torch.testing.assert_close(found.total, y.sum(1))


@pytest.mark.filterwarnings("ignore:semquant")
def test_the_concepts_of_the_fit_may_be_given_again_and_are_read_as_the_fit_read_them(tmp_path):
    path, model, concepts = tmp_path / "g", Net(), FilterConcepts("layer", True).with_names({1: "ear"})
    found = distill(model, concepts, images(30), 1, fit=FitOptions(device="cpu", epochs=2))
    found.save(path)
    expected = found.explain(images())
    for given in (None, concepts, FilterConcepts("layer", True, "active")):
        again = FittedExplainer.load(path, model, given)
        assert torch.equal(again.explain(images()).contributions, expected.contributions)
        assert again.concepts.named == {1: "ear"} and again.explain(images()).names == expected.names
    assert (concepts.positions, concepts.clip) == ("all", True)  # left as it was
    renamed = FittedExplainer.load(path, model).with_names({0: "wheel"})
    assert renamed.explain(images()).names == ["wheel", "filter 1", "filter 2", "filter 3"]
    assert torch.equal(renamed.explain(images()).contributions, expected.contributions)
    for wrong, words in ((FilterConcepts("layer"), "rectified is False, the fit had True"),
                         (FilterConcepts("fc", True), "layer is 'fc', the fit had 'layer'"),
                         (FilterConcepts("layer", True, reshape="tokens"), "reshape is 'tokens', the fit had None"),
                         (OutputConcepts("layer", "layer"), "OutputConcepts given, the fit had FilterConcepts")):
        with pytest.raises(InputError, match=f"^concepts: {words}"):
            FittedExplainer.load(path, model, wrong)


class Tailed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, images):
        return self.head(self.layer(images).relu())


@pytest.mark.filterwarnings("ignore:semquant")
def test_steps_come_back_with_their_reach(tmp_path):
    path, model, concepts = tmp_path / "g", Tailed(), OutputConcepts("head.1", "layer")
    found = distill(model, concepts, images(30), 1, method="corrected", fit=FitOptions(device="cpu"))
    found.save(path)
    expected = found.explain(images()).contributions
    for given in (None, concepts, found.concepts, OutputConcepts("head.1", "layer", ["a", "b", "c"])):
        assert torch.equal(FittedExplainer.load(path, model, given).explain(images()).contributions, expected)
    with pytest.raises(InputError, match="^concepts: shared is 'head.2', the fit had 'head.1'"):
        FittedExplainer.load(path, model, OutputConcepts("head.2", "layer"))
    with pytest.raises(InputError, match="^names: these are for filters"):
        found.with_names({0: "a"})


def test_steps_of_a_file_that_tells_no_concepts_are_read_with_steps_only(tmp_path):
    FittedExplainer(Steps(2)).save(tmp_path / "g")
    with pytest.raises(InputError, match="has steps; accepted: StepConcepts"):
        FittedExplainer.load(tmp_path / "g", Tailed(), OutputConcepts("head.1", "layer"))
