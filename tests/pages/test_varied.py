"""What the trial holds fixed, varied: what is said is what a record made by hand has."""

import re

import pytest
from made_factorial import record

from semquant_book.folders import project_root
from semquant_book.pages import varied
from semquant_book.study.factorial import DEEPER, MADE, STRONG, Fit, frame
from semquant_book.study.hypotheses import ERROR, HOME, REGIMES

HIGH, LAST = REGIMES[0], REGIMES[-1]


def test_each_arm_has_its_fits_and_no_others():
    found = varied.arms(record())
    assert {name: len(some) for name, some in found.items()} == {
        "as in the trial": 8, "b from the mean score": 8, "filter loss 0.3 throughout": 4, "both of these": 4,
        "g a ResNet-18": 4, "other seeds of g": 16}  # four regimes each, of dog and cat, or of one; four seeds
    gains = {name: varied.differences(some, HIGH, "normalised_entropy") for name, some in found.items()}
    assert gains["as in the trial"] == pytest.approx([0.2, 0.4])
    assert gains["b from the mean score"] == pytest.approx([0.22, 0.42])
    assert gains["filter loss 0.3 throughout"] == pytest.approx([0.1]) and gains["both of these"] == pytest.approx([0.12])
    assert gains["g a ResNet-18"] == pytest.approx([-0.2])
    assert gains["other seeds of g"] == pytest.approx([0.2, 0.202, 0.204, 0.206])
    assert varied.differences(found["as in the trial"], LAST, ERROR, "uniform") == pytest.approx([0.075, 0.15])


def test_the_table_has_the_spread_and_how_many_performers():
    table = varied.table(record()).data
    assert list(table.columns) == ["SGD, high start", "SGD, fitting start", "AdamW, high start", "AdamW, fitting start"]
    assert list(table.index.get_level_values(0).unique()) == ["H / ln n", "H in nats", "rescaled error"]
    assert table.loc["H / ln n"].iloc[0].tolist() == [
        "+0.200 to +0.400", "−0.200 to −0.100", "+0.020 to +0.040", "−0.100 to −0.050"]
    assert table.loc[("rescaled error", "filter loss 0.3 throughout (1 performer)")].iloc[1] == "−0.100"
    assert table.loc[("H / ln n", "other seeds of g (1 performer, 4 seeds)")].iloc[0] == "+0.200 to +0.206"
    assert "no interval" in varied.table(record()).caption


def test_a_fit_that_diverged_has_no_pair():
    lost = record(lost={(0, Fit(*HOME, "none", depth=DEEPER)), (2, Fit(*LAST, "measured"))})
    table = varied.table(lost).data
    assert table.loc[("H / ln n", "g a ResNet-18 (1 performer)")].iloc[0] == "\N{EM DASH}"
    assert table.loc[("H / ln n", "as in the trial (2 performers)")].iloc[3] == "−0.050"
    assert "**g a ResNet-18** (1 performer): H / ln n rises with SGD from a fitting start" in varied.said(lost)


def test_an_arm_without_a_pair_is_left_out():
    made = record()
    place = made["columns"]["fits"].index("prior")
    strong = made["columns"]["fits"].index("bias")
    made["fits"] = [row for row in made["fits"] if row[0] != 1 or row[place] == "none" or row[strong] == "min"]
    assert "both of these" not in varied.said(made) and "**A strong filter loss**" in varied.said(made)
    made["fits"] = [row for row in made["fits"] if row[0] != 1]
    assert "throughout" not in "".join(varied.arms(made)) and "**A strong filter loss**" not in varied.said(made)


def test_how_far_the_plan_came_is_said():
    said = varied.progress(record())
    assert said.startswith("134 of 236 fits that were planned are run, to 3 of 6 performers (AlexNet for dogs; AlexNet for "
                           "dogs, filter loss 0.3 throughout; AlexNet for cats).")


def test_where_entropy_and_error_rise_is_said_for_each_arm():
    lines = varied.said(record()).splitlines()
    assert lines[0] == varied.progress(record()) and lines[4] == (
        "- **b from the mean score** (2 performers): H / ln n rises with SGD from a high start and AdamW from a high start, "
        "falls with SGD from a fitting start and AdamW from a fitting start; the rescaled error falls with SGD from a high start "
        "and SGD from a fitting start, rises with AdamW from a high start and AdamW from a fitting start.")


def test_all_pairs_are_counted_once():
    said = varied.said(record(lost={(2, Fit(*LAST, "measured"))})).splitlines()[2]
    # a regime has two starts of b for each of three performers, and three seeds; the ResNet's are left out
    assert said == ("- **In all**, with the small g: with SGD from a high start the prior loss raises H / ln n in 9 of 9 pairs of "
                    "fits, in the three other regimes in 9 of 26. It lowers the rescaled error in 9 of 9 and 9 of 26.")


def test_what_goes_both_ways_is_neither_a_rise_nor_a_fall():
    made = record()
    place = made["columns"]["fits"].index("normalised_entropy")
    fits = frame(made)
    (row,) = fits[(fits.performer == 2) & (fits.optimizer == "sgd") & (fits.start == "high") & (fits.prior == "measured")
                  & (fits.bias == "min")].index
    made["fits"][row][place] = 0.1
    assert "**as in the trial** (2 performers): H / ln n goes both ways with SGD from a high start" in varied.said(made)


def test_the_rest_that_is_said_has_the_records_numbers():
    said = varied.said(record())
    assert ("of the measured prior's gain in H / ln n with SGD from a high start a uniform one brings 75%, a permuted one "
            "50% (performers and starts of b: 6).") in said
    assert "**The truth's own entropy** over part groups is 1.00 to 1.20 nats." in said
    assert "nearer to it in 6 of 6 pairs of fits." in said  # the ResNet's is left out
    chosen = frame(record())
    chosen = chosen[chosen.chosen]
    above = sum(row[ERROR] > 0.45 + row.performer / 100 for _, row in chosen.iterrows())
    assert 0 < above < len(chosen) == 128
    assert (f"the rescaled error of 128 fits is 0.080 to 0.710; it is above that of gradient × input (0.020 to 0.040) "
            f"in 128 and above that of the prior alone (0.450 to 0.470) in {above}.") in said
    assert ("**A strong filter loss**, dogs: the share of the prior's weights above 0 goes from 50% to 60%, and what the prior loss "
            "adds to the entropy with AdamW from a fitting start from +0.10 to +0.05 nats; accuracy from 99.0% to 98.0%. Groups that lose all "
            "their filters: ear; that get some: none.") in said


def test_how_well_a_deeper_g_fits_is_said_beside_the_small_one():
    made = record(lost={(0, Fit(*LAST, "none", depth=DEEPER))})
    said = varied.said(made)
    assert ("**A deeper g** has the rates of the small one. The mean squared error of training scores, baseline → ours: AdamW from a "
            "fitting start — → 0.4 (the small one 0.5 → 0.6; the scores' variance 25.0); ") in said
    made["fits"] = [row for row in made["fits"] if DEEPER not in row[:8]]
    assert "A deeper g" not in varied.said(made) and "ResNet" not in varied.said(made)


def test_a_gain_that_is_none_has_no_shares():
    made = record()
    place = made["columns"]["fits"].index("normalised_entropy")
    for row in made["fits"]:
        row[place] = 0.5
    assert "the measured prior brings no gain with SGD from a high start." in varied.said(made)


def test_the_record_that_comes_with_the_project():
    kept = varied.read()
    assert {(p["architecture"], p["category"], p["fading"]) for p in kept["performers"]} <= {
        (made.architecture, made.category, made.fading) for made in MADE}
    assert len(kept["fits"]) <= kept["planned"]["fits"]
    assert "rises" in varied.said(kept) and "H / ln n ;" not in varied.said(kept)
    page = (project_root() / "book" / "right" / "when.ipynb").read_text()
    for words in (f"weight of {STRONG:g} throughout", f"preset's {kept['settings']['filter_loss']:g} is divided", f"ResNet-{DEEPER}"):
        assert words in page, words


def test_the_readmes_row_has_the_records_numbers():
    kept = varied.read()
    gains = [value for name, some in varied.arms(kept).items() if name != varied.DEEP
             for value in varied.differences(some, varied.HOME, varied.EVEN)]
    row = next(line for line in (project_root() / "README.md").read_text().splitlines() if "the rest of the factorial" in line)
    assert f"SGD from a high start {min(gains):+.3f} to {max(gains):+.3f} by start of b" in row
    counted = next(line for line in varied.said(kept).splitlines() if "In all" in line)
    (up, of), (too, others) = (re.search(rf"{where} (\d+) of (\d+)", counted).groups()
                               for where in ("raises H / ln n in", "other regimes in"))
    assert f"above 0 in {up} of {of} pairs of fits; elsewhere above 0 in {too} of {others}" in row
