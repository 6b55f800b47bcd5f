"""The command `semquant`: the jobs that the workflow runs, and a strict way to run a notebook."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from semquant.checks import InputError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semquant", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, help: str, preset: str = "quick") -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help)
        if preset:
            sub.add_argument("--preset", default=preset,
                             help=f"a file in book/presets (default {preset})")
        return sub

    def job(name: str, help: str, *, architecture: bool = False) -> argparse.ArgumentParser:
        sub = command(name, help)
        sub.add_argument("--category", default="dog", help="target category (default dog)")
        if architecture:
            sub.add_argument("--architecture", required=True, help="alexnet, vgg_m, vgg_s, vgg16")
            sub.add_argument("--seed", type=int, default=0, help="seed of the performer (default 0)")
        return sub

    job("draw", "draw the images of a category")
    performer = job("performer", "train a performer", architecture=True)
    performer.add_argument("--without-filter-loss", action="store_true",
                           help="train it without the filter loss, as a control")
    job("explainers", "fit all explainers of a performer", architecture=True)
    job("trial", "run a performer's trial, see book/right/protocol.md", architecture=True)

    faces = command("faces", "the jobs of Experiment 2")
    faces.add_argument("step", help="draw, performer, survey, explainers, selection")
    faces.add_argument("--target", default="Attractive",
                       help="attribute that is explained (default Attractive)")
    faces.add_argument("--seed", type=int, default=0, help="seed of the performer (default 0)")

    command("sweep", "fit explainers with six strengths of the prior, and record how they learn")

    record = command("record", "make a record of book/records again", "")
    record.add_argument("name", help="its file's name, without .json")
    record.add_argument("--preset", default="", help="by default the one that it was made with")
    record.add_argument("--data", default="", help="folder of real photographs")

    notebook = command("notebook", "execute a notebook with parameters", "")
    notebook.add_argument("source", type=Path)
    notebook.add_argument("output", type=Path)
    notebook.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                          dest="given", help="a parameter; may be given again")
    notebook.add_argument("--parameters", type=Path, metavar="FILE",
                          help="parameters as lines 'name: value' (YAML); -p goes before it")
    notebook.add_argument("--log", action="store_true", help="say each cell, and what it prints")

    check = command("check", "a dry run: one training step of every network", "paper")
    check.add_argument("--data", default="", help="folder of real photographs; else drawn specimens")
    check.add_argument("--tflops", type=float, default=40.0,
                       help="10^12 operations a second that a GPU is assumed to sustain (default 40)")

    from semquant_book.datasets.fetch import add_parser
    add_parser(commands)

    site = command("site", "build the book from executed notebooks", "")
    site.add_argument("executed", type=Path)
    site.add_argument("html", type=Path)

    book = command("book", "run what is missing and build the book")
    book.add_argument("--cores", default="all", help="how many cores to use (default all)")
    book.add_argument("--data", default="", help="folder of real photographs")
    book.add_argument("--target", default="all", help="all, results, trials, or a file that a job makes")
    return parser


def _say(line: str) -> None:
    print(f"semquant: {line}", file=sys.stderr, flush=True)


def _run(arguments: argparse.Namespace) -> str:
    """Do what was asked and return the line to say at the end."""
    # imported here: each command loads only what it needs, and --help answers at once
    if arguments.command in ("record", "check") and arguments.data:
        os.environ["SEMQUANT_DATA"] = os.path.abspath(arguments.data)
    if arguments.command == "notebook":
        from semquant_book.press.notebooks import execute, read_parameters
        values = read_parameters(arguments.parameters) if arguments.parameters else {}
        values |= dict(arguments.given)
        say = (lambda line: print(line, flush=True)) if arguments.log else None
        return f"wrote {execute(arguments.source, arguments.output, values, say)}"
    if arguments.command == "data":
        from semquant_book.datasets.fetch import run
        return run(arguments)
    if arguments.command == "record":
        from semquant_book.study.record_book import remake
        return remake(arguments.name, arguments.preset)
    if arguments.command == "check":
        from semquant_book.study import rehearsal
        from semquant.checks import number
        from semquant_book.study.presets import load_settings
        number("tflops", arguments.tflops, 0.001)
        settings = load_settings(arguments.preset)
        content = rehearsal.rehearse(settings, arguments.data, say=_say)
        print(rehearsal.report(content, settings, arguments.tflops))
        return f"wrote {rehearsal.save(content)}"
    if arguments.command == "site":
        from semquant_book.press import site
        staged = site.stage(arguments.executed, arguments.html.with_name("site"))
        return f"the book is {site.build(staged, arguments.html)}"

    if arguments.command == "book":
        from semquant_book.press.workflow import make_book
        return make_book(arguments.preset, cores=arguments.cores, data=arguments.data,
                         target=arguments.target)

    from semquant.checks import number, one_of
    from semquant_book.datasets.names import ARCHITECTURES, CATEGORIES, TRUNK
    from semquant_book.study.presets import load_settings
    settings = load_settings(arguments.preset)
    if arguments.command == "sweep":
        from semquant_book.study import sweeps
        return sweeps.make(settings, say=_say)
    if arguments.command == "faces":
        return _faces(arguments, settings)
    one_of("category", arguments.category, CATEGORIES)
    if arguments.command == "draw":
        from semquant_book.study import pictures
        return pictures.make_data(settings, arguments.category)
    one_of("architecture", arguments.architecture, (*ARCHITECTURES, TRUNK))
    number("seed", arguments.seed, 0, integer=True)
    from semquant_book.study import experiment1
    run = experiment1.Run(settings, arguments.architecture, arguments.category, arguments.seed,
                          not getattr(arguments, "without_filter_loss", False))
    if arguments.command == "trial":
        from semquant_book.study import trials
        return trials.run_trial(run)
    return run.make_performer() if arguments.command == "performer" else run.make_explainers()


def _faces(arguments: argparse.Namespace, settings) -> str:
    """Do a job of Experiment 2."""
    from semquant.checks import number, one_of
    one_of("step", arguments.step, ("draw", "performer", "survey", "explainers", "selection"))
    number("seed", arguments.seed, 0, integer=True)
    from semquant_book.study import concept_choice, experiment2, face_performers, portraits
    run = experiment2.Run(settings, arguments.target, arguments.seed)
    experiment2.target_index(arguments.target)
    jobs = {
        "draw": lambda: portraits.make_data(settings),
        "performer": lambda: face_performers.make_performer(settings, arguments.seed),
        "survey": lambda: "; ".join(make(settings, arguments.seed) for make in (
            experiment2.make_surveys, experiment2.make_flips)),
        "explainers": run.make_explainers,
        "selection": lambda: concept_choice.make_selection(settings, arguments.target, arguments.seed),
    }
    return jobs[arguments.step]()


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 1 for input it can't use, 2 for usage."""
    for stream in (sys.stdout, sys.stderr):  # a locale that can't write a name shows its number
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        _say(_run(_parser().parse_args(argv)))
        return 0
    except ModuleNotFoundError as error:  # `pip install .` brings the method alone
        if (error.name or "semquant").startswith("semquant"):
            raise
        _say(f"package {error.name} is not installed; the command needs what the book does: pip "
             "install '.[book]' in the project's folder")
    except InputError as error:
        _say(f"{error}")
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
