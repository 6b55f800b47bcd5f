"""The pages about networks of one's own: tables, the frame, and each line that says what to pass."""

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import semquant
from semquant import FilterConcepts, InputError, distill
from semquant.images import image_batches
from semquant.report import EQUAL, GRADIENT, PRIOR, THIS, Report, Row
from semquant.training import FitOptions
from semquant_book.pages import own
from semquant_book.study import own_networks, works_with
from semquant_book.study.own_networks import Trained
from semquant_book.study.presets import load_settings

ROOT = Path(__file__).parents[2]
PAGE = nbformat.read(ROOT / "book/own/works_with.ipynb", as_version=4)


def report(this, prior=0.3, gradient=0.2, equal=0.5, **more):
    rows = [Row(name, sets=value, one=2 * value, rank=1 - value)
            for name, value in ((THIS, this), (PRIOR, prior), (GRADIENT, gradient), (EQUAL, equal))]
    rows[-1].rank = None
    return Report(rows, 30, 120, **{"held_out": True} | more)


REPORTS = {"top": {"auto": report(0.1), "paper": report(0.7, gradient=9.0)},
           "middle": {"auto": report(0.4, warnings=["the prior is nearer"]), "paper": report(0.6)}}


def test_closeness_has_each_way_from_its_own_report():
    table = own.closeness(REPORTS).data
    assert table["top", "sets removed"].tolist() == ["0.10", "0.70", "0.30", "0.20", "0.50"]
    assert table["middle", "one removed"].tolist() == ["0.80", "1.20", "0.60", "0.40", "1.00"]
    assert table["top", "rank"].tolist()[-1] == "\N{EM DASH}"


def test_closeness_is_said_with_the_verdict_against_it():
    top, middle = own.closeness_said(REPORTS).splitlines()
    assert "Nearest for sets removed: default; for one removed: default." in top
    assert top.endswith("no cheaper explanation is better.")
    assert "Nearest for sets removed: gradient times input" in middle and middle.endswith("the prior is nearer.")


@pytest.mark.filterwarnings("ignore:semquant")
def test_peers_stand_beside_contributions_that_are_known():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)).eval()
    images, concepts = torch.randn(30, 3, 8, 8), FilterConcepts("1", rectified=True)
    explainer = distill(model, concepts, images, 1, fit=FitOptions(device="cpu", epochs=2))
    table = own.peers_beside(lambda x: model[2:](x)[:, 1], explainer, images[:6], model[5].weight[1]).data
    off = table.iloc[:, 0].astype(float)
    assert off[["gradient times input", "integrated gradients", "removal of one at a time", "Shapley sampling"]].max() == 0
    wrong = own.peers_beside(lambda x: model[2:](x)[:, 1], explainer, images[:6], 2 * model[5].weight[1]).data.iloc[:, 0].astype(float)
    assert wrong["gradient times input"] == 0.5 and off["equal share"] > 0.1


def test_a_frame_holds_the_whole_file(tmp_path):
    text = '<html lang="en"><script>let a = "</p>" & \'b\'</script></html>'
    (tmp_path / "a.html").write_text(text)
    html = own.framed(tmp_path / "a.html", 'An "explanation"').data
    assert unescape(re.search(r'srcdoc="([^"]*)"', html)[1]) == text and "&quot;explanation&quot;" in html
    assert not re.search(r"https?:", html)


def test_a_trained_network_is_said_beside_the_more_frequent_answer():
    mine = Trained(None, torch.zeros(80, 3, 64, 64), torch.zeros(40, 3, 64, 64), torch.arange(40) < 10, 0.9)
    said = own.trained_said(mine)
    assert "on 80 drawn images of 64 pixels. Of 40 test images it gets **90.0%** right" in said and "75.0%" in said


def test_families_that_fail_are_named():
    rows = [works_with.Row("a", "top", "", 64, 6, (2, 3), 1.26, 1e-7, 0.25),
            works_with.Row("b", "top", 'reshape="tokens"', 64, error="InputError: no")]
    table = own.families(rows).data
    assert table.loc["a"].tolist() == ["top", "nothing", 6, "2 × 3", "1.3"]
    assert table.loc["b"].tolist() == ["top", 'reshape="tokens"', "", "", "InputError: no"]
    assert own.families_said(rows).startswith("**1 of 2** are explained; not: b. The score that is explained")
    assert "the network's own to within 1e-07 of the scores' spread" in own.families_said(rows)
    assert "each image's score moves by at least 0.2 of the spread" in own.families_said(rows)
    assert own.families_said(rows[:1]).startswith("All **1** are explained.")
    assert own.families_said(rows[1:]).endswith("not: b.")


def test_crops_are_squares_of_three_photographs_the_same_each_time():
    found = own_networks.crops(6)
    assert found.shape == (6, 3, own_networks.SIDE, own_networks.SIDE) and 0 <= found.min() and found.max() <= 1
    assert torch.equal(found, own_networks.crops(6)) and not torch.equal(found, own_networks.crops(6, seed=1))
    assert [picture.shape[2] for picture in own_networks.photographs()] == [3, 3, 3]
    with pytest.raises(InputError, match="^count: 0"):
        own_networks.crops(0)


def test_a_network_is_trained_the_same_each_time(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    monkeypatch.setattr(own_networks, "MOST", 12)
    settings = load_settings("smoke", train_images=12, test_images=8, val_images=4)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (own_networks.trained(settings, "dog") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.model.state_dict().values(), two.model.state_dict().values()))
    assert one.train.shape == (12, 3, 64, 64) and len(one.positive) == 8 and not one.model.training


# the lines of the tables, each run on a network, or images, of the kind it is for


class Tokens(nn.Module):
    """A map (B, 6, 4, 4) as tokens (B, 17, 6) with a class token, or with the channels last."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return x.permute(0, 2, 3, 1) if self.last else torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)


class Net(nn.Module):
    """A map (B, 6, 4, 4), what a layer gives of it, a vector, and 3 scores in some output."""

    def __init__(self, layer=None, give=lambda scores, pooled: scores):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), layer or nn.ReLU())
        self.pooled = nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.ReLU())
        self.head = nn.Linear(5, 3)
        self.give = give
        self(torch.zeros(1, 3, 32, 32))

    def forward(self, images):
        pooled = self.pooled(self.features(images))
        return self.give(self.head(pooled), pooled)


NETWORKS = {
    "gives a dict": lambda: Net(give=lambda s, p: {"pooled": p, "score": s}),
    "gives an object": lambda: Net(give=lambda s, p: SimpleNamespace(logits=s)),
    "gives a tuple": lambda: Net(give=lambda s, p: (s, p)),
    "gives something else": lambda: Net(give=lambda s, p: {"heads": [s]}),
    "is wrapped": lambda: nn.DataParallel(Net()),
    "is in half": lambda: Net().to(torch.bfloat16),
    "ends in a linear": Net,
    "has a layer of tokens": lambda: Net(Tokens(last=False)),
    "has a layer with the channels last": lambda: Net(Tokens(last=True)),
    "has a layer in an order": lambda: Net(nn.Flatten(2)),
    "has a layer of features": Net,
    "has other outputs": Net,
    "comes with another": Net,
}


def lines(heading: str) -> dict[str, str]:
    """The rows of the first table below a heading: what it is, and the code."""
    prose = "\n".join(cell.source for cell in PAGE.cells if cell.cell_type == "markdown")
    table = prose.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (?!images are|the model, or)([^|]+) \| `([^|]+)` \|$", table, re.M))


def test_each_line_has_a_network_or_images_here():
    said = lines("What to pass")
    assert len(said) == len(NETWORKS) and all(any(s.startswith(n) for s in said) for n in NETWORKS)
    assert list(lines("Images from where they are").values()) == list(SOURCES)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.filterwarnings("ignore:semquant")
def test_what_is_passed_explains_the_networks_own_score(kind):
    (passed,) = [code for words, code in lines("What to pass").items() if words.startswith(kind)]
    model, images = NETWORKS[kind](), torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    concepts = eval(passed, {**{name: getattr(semquant, name) for name in semquant.__all__}, "detector": Net()})
    explanation = distill(model, concepts, images, 1, fit=FitOptions(epochs=1)).explain(images)
    plain = Net(*([model.features[1]] if isinstance(model, Net) else []))
    plain.load_state_dict({key.removeprefix("module."): v.float() for key, v in model.state_dict().items()})
    total = explanation.contributions.sum(dim=1) + explanation.bias + explanation.residual
    torch.testing.assert_close(total, plain(images)[:, 1].detach(), atol=0.02, rtol=0.02)  # bfloat16's digits
    assert explanation.y.shape[1] == {"has a layer of features": 5, "has other outputs": 2, "comes with another": 3}.get(kind, 6)


def pictures():
    return [Image.fromarray(np.full((40, 32 + k, 3), 40 * k, dtype=np.uint8)) for k in range(6)]


def folder(path):
    for k, picture in enumerate(pictures()):
        picture.save(path / f"{k}.png")
    return path


class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, k):
        return {"photo": torch.full((3, 32, 32), k / 6), "mask": torch.zeros(3, 32, 32)}


def endless():
    while True:
        yield torch.rand(4, 3, 32, 32)


TENSOR = torch.rand(6, 3, 32, 32)
SOURCES = {
    "tensor": lambda path: {"tensor": TENSOR},
    "array": lambda path: {"array": np.zeros((6, 32, 32, 3), dtype=np.uint8)},
    "Images(pictures, size=32)": lambda path: {"pictures": pictures()},
    "Images(folder, size=32)": lambda path: {"folder": folder(path)},
    "loader": lambda path: {"loader": DataLoader(TensorDataset(TENSOR, torch.arange(6)), batch_size=4)},
    'Images(dicts, key="photo")': lambda path: {"dicts": DataLoader(Photos(), batch_size=4)},
    "Images(endless, max_images=6)": lambda path: {"endless": endless()},
    "dataset": lambda path: {"dataset": TensorDataset(TENSOR)},
}


@pytest.mark.parametrize("passed", SOURCES)
def test_what_is_passed_gives_all_images(passed, tmp_path):
    found = eval(passed, {"Images": semquant.Images, **SOURCES[passed](tmp_path)})
    assert torch.cat(list(image_batches(found, 4))).shape == (6, 3, 32, 32)
    concepts = FilterConcepts("features")
    assert len(concepts.gallery(Net(), eval(passed, {"Images": semquant.Images, **SOURCES[passed](tmp_path)})).peaks) == 6


@pytest.mark.parametrize("page", ["README.md", "book/reproduce/design.md"])
@pytest.mark.filterwarnings("ignore:semquant")
def test_the_lines_for_a_network_of_ones_own_run(page, tmp_path, monkeypatch):
    block = re.search(r"```python\n(from semquant import FilterConcepts, distill\n.*?)```", (ROOT / page).read_text(), re.S)[1]
    monkeypatch.chdir(tmp_path)
    layers = [nn.Identity() for _ in range(10)]
    model = nn.Sequential()
    model.features = nn.Sequential(*layers, nn.Conv2d(3, 4, 8, stride=8), nn.ReLU())
    model.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 16, 282))
    images = torch.rand(16, 3, 32, 32)
    loader = DataLoader(TensorDataset(images, torch.arange(16)), batch_size=8)
    names = {"model": model, "images": images, "loader": loader, "mean": 0.0, "std": 1.0}
    exec(block, names)
    explanation = names["explanation"]
    total = explanation.contributions.sum(dim=1) + explanation.bias + explanation.residual
    torch.testing.assert_close(total, model(images)[:, 281].detach())
    for file in ("explanation.html", "filters.html"):
        text = (tmp_path / file).read_text()
        assert text.startswith("<!") and "data:image/webp" in text
