# The whole reproduction as a graph of jobs: data -> performer -> explainers -> notebooks -> book.
#
#   snakemake --cores all --config preset=quick [results]    (what `make book` runs; without the book)
# Every job computes with a fixed number of threads, so that its numbers repeat, and writes whole files
# only. A performer's training that was killed goes on from _build/checkpoints; other jobs start again,
# which costs minutes but in the paper preset, where the explainers of one attribute take hours.
#
# A job runs again where what it reads or its code has changed: `params: code` stands for all modules
# that the job's module imports, without comments and docstrings.

from semquant_book.datasets.names import ARCHITECTURES, ATTRIBUTES, CATEGORIES, TRUNK
from semquant_book.folders import build_root, project_root
from semquant_book.press.needs import Page, Results
from semquant_book.press.site import toc_pages
from semquant_book.study import code
from semquant_book.study.presets import load_settings

PRESET = config.get("preset", "quick")
SETTINGS = load_settings(PRESET)
ROOT = project_root(workflow.basedir)
HERE = build_root() / PRESET
THREADS = SETTINGS.threads
GPU = int(config.get("gpu", 0))  # GPUs a training job asks a cluster for
# numeric libraries start no threads of their own beside torch's
ENVIRONMENT = " ".join(f"{name}={THREADS}" for name in
                       ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"))
RUN = f"{ENVIRONMENT} PYTHONHASHSEED=0 python -m semquant_book"

STUDY, DATASETS = "semquant_book.study", "semquant_book.datasets"
IMAGES = {"drawn": "drawn.animals"}.get(SETTINGS.images, "pascal_part")
FACES = {"drawn": "drawn.faces"}.get(SETTINGS.faces, "celeba")
MADE = Results(SETTINGS)
PAGES = {page: Page(ROOT / f"{page}.ipynb", MADE, config.get("data") or "")
         for page in toc_pages(ROOT) if (ROOT / f"{page}.ipynb").exists()}

wildcard_constraints:
    architecture="|".join((*ARCHITECTURES, TRUNK)),
    category="|".join(CATEGORIES),
    target="|".join(ATTRIBUTES),
    seed=r"\d+",
    page="|".join(PAGES),


rule all:
    input: HERE / "html" / "index.html"


rule results:
    input: MADE.meant("results")


rule trials:  # of book/right/protocol.md; the book reads their record
    input: MADE.meant("trials")


rule data:
    output: MADE.data("{category}")
    threads: THREADS * 2
    priority: 40  # first: later on two free cores come together seldom
    message: "draw the images of {wildcards.category}"
    params: code=code.digest(f"{DATASETS}.{IMAGES}")
    shell: RUN + " draw --preset {PRESET} --category {wildcards.category}"


rule performer:
    input: MADE.data("{category}")
    output: MADE.performer("{architecture}", "{category}", "{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: lambda wildcards: 20 if wildcards.architecture == "vgg16" else 10  # the longest first
    message: "train the performer {wildcards.architecture} {wildcards.category} seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.animal_performers"), more=""
    shell:
        RUN + " performer --preset {PRESET} --category {wildcards.category}"
        " --architecture {wildcards.architecture} --seed {wildcards.seed} {params.more}"


use rule performer as control with:
    output: MADE.performer("{architecture}", "{category}", "{seed}", filter_loss=False)
    priority: lambda wildcards: 11 if wildcards.architecture == "vgg16" else 1
    message: "train the performer {wildcards.architecture} {wildcards.category} seed {wildcards.seed} (no filter loss)"
    params: code=code.digest(f"{STUDY}.animal_performers"), more="--without-filter-loss"


rule explainers:
    input: MADE.performer("{architecture}", "{category}", "{seed}")
    output: MADE.explainers("{architecture}", "{category}", "{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: 5
    message: "fit the explainers of {wildcards.architecture} {wildcards.category} seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.experiment1"), job="explainers"
    shell:
        RUN + " {params.job} --preset {PRESET} --category {wildcards.category}"
        " --architecture {wildcards.architecture} --seed {wildcards.seed}"


use rule explainers as trial with:
    output: MADE.trial("{architecture}", "{category}", "{seed}")
    message: "run the trial of {wildcards.architecture} {wildcards.category} seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.trials"), job="trial"


rule faces:
    output: MADE.faces()
    threads: THREADS * 2
    priority: 41
    message: "draw the faces"
    params: code=code.digest(f"{DATASETS}.{FACES}")
    shell: RUN + " faces draw --preset {PRESET}"


rule face_performer:
    input: MADE.faces()
    output: MADE.face_performer("{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: 30  # everything of Experiment 2 waits for it
    message: "train the performer of 40 attributes, seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.face_performers")
    shell: RUN + " faces performer --preset {PRESET} --seed {wildcards.seed}"


rule surveys:
    input: MADE.face_performer("{seed}")
    output: MADE.surveys("{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: 29
    message: "measure scores and priors of all faces, seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.experiment2")
    shell: RUN + " faces survey --preset {PRESET} --seed {wildcards.seed}"


rule attribute:
    input: MADE.surveys("{seed}")
    output: MADE.attribute("{target}", "{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: 8
    message: "fit the explainers of {wildcards.target}, seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.experiment2")
    shell: RUN + " faces explainers --preset {PRESET} --target {wildcards.target} --seed {wildcards.seed}"


rule selection:
    input: MADE.surveys("{seed}")
    output: MADE.selection("{target}", "{seed}")
    threads: THREADS
    resources: gpu=GPU
    priority: 7
    message: "choose concepts of {wildcards.target} at random, seed {wildcards.seed}"
    params: code=code.digest(f"{STUDY}.concept_choice")
    shell: RUN + " faces selection --preset {PRESET} --target {wildcards.target} --seed {wildcards.seed}"


rule notebook:
    input: lambda wildcards: PAGES[wildcards.page].inputs
    output: HERE / "notebooks" / "{page}.ipynb"
    threads: THREADS
    resources: gpu=GPU
    message: "execute {wildcards.page}.ipynb"
    params:
        values=lambda wildcards: PAGES[wildcards.page].parameters,
        code=lambda wildcards: PAGES[wildcards.page].code,
        settings=repr(SETTINGS),
    shell: RUN + " notebook {input[0]:q} {output:q} {params.values}"


rule book:
    input:
        [HERE / "notebooks" / f"{page}.ipynb" for page in PAGES],
        [ROOT / name for name in ("_config.yml", "_toc.yml", "pyproject.toml")],
        [path for path in sorted((ROOT / "book").rglob("*"))
         if path.is_file() and path.suffix != ".ipynb" and "presets" not in path.parts],
        sorted((ROOT / "lib").rglob("*.py")),  # their docstrings are the reference's pages
    output: HERE / "html" / "index.html"
    message: "build the book"
    params: executed=str(HERE / "notebooks"), html=str(HERE / "html")
    shell: RUN + " site {params.executed:q} {params.html:q}"
