# The whole reproduction as a graph of jobs: data -> performer -> explainers -> notebooks -> book.
#
#   snakemake --cores all --config preset=quick          (what `make book` runs)
#   snakemake --cores all results                        (without notebooks and book)
#
# Every job computes with a fixed number of threads, so that its numbers repeat, and writes whole
# files only. What the training of a performer needs to go on after it was killed is in
# _build/checkpoints; the other jobs start again, which costs minutes but in the paper preset, where
# the explainers of one attribute are a job of hours.

import json
import os
from pathlib import Path

from semquant_book.study import presets as S
from semquant_book.study import store
from semquant_book.press.site import toc_pages

PRESET = config.get("preset", "quick")
DATA = config.get("data", "")
SETTINGS = S.load_settings(PRESET)
ROOT = S.project_root(workflow.basedir)
HERE = S.build_root() / PRESET
LIBRARY = ROOT / "lib"
THREADS = SETTINGS.threads
GPU = int(config.get("gpu", 0))  # GPUs a training job asks a cluster for
# numeric libraries start no threads of their own beside torch's
ENVIRONMENT = " ".join(f"{name}={THREADS}" for name in
                       ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"))
RUN = f"{ENVIRONMENT} PYTHONHASHSEED=0 python -m semquant_book"


def sources(*names):
    return [str(LIBRARY / f"{name}.py") for name in names]


VIEWS = [str(p) for p in sorted((LIBRARY / "semquant_book" / "views" / "scripts").iterdir())]
DATA_SOURCES = sources("semquant_book/datasets/__init__", "semquant_book/datasets/drawn/animals", "semquant_book/datasets/drawn/anatomy",
                       "semquant_book/datasets/drawn/bodies", "semquant_book/datasets/drawn/drawing", "semquant_book/datasets/drawn/heads",
                       "semquant_book/datasets/parallel", "semquant_book/datasets/drawn/scenes", "semquant_book/files")
FACE_SOURCES = sources("semquant_book/datasets/drawn/attributes", "semquant_book/datasets/drawn/drawing", "semquant_book/datasets/drawn/faces",
                       "semquant_book/datasets/drawn/garments", "semquant_book/datasets/drawn/hairstyles", "semquant_book/datasets/drawn/looks",
                       "semquant_book/datasets/parallel", "semquant_book/datasets/drawn/portraits", "semquant_book/datasets/drawn/shading", "semquant_book/files")
if SETTINGS.images == "pascal_part":
    DATA_SOURCES = sources("semquant_book/datasets/__init__", "semquant_book/datasets/pascal_part")
if SETTINGS.faces == "celeba":
    FACE_SOURCES = sources("semquant_book/datasets/drawn/faces", "semquant_book/datasets/celeba", "semquant/rows")
PERFORMER_SOURCES = sources("semquant/networks/interpretable", "semquant_book/study/jobs", "semquant/networks/performers", "semquant/training", "semquant/parts", "semquant_book/study/pretrained",
                            "semquant_book/study/experiment1")
FACE_PERFORMER_SOURCES = sources("semquant_book/study/jobs", "semquant/networks/performers", "semquant/training", "semquant_book/study/pretrained", "semquant_book/study/experiment2")
EXPLAINER_SOURCES = sources("semquant/concepts", "semquant/rows", "semquant/priors", "semquant/losses", "semquant/explainers", "semquant/explanation",
                            "semquant/distillation", "semquant_book/study/evaluation", "semquant/metrics", "semquant/checks")


def performers(architectures, category, controls=True):
    """Weights of all performers of a category: all seeds, and the controls."""
    return [str(store.performer_path(SETTINGS, a, category, seed, filter_loss=loss))
            for a in architectures for seed in range(SETTINGS.performer_seeds)
            for loss in ((True, False) if controls and a in SETTINGS.control_without_filter_loss
                         else (True,))]


def explainers(architectures, category, seeds=None):
    return [str(store.explainer_path(SETTINGS, a, category, seed, *run))
            for a in architectures
            for seed in (range(SETTINGS.performer_seeds) if seeds is None else seeds)
            for run in store.explainer_runs(SETTINGS)]


def with_records(paths):
    return [p for path in paths for p in (path, path.removesuffix(".safetensors") + ".json")]


CATEGORY = "dog" if "dog" in SETTINGS.categories else SETTINGS.categories[0]
RESULTS = with_records([p for category in SETTINGS.categories
                        for p in performers(SETTINGS.architectures, category)
                        + explainers(SETTINGS.architectures, category)])
PAGES = [page for page in toc_pages(ROOT) if (ROOT / f"{page}.ipynb").exists()]
EXECUTED = {page: str(HERE / "notebooks" / f"{page}.ipynb") for page in PAGES}


FACES = [str(store.faces_record(SETTINGS))]
SEEDS = range(SETTINGS.performer_seeds)


def face_performer(seed):
    return with_records([str(store.face_performer_path(SETTINGS, seed))])


def surveys(seed):
    return [str(store.survey_path(SETTINGS, seed, split)) for split in S.SPLITS] \
        + ([str(store.flips_path(SETTINGS, seed))] if SETTINGS.faces == "drawn" else [])


def attribute_explainers(targets, seed):
    return with_records([str(store.attribute_path(SETTINGS, target, seed, *run))
                         for target in targets for run in store.attribute_runs(SETTINGS)])


def selections(targets, seed):
    return [str(store.selection_path(SETTINGS, target, seed)) for target in targets]


def of_faces(targets=SETTINGS.targets):
    """All that the pages of Experiment 2 read, for some targets."""
    return FACES + [p for seed in SEEDS for p in
                    face_performer(seed) + surveys(seed) + attribute_explainers(targets, seed)]


RESULTS_1 = RESULTS
RESULTS = RESULTS_1 + of_faces() + [p for seed in SEEDS for p in selections(SETTINGS.targets, seed)]


rule all:
    input: str(HERE / "html" / "index.html")


rule results:
    input: RESULTS


rule data:
    input: DATA_SOURCES
    output: str(store.data_record(SETTINGS, "{category}"))
    threads: THREADS * 2
    priority: 40  # first: later on two free cores come together seldom
    message: "draw the images of {wildcards.category}"
    shell: RUN + " draw --preset {PRESET} --category {wildcards.category}"


for architecture in SETTINGS.architectures:
    for category in SETTINGS.categories:
        for seed in range(SETTINGS.performer_seeds):
            for loss in (True, False):
                if not loss and architecture not in SETTINGS.control_without_filter_loss:
                    continue
                flag = "" if loss else " --without-filter-loss"
                name = f"{architecture} {category} seed {seed}" + ("" if loss else " (no filter loss)")

                rule:
                    name: f"performer_{architecture}_{category}_{seed}_{'with' if loss else 'without'}"
                    input:
                        str(store.data_record(SETTINGS, category)),
                        DATA_SOURCES + PERFORMER_SOURCES,
                    output:
                        with_records([str(store.performer_path(SETTINGS, architecture, category, seed,
                                                           filter_loss=loss))]),
                    threads: THREADS
                    resources: gpu=GPU
                    # the longest jobs first, so that no core waits for them at the end
                    priority: (20 if architecture == "vgg16" else 10) - (0 if loss else 9)
                    message: f"train the performer {name}"
                    params: command=f"performer --preset {PRESET} --category {category} "
                                    f"--architecture {architecture} --seed {seed}{flag}"
                    shell: RUN + " {params.command}"

            rule:
                name: f"explainers_{architecture}_{category}_{seed}"
                input:
                    performers([architecture], category, controls=False)[seed],
                    EXPLAINER_SOURCES,
                output:
                    with_records(explainers([architecture], category, [seed])),
                    str(store.reference_path(SETTINGS, architecture, category, seed)),
                threads: THREADS
                resources: gpu=GPU
                priority: 5
                message: f"fit the explainers of {architecture} {category} seed {seed}"
                params: command=f"explainers --preset {PRESET} --category {category} "
                                f"--architecture {architecture} --seed {seed}"
                shell: RUN + " {params.command}"


rule faces:
    input: FACE_SOURCES
    output: FACES
    threads: THREADS * 2
    priority: 41
    message: "draw the faces"
    shell: RUN + " faces draw --preset {PRESET}"


for seed in SEEDS:

    rule:
        name: f"performer_faces_{seed}"
        input: FACES, FACE_SOURCES, FACE_PERFORMER_SOURCES
        output: face_performer(seed)
        threads: THREADS
        resources: gpu=GPU
        priority: 30  # everything of Experiment 2 waits for it
        message: f"train the performer of 40 attributes, seed {seed}"
        params: command=f"faces performer --preset {PRESET} --seed {seed}"
        shell: RUN + " {params.command}"

    rule:
        name: f"surveys_{seed}"
        input: face_performer(seed), sources("semquant/concepts", "semquant_book/study/experiment2", "semquant/priors")
        output: surveys(seed)
        threads: THREADS
        resources: gpu=GPU
        priority: 29
        message: f"measure scores and priors of all faces, seed {seed}"
        params: command=f"faces survey --preset {PRESET} --seed {seed}"
        shell: RUN + " {params.command}"

    for target in SETTINGS.targets:

        rule:
            name: f"explainers_{target}_{seed}"
            input: surveys(seed), EXPLAINER_SOURCES, sources("semquant_book/study/experiment2")
            output: attribute_explainers([target], seed)
            threads: THREADS
            resources: gpu=GPU
            priority: 8
            message: f"fit the explainers of {target}, seed {seed}"
            params: command=f"faces explainers --preset {PRESET} --target {target} --seed {seed}"
            shell: RUN + " {params.command}"

        rule:
            name: f"selection_{target}_{seed}"
            input: surveys(seed), EXPLAINER_SOURCES, sources("semquant_book/study/experiment2", "semquant_book/study/concept_choice")
            output: selections([target], seed)
            threads: THREADS
            resources: gpu=GPU
            priority: 7
            message: f"choose concepts of {target} at random, seed {seed}"
            params: command=f"faces selection --preset {PRESET} --target {target} --seed {seed}"
            shell: RUN + " {params.command}"


def needs(page):
    """The results a notebook reads; Snakemake makes them first."""
    name = Path(page).name
    if name in SETTINGS.architectures:
        return with_records(performers([name], CATEGORY) + explainers([name], CATEGORY))
    if "/method/" in f"/{page}":
        recorded = [str(p) for p in sorted((ROOT / "book" / "records").glob("beta-*.json"))]
        return with_records(performers(["alexnet"], CATEGORY) + explainers(["alexnet"], CATEGORY)) \
            + (recorded + sources("semquant_book/study/sweeps") if name in ("bias_interpreting", "priors") else [])
    if name == "animals":
        return [str(store.data_record(SETTINGS, CATEGORY))]
    if name == "live":
        return (with_records(performers(["alexnet"], CATEGORY) + explainers(["alexnet"], CATEGORY))
                + FACES + face_performer(0)
                + surveys(0) + EXPLAINER_SOURCES + sources("semquant_book/pages/form", "semquant_book/views/kernel", "semquant_book/pages/live", "semquant_book/views/redistill"))
    if name == "faces":
        return FACES
    if name in ("departures", "errata"):  # book/*.yml, which all pages depend on
        return []
    if name == "photographs":
        return [str(p) for p in sorted((ROOT / "book" / "records").glob("*.json"))]
    if name == "paper_preset":
        return [str(ROOT / "book" / "records" / "paper-check.json"),
                str(ROOT / "book" / "presets" / "paper.yml"), sources("semquant_book/study/rehearsal", "semquant/rows")]
    if name == "celeba":
        return [str(ROOT / "book" / "records" / "celeba.json"),
                sources("semquant_book/datasets/celeba", "semquant_book/study/records", "semquant_book/study/experiment2"), EXPLAINER_SOURCES]
    if "/experiment2/" in f"/{page}":
        targets = [t for t in SETTINGS.targets if t.lower() == name] or SETTINGS.targets
        more = selections(targets, 0) if name == "concept_selection" else []
        return of_faces(targets) + more
    if name == "efficientnet_lite0":
        return [str(ROOT / "book" / "records" / "efficientnet_lite0-dog.json"),
                sources("semquant_book/datasets/pascal_part", "semquant_book/study/frozen_trunk", "semquant_book/study/pretrained"), EXPLAINER_SOURCES]
    return RESULTS if name in ("claims", "intro") else RESULTS_1


def parameters(page):
    """The values that the book is executed with, for the parameters that a notebook has."""
    notebook = json.loads((ROOT / f"{page}.ipynb").read_text())
    names = "\n".join("".join(cell["source"]) for cell in notebook["cells"]
                      if "parameters" in cell["metadata"].get("tags", []))
    given = {"preset": PRESET, "category": CATEGORY, "data": DATA}
    about = {"animals": SETTINGS.images, "faces": SETTINGS.faces}.get(Path(page).name, "drawn")
    if about != "drawn":  # pages about the drawings, in a preset of photographs
        given["preset"] = "quick"
    if Path(page).name in ("celeba", "paper_preset"):  # these have a preset of their own
        del given["preset"]
    return " ".join(f"-p {name} '{value}'" for name, value in given.items()
                    if value and f"{name} = " in names)


for page in PAGES:

    rule:
        name: f"notebook_{page.replace('/', '_')}"
        input:
            f"{ROOT}/{page}.ipynb",
            needs(page),
            [str(p) for p in sorted((ROOT / "book").glob("*.yml"))],
            sources("semquant_book/figures/attributes", "semquant_book/figures/style", "semquant_book/figures/diagrams", "semquant_book/study/records", "semquant_book/pages/cases", "semquant_book/views/explorer",
                    "semquant_book/views/chapters", "semquant_book/figures/networks", "semquant_book/press/notebooks", "semquant_book/study/frozen_trunk", "semquant_book/press/preview", "semquant_book/study/tables", "semquant_book/study/inspection", "semquant_book/pages/comparison",
                    "semquant_book/study/presets", "semquant_book/pages/status", "semquant_book/study/store", "semquant_book/study/sweeps", "semquant_book/views/widgets", "semquant_book/datasets/names"),
            VIEWS,
        output: EXECUTED[page]
        threads: THREADS
        resources: gpu=GPU
        message: f"execute {page}.ipynb"
        params: source=f"{ROOT}/{page}.ipynb", values=parameters(page)
        shell: RUN + " notebook {params.source} {output} {params.values}"


rule book:
    input:
        list(EXECUTED.values()),
        f"{ROOT}/_config.yml",
        f"{ROOT}/_toc.yml",
        f"{ROOT}/pyproject.toml",
        sources("semquant_book/press/assets", "semquant_book/press/preview", "semquant_book/press/site"),
        [str(p) for p in sorted((ROOT / "book").rglob("*"))
         if p.is_file() and p.suffix != ".ipynb" and "presets" not in p.parts],
    output: str(HERE / "html" / "index.html")
    message: "build the book"
    params: executed=str(HERE / "notebooks"), html=str(HERE / "html")
    shell: RUN + " site {params.executed} {params.html}"
