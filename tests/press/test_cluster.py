"""The cluster's page says what the profile says, and both what the workflow has."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
PAGE = (ROOT / "book/reproduce/gpu_cluster.md").read_text(encoding="utf-8")


def test_the_page_shows_the_profile():
    shown = re.search(r"```yaml\n# profiles/slurm/config.yaml\n(.*?)```", PAGE, re.S)[1]
    assert PROFILE.read_text(encoding="utf-8").split("\n", 1)[1] == shown
    assert yaml.safe_load(shown)["executor"] == "slurm"


def test_the_extra_brings_the_plugin_that_was_tried():
    (plugin,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]["cluster"]
    assert plugin == "snakemake-executor-plugin-slurm==" + re.search(r"the plugin ([\d.]+\d)", PAGE)[1]


def test_rules_that_are_named_ask_for_a_gpu():
    rules = dict(re.findall(r"^rule (\w+):(.*?)(?=^rule |\Z)", (ROOT / "Snakefile").read_text(encoding="utf-8"), re.S | re.M))
    named = set(re.findall(r"(\w+):(?:runtime|gpu_model)=", PAGE))
    assert named and all("gpu" in rules[name] for name in named)


@pytest.mark.skipif(importlib.util.find_spec("snakemake_executor_plugin_slurm") is None, reason="the extra cluster is not installed")
def test_a_dry_run_with_the_profile_plans_the_same_jobs(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE.parent), "--config", "preset=smoke", "gpu=1", "-n",
               "--quiet", "rules", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    environment = os.environ | {"SEMQUANT_BUILD": str(tmp_path), "SEMQUANT_ROOT": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 0 and re.search(r"^performer +\d+", done.stdout, re.M), done.stdout + done.stderr
