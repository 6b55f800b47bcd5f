"""Steps of attributes, on a record made by hand: which numbers stand where, and the count of targets."""

import pytest

from semquant_book.pages import steps
from semquant_book.study.presets import project_root
from semquant_book.study.record_book import RECORDS
from semquant_book.study.steps import MEASURED, TRUTHS, WAYS

TARGETS = ("Attractive", "Heavy_Makeup", "Male", "Young")
#: Rank agreement with flips by target, of what isn't 0.1.
RANKS = {"steps": (0.5, 0.6, 0.7, 0.2), "prior": (0.4, 0.2, 0.3, 0.3), "ridge": (0.45, 0.1, 0.1, 0.1)}


def record(seeds=1):
    rows = []
    for seed in range(seeds):
        for k, target in enumerate(TARGETS):
            for way in WAYS:
                rank = RANKS.get(way, (0.1,) * 4)[k] + 0.01 * seed
                values = {"rank_agreement": None if way == "equal_share" else rank, "error": 2 * (1 - rank),
                          "scaled_error": 1 - rank, "sign_agreement": 0.5}
                rows.append({"performer_seed": seed, "target": target, "method": way} | {
                    f"{m} {t}": values[m] for m in MEASURED for t in TRUTHS})
    truths = [{"performer_seed": seed, "target": target, "faces": {"flips": 120, "shapley": 40, "moves": 120},
               "change": 1.5, "y": 4.0, "step": 2.0, "cosine y": 0.5, "cosine step": 0.75}
              for seed in range(seeds) for target in TARGETS]
    return {"rows": rows, "truths": truths, "chosen": ["Young", "Male"]}


def test_every_way_has_a_name():
    assert set(steps.NAMES) == set(WAYS) and set(steps.TRUTH_NAMES) == set(TRUTHS)


def test_the_table_is_of_the_targets_that_had_no_say():
    table = steps.table(record())
    assert list(table.data.index[:3]) == ["whole steps", "prior weights alone", "ridge regression"]
    assert table.data.loc["whole steps"].tolist() == ["0.550", "0.450"] * 3
    assert table.data.loc["equal shares"].iloc[0] == "\N{EM DASH}"
    assert table.caption == "Mean of attractive and heavy makeup, 1 performer, 120 faces; no interval"
    assert steps.table(record(seeds=4)).caption.endswith("4 performers, 120 faces; ± is half the 95% interval")
    assert "±" in steps.table(record(seeds=4)).data.iloc[0, 0]


def test_each_target_has_its_line_and_is_counted_if_both_measures_are_better():
    said = steps.verdict(record())
    assert said.startswith("Nearer than the prior in rank agreement and in error for 3 of 4 targets:")
    lines = said.splitlines()[2:]
    assert lines[0].startswith("- **Attractive**: rank agreement 0.500, the prior 0.400, ours 0.100, the baseline 0.100; "
                               "the best of all others is ridge regression (0.450).")
    assert "Steps minus prior +0.100 (1 performer, no interval). Error after one factor 0.500, the prior 0.600; as it is " \
           "1.000" in lines[0]
    assert lines[2].startswith("- **Young**, on which it was chosen") or lines[3].startswith(
        "- **Young**, on which it was chosen")
    mixed = record()
    for row in mixed["rows"]:
        if row["method"] == "steps" and row["target"] == "Male":
            row["scaled_error flips"] = 0.9  # a better order, a worse size
    assert "for 2 of 4 targets" in steps.verdict(mixed)


def test_where_the_gain_comes_from_is_said():
    said = steps.against(record())
    assert "changes by 1.50 on average; the prior counts 4.00, a step 2.00" in said
    assert "real change is 0.50 and 0.75" in said and "same length has a rank agreement of 0.100, the whole step 0.550" in said
    assert ("tried, by rank agreement: whole steps to 0 0.100; whole steps to the mean 0.100; derivative, all others held "
            "0.100; derivative of the same length, corrected 0.100.") in said
    assert ("zeros has an error of 1, and steps have 0.900, whole steps, reach without labels 1.800, prior weights alone "
            "1.400, whose one factor") in said
    assert "Shapley values of six 0.550 (the prior 0.300; nearest whole steps, 0.550); moved" in said


def test_the_kept_record_fills_both():
    kept = steps.read()
    assert set(RECORDS["steps"].fields) <= set(kept) and set(record()["rows"][0]) == set(kept["rows"][0])
    assert steps.said() == f"{steps.verdict(kept)}\n\n{steps.against(kept)}"
    assert len(steps.table().data) == len(WAYS)


@pytest.mark.parametrize("target", TARGETS)
def test_the_steps_of_the_kept_record_are_nearer_than_the_prior(target):
    ranks = {row["method"]: row["rank_agreement flips"] for row in steps.read()["rows"] if row["target"] == target}
    assert ranks["steps"] > ranks["prior"]


def test_the_readmes_row_has_the_records_numbers():
    kept = steps.read()
    free = [target for target in TARGETS if target not in kept["chosen"]]
    rank, error = (steps.measured(kept, f"{measure} flips", free).iloc[:, 0] for measure in ("rank_agreement", "error"))
    row = next(line for line in (project_root() / "README.md").read_text().splitlines() if "of whole steps" in line)
    assert (f"{rank['steps']:.3f}, error {error['steps']:.3f}; without labels {rank['unlabelled']:.3f}, error "
            f"{error['unlabelled']:.3f}. The prior alone, with one factor fitted to the scores, {rank['prior']:.3f}, error "
            f"{error['prior']:.3f}; all zeros 1") in row
