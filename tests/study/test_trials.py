"""The trial: what is fitted and kept of a performer, and how performers come together in a record."""

from dataclasses import asdict, replace

import pytest

from semquant.checks import InputError
from semquant.training import Diverged
from semquant_book.press.cli import main
from semquant_book.study import experiment1, ranking, store, trials
from semquant_book.study.presets import load_settings
from semquant_book.study.record_book import RECORDS
from test_ranking import fewer_samples


def lost(*args, **options):
    raise Diverged("loss: became nan in epoch 1")


@pytest.fixture(scope="module")
def done(run):
    """The trial of a smoke performer; SGD's fits with the highest rate and a prior diverge."""
    fit = trials.distill_measured

    def distill(measured, **options):
        diverges = options["fit"].learning_rate == trials.HIGH_RATES[-1] and options["objective"].prior != "none"
        return (lost if diverges else fit)(measured, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SHOWN", 4)
        patch.setattr(ranking, "BACKGROUND", 20)
        patch.setattr(ranking.peers, "explain", fewer_samples(ranking.peers.explain))
        patch.setattr(trials, "EPOCHS", 2)
        patch.setattr(trials, "distill_measured", distill)
        said = trials.run_trial(run)
        assert said.startswith(f"{run.name}: trial in ")
        return store.read_record(store.trial_path(run.settings, run.architecture, run.category, run.seed))


def test_all_that_is_planned_is_fitted(done):
    fitted = [(row["optimizer"], row["start"], row["rate"], row["prior"]) for row in done["regimes"]]
    assert len(set(fitted)) == len(fitted) == 3 * 2 + 2 + 2 + 2 + 3
    for *regime, rates, priors in trials.FITS:
        for rate in rates:
            assert {(*regime, rate, prior) for prior in priors} <= set(fitted)
    assert all({*trials.REGIME_FIELDS, "chosen"} <= set(row) for row in done["regimes"])


def test_the_rate_counts_whose_baseline_leaves_the_least_on_training_images(done):
    home = [row for row in done["regimes"] if (row["optimizer"], row["start"]) == ("sgd", "high")]
    left = {row["rate"]: row["squared_error"] for row in home if row["prior"] == "none"}
    assert len(left) == 3
    counts = min(left, key=left.get)
    assert {row["rate"] for row in home if row["chosen"]} == {counts}
    assert {row["rate"] for row in home if row["prior"] in trials.CONTROLS} == {counts}
    assert all(row["chosen"] for row in done["regimes"] if row not in home)


def test_a_fit_that_diverged_is_kept_without_measures(done):
    for row in done["regimes"]:
        diverged = row["rate"] == trials.HIGH_RATES[-1] and row["prior"] != "none"
        known = [row[name] for name in trials.REGIME_FIELDS if row[name] is not None]
        assert (known == []) == diverged, row
        assert diverged or None not in (row["entropy"], row["squared_error"], row["accuracy"])


def test_the_squared_error_is_that_of_the_last_epoch(run, done):
    train = run.measured("train")[:trials.IMAGES]
    how = trials.regimes.options(replace(run.settings, explainer_epochs=2), "adamw", "high", 1e-2, "none")
    fitted = trials.distill_measured(train, **how)
    row = next(row for row in done["regimes"] if (row["optimizer"], row["start"], row["prior"]) == ("adamw", "high", "none"))
    assert row["squared_error"] == pytest.approx(fitted.history[-1]["distillation"], rel=1e-3)
    assert row["accuracy"] == pytest.approx(run.judge(fitted)["accuracy"], abs=1e-4)


def test_every_way_is_judged_against_every_truth(done):
    assert [row["method"] for row in done["ways"]] == list(trials.WAYS)
    assert all(set(row) == {"method", *trials.WAY_FIELDS} for row in done["ways"])
    assert all(row["completeness"] >= 0 and row["seconds"] >= 0 for row in done["ways"])
    assert set(trials.TRUTH_FIELDS) <= set(done["truth"]) and done["truth"]["images"] <= 4


def test_where_every_rate_diverges_none_counts(run, monkeypatch):
    monkeypatch.setattr(trials, "distill_measured", lost)
    rows = list(trials._fits(run, None))
    assert len(rows) == 3 * 2 + 2 + 2 + 3 and not any(row["chosen"] for row in rows)


def test_the_trial_gathers_into_a_record(run, done, project):
    content = trials.gather(run.settings)
    assert set(RECORDS["trials"].fields) <= set(content)
    assert len(content["regimes"]) == len(done["regimes"]) and len(content["ways"]) == len(trials.WAYS)
    for table in ("regimes", "ways"):
        names = content["columns"][table]
        assert [dict(zip(names, row)) for row in content[table]] == [{"performer": 0} | row for row in done[table]]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without a record of the trial."""
    (tmp_path / "book" / "records").mkdir(parents=True)
    monkeypatch.setattr(trials, "project_root", lambda: tmp_path)
    return tmp_path / "book" / "records" / "trials.json"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path / "build"))
    return load_settings("smoke", architectures=["alexnet", "vgg_m"], categories=["cat", "dog"], performer_seeds=2)


def keep(settings, architecture, category, seed, seconds=1.0):
    """Put a trial into the store whose numbers say whose it is."""
    mark = f"{architecture}-{category}-{seed}"
    store.write_record(store.trial_path(settings, architecture, category, seed), {
        "regimes": [{"prior": mark, "entropy": 1.0}, {"prior": mark, "entropy": None}],
        "ways": [{"method": mark, "seconds": 0.5}], "truth": dict.fromkeys(trials.TRUTH_FIELDS, 0.25) | {"seconds": 9},
        "accuracy": 0.75, "seconds": seconds, "settings": asdict(settings), "versions": {}, "peak_memory_mb": 1})


def whose(content, table, field):
    """Of each row, the performer by its place and by its mark."""
    place = content["columns"][table].index(field)
    names = [f"{p['architecture']}-{p['category']}-{p['performer_seed']}" for p in content["performers"]]
    return [(names[row[0]], row[place]) for row in content[table]]


def test_performers_come_in_the_order_of_their_seeds(settings, project):
    for about in (("vgg_m", "dog", 1), ("alexnet", "dog", 0), ("alexnet", "cat", 1)):
        keep(settings, *about, seconds=2.0)
    content = trials.gather(settings)
    there = [tuple(p[key] for key in ("architecture", "category", "performer_seed")) for p in content["performers"]]
    assert there == [("alexnet", "dog", 0), ("alexnet", "cat", 1), ("vgg_m", "dog", 1)]
    assert trials.performers(content) == set(there)
    assert (content["planned"], content["seconds"], len(content["regimes"]), len(content["ways"])) == (8, 6.0, 6, 3)
    for table, field in (("regimes", "prior"), ("ways", "method")):
        assert all(name == mark for name, mark in whose(content, table, field))
    assert content["performers"][0]["nonlinearity"] == 0.25 and content["performers"][0]["accuracy"] == 0.75


def test_new_trials_join_those_of_the_committed_record(settings, project):
    keep(settings, "vgg_m", "dog", 1)
    store.write_record(project, trials.gather(settings))
    keep(settings, "vgg_m", "dog", 1, seconds=99.0)  # there already
    keep(settings, "alexnet", "cat", 0)
    content = trials.gather(settings)
    assert [p["performer_seed"] for p in content["performers"]] == [1, 0]  # what was there stays where it was
    assert content["seconds"] == 2.0 and len(content["ways"]) == 2
    assert all(name == mark for name, mark in whose(content, "regimes", "prior"))


def test_rows_are_put_under_the_committed_records_columns(settings, project):
    keep(settings, "vgg_m", "dog", 1)
    content = trials.gather(settings)
    content["columns"]["ways"] = ["performer", "seconds", "method"]
    content["ways"] = [[0, 0.5, "vgg_m-dog-1"]]
    store.write_record(project, content)
    keep(settings, "alexnet", "cat", 0)
    assert trials.gather(settings)["ways"] == [[0, 0.5, "vgg_m-dog-1"], [1, 0.5, "alexnet-cat-0"]]


def test_a_committed_record_of_other_settings_is_refused_in_one_line(settings, project):
    keep(settings, "alexnet", "cat", 0)
    store.write_record(project, trials.gather(settings))
    trials.gather(replace(settings, threads=2))  # it changes no number
    with pytest.raises(InputError, match="has other settings of width, beta; accepted: those of preset smoke, or move") as error:
        trials.gather(replace(settings, width=0.125, beta=3.0))
    assert "\n" not in str(error.value)


def test_the_committed_record_can_be_gone_on_with():
    settings = load_settings("cpu")
    assert trials.performers(trials.gather(settings)) <= set(trials.planned(settings))


def test_without_a_trial_a_line_says_how_to_run_them(settings, project, capsys):
    with pytest.raises(InputError, match="^trials: none is done; accepted: semquant book --preset smoke --target trials"):
        trials.gather(settings)
    assert main(["record", "trials", "--preset", "smoke"]) == 1
    assert capsys.readouterr().err.startswith("semquant: trials: none is done")


def test_the_command_runs_one_performers_trial(settings, monkeypatch):
    asked = []
    monkeypatch.setattr(trials, "run_trial", lambda run: asked.append(run) or "done")
    assert main(["trial", "--preset", "smoke", "--architecture", "vgg_s", "--category", "cow", "--seed", "2"]) == 0
    assert asked == [experiment1.Run(load_settings("smoke"), "vgg_s", "cow", 2)]
