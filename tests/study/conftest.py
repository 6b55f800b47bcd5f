"""What tests of recorded studies share: a smoke performer of their own."""

from dataclasses import replace

import pytest

from semquant_book.study import experiment1
from semquant_book.study.presets import load_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Experiment 1's AlexNet in the smoke preset; a module keeps what it trains in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMQUANT_BUILD", str(tmp_path_factory.mktemp("build")))
        settings = replace(load_settings("smoke", device="cpu"), architectures=("alexnet",))
        yield experiment1.Run(settings, "alexnet", settings.categories[0])
