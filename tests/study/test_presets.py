"""Presets: checked on load, and what belongs to them has a path of its own."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
import yaml

from semquant.checks import InputError
from semquant_book.study import presets as s, store


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one preset that can be spoilt."""
    folder = tmp_path / "book" / "presets"
    folder.mkdir(parents=True)
    values = yaml.safe_load((s.project_root() / "book" / "presets" / "smoke.yml").read_text())
    monkeypatch.setenv("SEMQUANT_ROOT", str(tmp_path))

    def write(**changes):
        content = {k: v for k, v in (values | changes).items() if v != "drop"}
        (folder / "mine.yml").write_text(yaml.safe_dump(content))

    write()
    return write


def test_every_preset_loads_and_has_every_key():
    assert {"smoke", "quick", "cpu"} <= set(s.preset_names())
    for name in s.preset_names():
        assert s.load_settings(name).preset == name


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"betta": 3}, r"^key in preset mine: 'betta' is not one of [0-9]+ names; the nearest are beta,"),
        ({"beta": "high"}, r"^beta: 'high' is not a number$"),
        ({"beta": -1}, r"^beta: -1.0 is not a number of at least 0$"),
        ({"targets": []}, r"^targets: \[\] is empty or names something twice; accepted: one or more"),
        ({"targets": ["Male", "Male"]}, r"^targets: \['Male', 'Male'\] is empty or names something"),
        ({"targets": ["Mail"]}, r"^targets: 'Mail' is not one of .*did you mean Male"),
        ({"selection_sizes": [40]}, r"^selection_sizes: 40 is not a whole number .*39"),
        ({"flip_faces": 65}, r"^flip_faces: 65 is more than the 64 test faces"),
        ({"shared": "beside"}, r"^shared: 'beside' is not one of before, after"),
        ({"batch_norm": 1}, r"^batch_norm: 1 is not true or false$"),
        ({"categories": ["dog", "unicorn"]}, r"^categories: 'unicorn' is not one of bird, cat"),
        ({"categories": "dog"}, r"^categories: 'dog' is not a list of text$"),
        ({"architectures": ["resnet"]}, r"^architectures: 'resnet' is not one of alexnet"),
        ({"train_images": 31}, r"^train_images: 31 is odd"),
        ({"train_images": 3.5}, r"^train_images: 3.5 is not a whole number$"),
        ({"performer_epochs": 0}, r"^performer_epochs: 0 is not a whole number of at least 1$"),
        ({"explainer": "huge"}, r"^explainer: 'huge' is not one of small, 18"),
        ({"threads": "drop"}, r"^preset: mine.yml lacks threads$"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(project, changes, message):
    project(**changes)
    with pytest.raises(InputError, match=message) as error:
        s.load_settings("mine")
    assert "\n" not in str(error.value)


def test_an_unknown_preset_names_the_known_ones(project):
    with pytest.raises(InputError, match=r"^preset: 'quik' is not one of mine$"):
        s.load_settings("quik")


def test_changes_are_checked_like_a_preset():
    assert s.load_settings("smoke", beta=3, device=None).beta == 3.0
    with pytest.raises(InputError, match="^categories: 'dgo' is not one of"):
        s.load_settings("smoke", categories=["dgo"])


def test_what_changes_a_result_changes_its_path(tmp_path, monkeypatch):
    """Every field either says how many results there are, or is part of a result's path."""
    monkeypatch.setenv("SEMQUANT_DATA", str(tmp_path))

    def path(settings):
        return [store.explainer_path(settings, "alexnet", "dog", 0, "ours", scale, 0, optimizer)
                for scale, optimizer in (("literal", "adamw"), ("scaled", "adamw"), ("literal", "sgd"))]

    def face_paths(settings):
        return (store.attribute_path(settings, "Male", 0, "ours", "near_zero", 0),
                store.selection_path(settings, "Male", 0))

    published = {"size": 224, "face_size": 224, "width": 1, "face_width": 1, "batch_norm": False,
                 "face_fc": 4096}
    other = {"size": 72, "width": 0.5, "batch_norm": False, "amp": True, "channels_last": False,
             "explainer": "18", "weight_decay": 0.5, "dropout": 0.5, "face_size": 40,
             "face_width": 0.5, "shared": "after", "selection_sizes": [2],
             "last_layers": ["default"], "images": "pascal_part", "faces": "celeba",
             "photo_shares": [0.8, 0.1, 0.1], "weights": "imagenet", "recipe": "predecessor",
             "interpretable_layers": 2, "explainer_bias_literal": "min", "explainer_bias_scaled": "mean"}
    elsewhere = {"preset", "categories", "architectures", "performer_seeds", "explainer_seeds",
                 "scales", "explainer_optimizers", "control_without_filter_loss", "method_beta", "device", "threads",
                 "targets", "workers", "cache"}
    both = {"data_seed", "batch_norm", "dropout", "weight_decay", "explainer", "amp",
            "channels_last", "weights", "recipe"}
    first = [f.name for f in fields(s.Settings)]
    faces = set(first[first.index("targets"):first.index("device")])
    for field in set(first) - elsewhere:
        beside = published if field == "weights" else {}  # which needs the published networks
        base = s.load_settings("smoke", **beside)
        value = other[field] if field in other else getattr(base, field) * 2 + 2
        if field == "flip_faces":
            value = base.flip_faces - 1
        changed = s.load_settings("smoke", **beside, **{field: value})
        assert (path(changed) != path(base)) == (field not in faces), field
        assert (face_paths(changed) != face_paths(base)) == (field in faces | both), field
    for paths in ([store.explainer_path(s.load_settings("smoke", beta=b), "alexnet", "dog", 0,
                                        "baseline", "literal", 0) for b in (1, 10)],
                  [store.attribute_path(s.load_settings("smoke", attribute_beta=b), "Male", 0,
                                        "baseline", "default", 0) for b in (1, 10)]):
        assert paths[0] == paths[1]  # without the prior loss beta decides nothing


def test_a_setting_that_came_later_leaves_results_where_they_were(monkeypatch, tmp_path):
    """Digests of a commit before b's start and the optimiser were keys."""
    monkeypatch.setenv("SEMQUANT_BUILD", str(tmp_path))
    settings = s.load_settings("quick")
    assert [store.explainer_path(settings, "alexnet", "dog", 0, "ours", scale, 0).name
            for scale in ("literal", "scaled")] == [
                "alexnet-dog-p0-ours-literal-s0-7284ec3606.safetensors",
                "alexnet-dog-p0-ours-scaled-s0-7284ec3606.safetensors"]
    assert store.performer_path(settings, "alexnet", "dog", 0).name == (
        "alexnet-dog-s0-52eb6d8450.safetensors")


def test_each_start_of_b_concerns_its_own_reading():
    settings = s.load_settings("smoke")

    def names(settings):
        return [store.explainer_path(settings, "alexnet", "dog", 0, "ours", scale, 0).name
                for scale in ("literal", "scaled")]

    for place, key in enumerate(("explainer_bias_literal", "explainer_bias_scaled")):
        changed = [a != b for a, b in zip(names(settings), names(replace(settings, **{key: "mean"})))]
        assert changed == [place == 0, place == 1], key


def test_other_optimisers_are_fitted_once_in_the_first_reading():
    both = s.load_settings("smoke", explainer_optimizers=["adamw", "sgd"])
    runs, plain = store.explainer_runs(both), store.explainer_runs(s.load_settings("smoke"))
    assert runs[:len(plain)] == plain and {run[3] for run in plain} == {"adamw"}
    assert runs[len(plain):] == [("ours", "literal", 0, "sgd"), ("baseline", "literal", 0, "sgd")]
    assert len({store.explainer_path(both, "alexnet", "dog", 0, *run) for run in runs}) == len(runs)
    for name in ("cpu", "paper"):
        assert s.load_settings(name).explainer_optimizers == ("adamw", "sgd")


@pytest.mark.parametrize(("changes", "message"), [
    ({"explainer_optimizers": ["adam"]}, "^explainer_optimizers: 'adam' is not one of adamw, sgd"),
    ({"explainer_bias_scaled": "low"}, "^explainer_bias_scaled: 'low' is not one of zero, min, mean"),
    ({"photo_shares": [0.5, 0.5]}, r"^photo_shares: \[0.5, 0.5\] is not accepted; three numbers"),
    ({"photo_shares": [0.5, 0.6, -0.1]}, "^photo_shares: .* above 0 that add up to 1"),
    ({"weights": "imagenet"}, "^size: 64 does not go with weights: imagenet; accepted there: 224"),
    ({"weights": "imagnet"}, "^weights: 'imagnet' is not one of fresh, imagenet"),
    ({"recipe": "sgd"}, "^recipe: 'sgd' is not one of one_cycle, predecessor"),
    ({"cache": "tape"}, "^cache: 'tape' is not one of auto, memory, recompute"),
    ({"workers": -1}, "^workers: -1 is not a whole number of at least 0"),
    ({"size": 20}, "^size: 20 is not a whole number from 32 to 512$"),
    ({"width": 2}, "^width: 2.0 is not a number from 0.0625 to 1$"),
    ({"face_size": 36}, "^face_size: 36 is not accepted; below 160 a multiple of 8 is$"),
    ({"selection_sizes": ["all"]}, "^selection_sizes: 'all' is not a whole number$"),
    ({"scales": [1]}, "^scales: 1 is not text$"),
    ({"beta": True}, "^beta: True is not a number$"),
])
def test_values_that_cannot_be_used_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        s.load_settings("quick", **changes)


def test_what_settings_are_changed_to_is_checked_as_well():
    settings = s.load_settings("smoke")
    assert replace(settings, categories=["cat"]).categories == ("cat",)
    with pytest.raises(InputError, match="^beta: -1.0 is not a number of at least 0$"):
        replace(settings, beta=-1)
    with pytest.raises(TypeError, match="^betta: "):
        replace(settings, betta=1)
    with pytest.raises(FrozenInstanceError):
        settings.beta = 1.0


def test_the_paper_preset_has_the_papers_settings():
    paper = s.load_settings("paper")
    assert (paper.width, paper.explainer, paper.beta, paper.attribute_beta) == (1, "152", 10, 0.2)
    assert [paper.pixels(a) for a in s.ARCHITECTURES] == [227, 224, 224, 224]
    assert s.load_settings("quick").pixels("alexnet") == 64
    assert (paper.images, paper.faces, paper.weights) == ("pascal_part", "celeba", "imagenet")


def test_photographs_of_another_folder_have_results_of_their_own(tmp_path, monkeypatch):
    settings = s.load_settings("smoke", faces="celeba", images="pascal_part")
    paths = set()
    for name in ("one", "two"):
        for folder in ("celeba", "VOC2010"):
            (tmp_path / name / folder).mkdir(parents=True)
            (tmp_path / name / folder / f"{name}.jpg").write_text("x")
        monkeypatch.setenv("SEMQUANT_DATA", str(tmp_path / name))
        paths |= {store.face_performer_path(settings, 0),
                  store.performer_path(settings, "alexnet", "dog", 0)}
    assert len(paths) == 4
    monkeypatch.delenv("SEMQUANT_DATA")
    with pytest.raises(InputError, match="^data: no folder of real photographs is given"):
        store.face_performer_path(settings, 0)


def test_a_record_that_is_absent_or_broken_is_one_line(tmp_path):
    with pytest.raises(InputError, match="^record: .*no.json is not there$"):
        store.read_record(tmp_path / "no.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(InputError, match="^record: .*half.json is not JSON"):
        store.read_record(tmp_path / "half.json")


def test_a_record_says_what_was_run_and_what_it_took(tmp_path):
    with store.record(s.load_settings("smoke"), seed=3) as content:
        content["metrics"]["accuracy"] = 0.5
    back = store.read_record(store.write_record(tmp_path / "r.json", content))
    assert back["seed"] == 3 and back["settings"]["preset"] == "smoke"
    assert back["versions"]["torch"] and back["seconds"] >= 0 and back["peak_memory_mb"] > 10
