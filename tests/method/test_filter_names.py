"""Names of filters: what a file may hold, one line for what it may not, and where they are used."""

import pytest
import torch
from torch import nn

from semquant import FilterConcepts, distill
from semquant.checks import InputError
from semquant.names import in_full, read_names, write_names
from semquant.training import FitOptions

NAMES = {3: "wheel: left", 1: "Auge ä", 2: "no"}


def test_what_is_written_is_read(tmp_path):
    path = write_names(tmp_path / "names.yml", NAMES, "features.3")
    assert path.read_text() == "layer: features.3\nnames:\n  1: Auge ä\n  2: 'no'\n  3: 'wheel: left'\n"
    assert read_names(path, 4, "features.3") == NAMES
    assert read_names(write_names(tmp_path / "b.yml", {})) == {}


@pytest.mark.parametrize("text, said", [
    ("names: {1: a, 9: b}", "^names: 9 is not a whole number from 0 to 3"),
    ("names: {-1: a}", "^names: -1 is not"),
    ("names: {one: a}", "^names: 'one' is not a whole number"),
    ("names: {true: a}", "^names: True is not a whole number"),
    ("names:\n  1: a\n  1: b", "names.yml has 1 twice"),
    ("names: {1: a}\nnames: {2: b}", "names.yml has 'names' twice"),
    ("names: [a, b]", "has no entry names with one line a filter"),
    ("- a", "has no entry names"),
    ("", "has no entry names"),
    ("names: {1: a}\nlayers: x", "the entry: 'layers' is not one of layer, names .did you mean layer"),
    ("names: {1: no}", "^names: False of filter 1 is not a line of text"),
    ("names: {1: ' '}", "^names: ' ' of filter 1 is not"),
    ("names: {1: \"a\\nb\"}", r"^names: 'a\\nb' of filter 1 is not"),
    ("names: {1: a}\nlayer: features.3", "names filters of features.3, not of features.0"),
    ("names: {1: a", r"is not YAML \(line "),
    ("names: {[1]: a}", "^names: "),
    ("names: !!python/object/apply:os.getcwd []", r"is not YAML \(line 1\)"),
])
def test_a_bad_file_is_one_line(tmp_path, text, said):
    path = tmp_path / "names.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read_names(path, 4, "features.0")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match="can't be read .No such file"):
        read_names(tmp_path / "none.yml")
    (tmp_path / "b.yml").write_bytes(b"\xff\xfe\x00names")
    with pytest.raises(InputError, match="is not YAML"):
        read_names(tmp_path / "b.yml")


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = write_names(tmp_path / "names.yml", {0: "a"})
    before = path.read_text()
    with pytest.raises(InputError, match="names: 7 of filter 0"):
        write_names(path, {0: 7})
    with pytest.raises(InputError, match="can't be written"):
        write_names(tmp_path / "no folder" / "names.yml", {0: "b"})
    assert path.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["names.yml"]


def test_filters_of_one_name_are_told_apart():
    assert in_full({0: "eye", 2: "eye", 3: "ear"}, 5) == ["eye (0)", "filter 1", "eye (2)", "ear", "filter 4"]


def test_names_are_used_by_concepts_fits_and_explanations(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()
    images = torch.randn(8, 3, 17, 17)
    plain = FilterConcepts("0", rectified=True)
    path = write_names(tmp_path / "names.yml", {2: "wheel"}, "0")
    for concepts in (plain.with_names(path), plain.with_names({2: "wheel"})):
        assert concepts.rectified and concepts.layer == "0"
        wanted = ["filter 0", "filter 1", "wheel", "filter 3"]
        assert concepts.names(4) == wanted
        assert distill(net, concepts, images, 1, fit=FitOptions(epochs=1)).explain(images).names == wanted
    assert plain.names(4) == [f"filter {i}" for i in range(4)]  # left as it was
    with pytest.raises(InputError, match="names: 2 is not a whole number from 0 to 1"):
        concepts.names(2)
    with pytest.raises(InputError, match="not of 1"):
        FilterConcepts("1").with_names(path)
