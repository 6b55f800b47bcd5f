"""The command as a person uses it: one clear line and an exit status."""

import os
import subprocess
import sys

import pytest


def semquant(*arguments: str, build) -> subprocess.CompletedProcess:
    environment = os.environ | {"SEMQUANT_BUILD": str(build)}
    return subprocess.run([sys.executable, "-m", "semquant_book", *arguments], env=environment,
                          capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["book", "--preset", "quik"], "preset: 'quik' is not one of celeba, cpu, paper, photographs, quick, smoke"),
        (["book", "--preset", "smoke", "--cores", "two"], "cores: 'two' is neither"),
        (["book", "--preset", "smoke", "--data", "/no/such"], "data: /no/such is not a folder"),
        (["draw", "--preset", "smoke", "--category", "unicorn"],
         "category: 'unicorn' is not one of bird, cat, cow, dog, horse, sheep"),
        (["performer", "--preset", "smoke", "--architecture", "alexnt"],
         "architecture: 'alexnt' is not one of alexnet, vgg_m, vgg_s, vgg16, "
         "efficientnet_lite0 (did you mean alexnet?)"),
        (["explainers", "--preset", "smoke", "--architecture", "vgg_m", "--seed", "-1"],
         "seed: -1 is not a whole number of at least 0"),
        (["trial", "--preset", "smoke", "--architecture", "vgg_m", "--category", "unicorn"],
         "category: 'unicorn' is not one of bird, cat, cow, dog, horse, sheep"),
        (["faces", "explainers", "--preset", "smoke", "--target", "Atractive"],
         "target: 'Atractive' is not one of"),
        (["faces", "paint", "--preset", "smoke"],
         "step: 'paint' is not one of draw, performer, survey, explainers, selection"),
        (["notebook", "no.ipynb", "out.ipynb"], "notebook: no.ipynb is not there"),
    ],
)
def test_bad_input_is_one_line_and_status_1(arguments, message, tmp_path):
    done = semquant(*arguments, build=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("semquant: ")
    assert message in done.stderr


def test_a_build_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = semquant("book", "--preset", "smoke", build=tmp_path / "file" / "build")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "can't be written" in done.stderr


def test_wrong_usage_is_status_2(tmp_path):
    assert semquant("performer", build=tmp_path).returncode == 2
    assert semquant("fly", build=tmp_path).returncode == 2


def test_importing_the_package_is_quick_and_names_are_found():
    code = ("import sys, semquant; assert 'torch' not in sys.modules; "
            "from semquant import distill, FilterConcepts; assert 'torch' in sys.modules")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
