"""The page of parts erased in the picture, on a record made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from scipy import stats

from semquant_book.pages import interventions, ranking
from semquant_book.study.interventions import FACE_WAYS, FLIPPED, HIDDEN, MEASURED
from semquant_book.study.presets import project_root
from semquant_book.study.ranking import TRUTHS, WAYS

NETWORKS = ("alexnet", "vgg_m", "vgg_s", "vgg16")
OWN = tuple(f"filters_{truth}" for truth in TRUTHS)
#: Of each network, against the picture; against the network it is half of it, and 0 of the truth itself.
ERRORS = {"ours_scaled": (0.3, 0.3, 0.5, 0.5), "baseline_scaled": (0.9, 0.9, 0.9, 0.9),
          "ours_literal": (0.5, 0.6, 0.7, 0.8), "baseline_literal": (0.6, 0.5, 0.8, 0.7),
          "lime": (0.2,) * 4, "filters_shapley": (0.25, 0.35, 0.25, 0.35)}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def row(way, errors, **about):
    """A row of `errors` by place."""
    values = {"rescaled_error": lambda e: e, "error": lambda e: 2 * e, "rank_agreement": lambda e: 1 - e / 2,
              "sign_agreement": lambda e: 0.9}
    return about | {"method": way} | {f"{measure} {truth} {place}": values[measure](error) for measure in MEASURED
                                      for truth in TRUTHS for place, error in errors.items()}


def described():
    return {"nonlinearity": 0.125, "negative shapley": 0.25, "entropy shapley": 1.5, "mean shapley": [3.0, 1.0]}


def record(photographs=False):
    rows, about = [], [{"architecture": name, "category": "dog", "performer_seed": 0} for name in NETWORKS]
    for k, which in enumerate(about):
        for way in (*WAYS, *OWN):
            error = ERRORS.get(way, (1.5,) * 4)[k]
            rows.append(row(way, {"picture": error, "network": 0.0 if way in OWN else error / 2}, **which))
    truths = [which | {"images": 24, "groups": ["eye", "ear"], "filters": [3, 0], "picture": described(),
                       "network": described(), "falls": [[0.5, None], [0.25, None]]} for which in about]
    pairs = np.zeros((6, 6))
    pairs[1, 4] = pairs[4, 1] = -0.5
    target = {"rows": [{"method": way} | {f"{m} {t}": 0.25 for m in MEASURED for t in TRUTHS} for way in FACE_WAYS],
              "truth": described(), "single": [0.5] * 5 + [1.5], "pairs": pairs.tolist(),
              "sizes": (abs(pairs) + 0.1).tolist()}
    return {"animals": {"rows": rows, "truths": truths},
            "faces": {"attributes": list(FLIPPED), "faces": 40, "targets": {"Male": target}},
            "photographs": {"rows": [row(way, {place: 0.5 for place in (*HIDDEN, "network")}, **about[0])
                                     for way in (*WAYS, *OWN)], "truths": [
                                         truths[0] | {place: described() for place in HIDDEN}
                                         | {"network": described() | {"mean shapley": [1.0, 3.0]}}]} if photographs else None}


def test_every_row_has_a_name():
    assert set(interventions.NAMES) == {*WAYS, *OWN}
    assert set(FACE_WAYS) - {"ours", "baseline"} <= set(interventions.NAMES)


def test_the_figure_has_both_truths_side_by_side():
    left, right = interventions.comparison(record()).axes
    assert [ax.get_title("left") for ax in (left, right)] == list(interventions.PLACES.values())
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[:2] == ["LIME", "ours, y scaled"] and len(names) == len(WAYS)
    assert left.lines[4].get_xdata()[0] == pytest.approx(0.4)
    assert right.lines[4].get_xdata()[0] == pytest.approx(0.2)
    assert left.get_xscale() == right.get_xscale() == "log"


def test_the_table_has_the_networks_truth_as_one_more_way():
    table = interventions.table(record()).data
    assert list(table.index[:3]) == ["LIME", "filters removed: Shapley values", "ours, y scaled"]
    half = stats.t.ppf(0.975, 3) * np.std([0.3, 0.3, 0.5, 0.5], ddof=1) / 2
    assert table.loc["ours, y scaled"].tolist() == [
        f"0.400 ± {half:.3f}", f"0.800 ± {half / 2:.3f}", f"0.200 ± {half / 2:.3f}", f"0.900 ± {half / 4:.3f}"]
    assert interventions.table(record()).caption == (
        "Against Shapley values, mean over 4 performers; ± is half the 95% interval")


def test_fewer_than_four_performers_have_no_interval():
    few = record()
    few["animals"] = {key: [row for row in rows if row["architecture"] != "vgg16"] for key, rows in few["animals"].items()}
    assert interventions.table(few).caption.endswith("mean over 3 performers; too few for an interval")
    assert interventions.table(few).data.loc["LIME", "rescaled error, parts erased in the picture"] == "0.200"
    assert "(3 performers, no interval), too few performers to tell" in interventions.methods(few)
    assert "two truths" not in interventions.methods(few)


def test_how_near_the_networks_truth_comes_is_said_with_its_interval():
    said = interventions.network(record()).splitlines()
    assert said[0].startswith("Shapley values of filters removed in the network, against those of parts erased")
    half = stats.t.ppf(0.975, 3) * np.std([0.25, 0.35, 0.25, 0.35], ddof=1) / 2
    assert (f"rescaled error**: filters removed in the network 0.300 ({0.3 - half:.3f} to {0.3 + half:.3f}, "
            f"4 performers), place 2 of {len(WAYS) + 2}; of the explanations LIME comes nearest, 0.200 (") in said[2]
    assert "rank agreement**: filters removed in the network 0.850 (" in said[3]
    assert said[-1].endswith("have a rank correlation of 1.00.")
    assert interventions.network(record(), "removals").startswith("Single removals of filters")


def test_both_truths_agree_or_differ_on_ours_and_the_baseline():
    said = interventions.methods(record()).splitlines()
    assert "no detectable difference; filters removed in the network" in said[2]
    assert said[3].count("ours is nearer") == 2 and said[3].endswith("The two truths agree.")
    other = record()
    for row in other["animals"]["rows"]:
        if row["method"] == "ours_scaled":
            row["rescaled_error shapley network"] = 2.0
    said = interventions.methods(other).splitlines()[3]
    assert "ours is nearer; " in said and "the baseline is nearer. The two truths differ." in said


def test_the_truths_are_described():
    about = interventions.truths(record()).data
    assert list(about) == ["AlexNet", "VGG-M", "VGG-S", "VGG-16"]
    assert about["VGG-S"].tolist() == ["24", "1 of 2", *["0.125", "25%", "1.50"] * 2, "25%"]


def test_filters_lose_y_with_their_own_part_or_another():
    said = interventions.falling(record())
    assert "falls by 50.0% (50.0% to 50.0%, 4 performers), averaged over parts; when another part is, by 25.0% (" in said


def test_the_pair_that_interacts_most_is_named():
    table = interventions.interactions(record(), "Male").data
    assert table.loc["Eyeglasses", "Smiling"] == table.loc["Smiling", "Eyeglasses"] == "−0.50"
    assert table.loc["Wearing lipstick", "Wearing lipstick"] == "1.50"
    said = interventions.interacting(record())
    assert "**Male**: non-linearity 0.125; most of all eyeglasses and smiling interact, 0.60 in size" in said
    assert "a single flip changes the score by 0.67; Shapley values below 0: 25%" in said
    assert "one performer" in said


def test_faces_and_photographs_have_tables_of_their_own():
    faces = interventions.faces(record()).data
    assert faces.loc["ours"].tolist() == ["0.250", "0.250"] and "ridge regression" in faces.index
    assert interventions.photographs(record()).data == interventions.MISSING
    without = record() | {"faces": None}
    assert interventions.interacting(without) == interventions.MISSING
    for said in (interventions.faces(without), interventions.interactions(without, "Male")):
        assert said.data == interventions.MISSING
    photographs = interventions.photographs(record(photographs=True))
    assert photographs.data.loc["LIME"].tolist() == ["0.500", "0.750"] * 3
    assert "24 photographs; one performer, no interval" in photographs.caption


def test_the_strip_shows_each_part_erased_and_its_score(monkeypatch):
    pictures, sheet = torch.arange(128)[:, None, None, None], []
    run = SimpleNamespace(category="dog", images=lambda split: SimpleNamespace(
        ids=["dog/0/test/0", "dog/0/test/1"], images=torch.zeros(2, 3, 64, 64)))
    monkeypatch.setattr(interventions, "erased", lambda name, size: pictures * {("dog/0/test/1", 64): 1}[name, size])
    monkeypatch.setattr(interventions, "erasing", lambda run, numbers: -torch.arange(128.0)[None])
    monkeypatch.setattr(interventions.figures, "sample_sheet",
                        lambda shown, labels, columns: sheet.extend(zip(shown.flatten().tolist(), labels)))
    interventions.strip(run, 1)
    assert sheet[:2] == [(127, "as it is: −127.00"), (126, "no eye: −126.00")]
    assert sheet[7:] == [(63, "no tail: −63.00"), (0, "no part: 0.00")]


def test_the_record_that_comes_with_the_project_is_of_the_settings_networks():
    kept = interventions.read()
    networks = kept["settings"]["architectures"]
    assert [about["architecture"] for about in kept["animals"]["truths"]] == networks
    assert {(row["architecture"], row["method"]) for row in kept["animals"]["rows"]} == {
        (architecture, way) for architecture in networks for way in (*WAYS, *OWN)}
    assert set(record()["animals"]["truths"][0]) <= set(kept["animals"]["truths"][0])
    assert set(kept["animals"]["rows"][0]) == set(record()["animals"]["rows"][0])
    assert ranking.NAMES.items() <= interventions.NAMES.items()


def test_what_came_out_for_photographs_is_said():
    made = record(photographs=True)
    for row_ in made["photographs"]["rows"]:
        if row_["method"] == "lime":
            row_["rescaled_error shapley blurred"] = 0.25
        if row_["method"] == "gradient_times_input":
            row_["rescaled_error shapley mean"] = 0.125
    said = interventions.hidden(made)
    assert said.startswith("24 photographs of dogs, one performer on the pretrained trunk, no interval")
    assert "**boxes blurred**: of 20 ways LIME comes nearest, rescaled error 0.250; gradient times input 0.500" in said
    assert "mean colour**: of 20 ways gradient times input comes nearest, rescaled error 0.125; prior" in said
    assert "the eye: of the score 75% with its box blurred and 75%" in said and "25% by the 3 filters" in said
    assert interventions.hidden(record()) == interventions.MISSING


def test_the_strip_takes_the_first_recognised_image(monkeypatch):
    seen = []
    monkeypatch.setattr(interventions, "recognised", lambda run, most: seen.append(most) or torch.tensor([7]))
    monkeypatch.setattr(interventions, "erasing", lambda run, numbers: seen.append(int(numbers[0])) or torch.zeros(1, 128))
    monkeypatch.setattr(interventions, "erased", lambda name, size: torch.zeros(128, 3, 4, 4, dtype=torch.uint8))
    monkeypatch.setattr(interventions.figures, "sample_sheet", lambda *given, **more: None)
    interventions.strip(SimpleNamespace(category="dog", images=lambda split: SimpleNamespace(
        ids=list("abcdefgh"), images=torch.zeros(8, 3, 4, 4))))
    assert seen == [1, 7]


def test_the_kept_record_has_photographs():
    kept = interventions.read()["photographs"]
    assert kept["truths"][0]["images"] >= 12 and len(kept["rows"]) == len(WAYS) + len(OWN)


def test_the_readmes_row_of_hidden_boxes_has_the_records_numbers():
    kept = interventions.read()
    values = ranking.measured(kept["photographs"], "rescaled_error shapley blurred").iloc[:, 0]
    ways = values.drop(index=[f"filters_{name}" for name in interventions.TRUTHS])
    row = next(line for line in (project_root() / "README.md").read_text().splitlines() if "boxes blurred" in line)
    assert f"in {kept['photographs']['truths'][0]['images']} photographs" in row and f"of {len(ways)} ways" in row
    assert ways.idxmin() == "equal_share" and f"equal shares comes nearest, {ways.min():.3f}" in row
    for way, name in (("ours_scaled", "ours, y scaled"), ("prior", "prior alone"), ("gradient_times_input", "gradient times input")):
        assert f"{name} {ways[way]:.3f}" in row
