"""The page on the trial, on a record whose effects are known."""

import numpy as np
import pytest
from matplotlib import pyplot as plt

from semquant_book.figures import with_interval
from semquant_book.pages import funnybirds, ranking, trials
from semquant_book.pages.findings import number
from semquant_book.study import hypotheses
from semquant_book.study.presets import project_root
from semquant_book.study.replicates import bootstrap
from semquant_book.study.trials import WAYS
from trial_record import record

NETWORKS = ["AlexNet", "VGG-M", "VGG-S", "VGG-16"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hypotheses, "DRAWS", 5000)  # of the slowest test alone
    yield
    plt.close("all")


def test_how_far_the_plan_came_is_said():
    said = trials.progress(record())
    assert said.startswith("13 of the 72 performers that were planned are run. The tests are on the 12 of categories")
    assert "(bird, cow, horse; seed 0): 3 of AlexNet, 3 of VGG-M, 3 of VGG-S, 3 of VGG-16." in said
    more = record()
    more["performers"][0]["performer_seed"] = 1
    assert "; seeds 0, 1): " in trials.progress(more)


def test_the_table_has_a_row_for_each_test():
    table = trials.table(record(gains=(0.3, 0.3, 0.0, 0.0), over_prior=-0.1)).data
    assert len(table) == 13 and set(table["performers"]) == {"12"}
    home = table.loc["1. entropy, with the prior loss minus without: SGD, high start"]
    low, high = (number(v, 3, plus=True) for v in (0.3, 0.3))
    assert home.tolist() == ["holds", "above 0", "+0.300", f"{low} to {high}", home["p (Holm)"], "12"]
    assert float(home["p (Holm)"]) == pytest.approx(13 * 2 / 2**12, abs=5e-4)
    other = table.loc["1. entropy, with the prior loss minus without: SGD, fitting start"]
    assert other.tolist()[:3] == ["no: the opposite", "below +0.05", "+0.300"]
    ours = table.loc["3. error, ours minus its prior: SGD, high start"]
    assert ours.tolist()[:3] == ["no: the opposite", "above 0", "\N{MINUS SIGN}0.100"]
    fourth = next(row for name, row in table.iterrows() if name.startswith("4."))
    assert fourth["expected"] == "not below 0"


def test_some_hypotheses_may_be_asked_for():
    assert [name[0] for name in trials.table(record(), [2, 5]).data.index] == ["2", "2", "5"]
    said = trials.said(record(better=0.05), [2, 6]).splitlines()
    assert len(said) == 2 and said[0].startswith("- **The prior's knowledge counts** (as a whole: holds): error, measured minus permuted")
    assert said[0].count("12 performers), holds") == 2
    assert said[1].count("no: the opposite") == 4 and "+0.050 (+0.0" in said[1]


def test_too_few_performers_have_no_interval_and_no_p():
    few = record(categories=("bird",))
    few["performers"] = few["performers"][:2]
    for table in ("regimes", "ways"):
        few[table] = [row for row in few[table] if row[0] < 2]
    table = trials.table(few).data
    assert set(table["verdict"]) == {"open"} and set(table["95% interval"]) == {"none"}
    assert set(table["p (Holm)"]) == {"\N{EM DASH}"}
    assert "(2 performers, no interval), open" in trials.said(few, [1])


def test_every_way_and_both_fits_of_each_regime_are_drawn():
    errors = trials.errors(record())
    ways = {ranking.NAMES[way] for way in WAYS}
    fits = {f"{method}, {name} start" for method in ("ours", "baseline")
            for name in ("SGD, high", "SGD, fitting", "AdamW, high", "AdamW, fitting")}
    assert set(errors.index) == ways | fits and errors.shape[1] == 12  # without the dog
    assert errors.loc["prior weights alone"].tolist() == [0.4] * 12
    assert errors.loc["ours, SGD, high start"].mean() == pytest.approx(0.5)
    figure = trials.ranked(record())
    assert [ax.get_title("left") for ax in figure.axes] == [words.replace(", ", ",\n") for words in trials.PANELS.values()]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["gradient times input, corrected", "prior weights alone"]
    assert set(labels) == set(errors.index)


def test_a_fit_that_diverged_has_no_error():
    errors = trials.errors(record(diverged=(0,)))
    assert errors.loc["ours, SGD, high start"].isna().sum() == 1 and errors.loc["ours, AdamW, high start"].notna().all()


def test_errors_by_network_and_over_all():
    kept = record()
    table = trials.by_network(kept, ("corrected", "prior")).data
    assert list(table) == [f"{name} (3)" for name in NETWORKS] + ["all"]
    assert list(table.index) == ["gradient times input, corrected", "prior weights alone"]
    rows = [0.3 + 0.01 * k for k in range(12)]
    assert table.iloc[0, 1] == f"{np.mean(rows[1::4]):.3f}"
    values = trials.errors(kept).loc["gradient times input, corrected"]
    assert sorted(values) == pytest.approx(rows)
    assert table.iloc[0, -1] == with_interval(bootstrap(values), 3)
    assert len(trials.by_network(kept).data) == len(WAYS) + 8


def test_readme_has_the_records_numbers():
    text = (project_root() / "README.md").read_text()
    kept = trials.read()
    rows = {n: next(line for line in text.splitlines() if words in line) for n, words in (
        (1, "a plan written before the runs"), (3, "the same performers, distance"), (6, "with a learned correction"))}
    rows[4] = rows[3]
    for test in hypotheses.tests(kept):
        if test.hypothesis not in rows or "ridge" in test.words:
            continue
        digits = 2 if test.hypothesis == 4 else 3
        low, high = (number(v, digits, plus=True) for v in (test.found.low, test.found.high))
        row = rows[test.hypothesis]
        assert number(test.found.value, digits, plus=True) in row and f"({low} to {high})" in row, test.words
    assert f"first {len(hypotheses.tests(kept)[0].found.values)} of 48 performers" in rows[1]
    for metric in list(trials.PANELS)[1:]:
        gap = trials.corrected_gap(kept, metric)
        said = [number(v, plus=True) for v in (gap.value, gap.low, gap.high)]
        assert f"{said[0]} ({said[1]} to {said[2]})" in rows[6], metric
    means = trials.errors(kept).mean(axis=1)
    assert all(number(means[ranking.NAMES[way]]) in rows[6] for way in ("corrected", "gradient_times_input",
                                                                         "shapley_sampling"))
    gains = [hypotheses.difference(kept, hypotheses.HOME, "normalised_entropy")]
    gains += [hypotheses.evenness(kept, start) for start in ("high", "fitting")]
    for gain, row, digits in zip(gains, (rows[1], rows[4], rows[4]), (3, 2, 2)):
        said = [number(v, digits, plus=True) for v in (gain.value, gain.low, gain.high)]
        assert f"{said[0]} ({said[1]} to {said[2]})" in row


def test_readme_has_the_birds_numbers():
    row = next(line for line in (project_root() / "README.md").read_text().splitlines() if "| FunnyBirds" in line)
    found = funnybirds.scores(funnybirds.read())["mean"]
    for way in ("gradient_times_input", "corrected", "prior", "ours", "ours_positive", "random",
                "pixel_gradient_times_input"):
        assert number(found[way]) in row, way
    assert number(funnybirds.mean_score(funnybirds.PUBLISHED)) in row
