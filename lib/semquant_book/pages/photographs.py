"""What the pages of photographs of animals show: recorded runs, and the one picture that may be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
import torch
from IPython.display import HTML
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from semquant.checks import InputError
from semquant.explanation import Explanation
from semquant_book import figures
from semquant_book.datasets import Images
from semquant_book.datasets.names import ARCHITECTURES, METHODS, SPLITS
from semquant_book.figures.style import signed
from semquant_book.pages import comparison
from semquant_book.pages.networks import counted_parts
from semquant_book.study import inspection, records
from semquant_book.study.pictures import crops
from semquant_book.study.presets import build_root
from semquant_book.study.store import write_record
from semquant_book.views import explorer, widgets

__all__ = ["bars_of", "counts", "explained", "explore", "folded", "from_scratch", "histories", "judged", "keep",
           "misjudged", "named", "named_pies", "part_tables", "performers", "pictures_of", "reasons",
           "shown_photograph", "shown_said", "source", "splits", "supplement", "trained_from_scratch",
           "wrong_pictures"]

LABEL = "EfficientNet-Lite0"
#: A metric, the paper's table, what ours is multiplied with, decimals, and the table's title.
SUPPLEMENT = (("entropy", "supplement_entropy", 1, 3, "entropy in nats"),
              ("normalised_entropy", "supplement_entropy", 1, 2, "entropy as H / ln n"),
              ("accuracy", "supplement_accuracy", 100, 1, "accuracy in percent"),
              ("deviation", "supplement_deviation", 1, 3, "relative deviation"))


def source(record: dict, kept: str = "") -> str:
    """Say which run a page shows; `kept` is where one on the reader's folder was recorded."""
    if kept:
        return ("**This page shows a run on the folder that was given**, and its photographs. Its "
                f"numbers were also written to `records/{kept}` in the build folder.")
    category, preset = record["category"], record["settings"]["preset"]
    return (f"**This page shows recorded numbers**, of a run on {category} photographs with seed "
            f"{record['seed']} that came with the project "
            f"(`book/records/efficientnet_lite0-{category}.json`, preset {preset}). Its "
            "photographs may not be handed on, so none of them is shown.")


def keep(record: dict) -> str:
    """Write the record of a run on the reader's folder into the build folder; return the file's name."""
    name = f"efficientnet_lite0-{record['category']}-s{record['seed']}.json"
    write_record(build_root() / "records" / name, record)
    return name


def counts(record: dict) -> pd.DataFrame:
    """Return how many pictures of each kind are in each split."""
    photos = record["metrics"]["photos"]
    rows = {f"crops of a {record['category']}": "positive",
            f"photos of {record['data']['negatives_from']}": "negative"}
    table = pd.DataFrame({words: {split: photos[split][kind] for split in SPLITS}
                          for words, kind in rows.items()}).T
    return table.assign(total=table.sum(axis=1))


def judged(record: dict) -> str:
    """Say how often the performer is right, on one split and over several."""
    m, assignment = record["metrics"], record["examples"]["assignment"]
    train, test = (m["photos"][split] for split in ("train", "test"))
    text = (f"{record['parameters']:,} weights are trained, on the trunk's maps of "
            f"{train['positive']} crops and {train['negative']} negatives and of their mirror "
            f"images. On the test photos the performer is right in **{m['accuracy']:.1%}** "
            f"({test['positive'] + test['negative']} pictures; always saying no would be right in "
            f"{m['majority']:.1%}): it finds {m['recall']:.1%} of the crops and rejects "
            f"{m['specificity']:.1%} of the negatives. {sum(a >= 0 for a in assignment)} of its "
            f"{len(assignment)} filters can be named after a part, from the part masks of the "
            "training and validation crops.")
    each = _every_split(record).accuracy
    if len(each) > 1:
        text += (f"\n\nOver {len(each)} splits by photo, with weights of their own: "
                 f"**{each.mean():.1%}** on average, from {each.min():.1%} to {each.max():.1%}.")
    return text


def _every_split(record: dict) -> pd.DataFrame:
    found = {record["seed"]: record["metrics"], **{int(k): v for k, v in record["other_splits"].items()}}
    names = ["accuracy", "recall", "specificity", "majority", "part_specificity"]
    return pd.DataFrame(found).T[names].astype(float).rename_axis("seed")


def splits(record: dict) -> Styler:
    """Show how performers of several splits were judged."""
    return _every_split(record).style.format("{:.1%}").set_table_attributes('class="dataframe"')


def misjudged(record: dict) -> str:
    """Name the misjudged test pictures, with their scores."""
    wrong = "; ".join(f"{w['id']} (score {signed(w['score'])})" for w in record["metrics"]["wrong"])
    return f"Misjudged test pictures: {wrong or 'none'}."


def wrong_pictures(record: dict, test: Images) -> Figure:
    """Draw the misjudged test pictures with their scores, in the order of `misjudged`."""
    wrong = record["metrics"]["wrong"]
    return figures.sample_sheet(test.images[[test.ids.index(w["id"]) for w in wrong]],
                                [signed(w["score"]) for w in wrong])


def named(record: dict) -> str:
    """Say how many filters are named after each part, and how specific they are."""
    groups = record["examples"]["groups"]
    names = [groups[a] if a >= 0 else "unassigned" for a in record["examples"]["assignment"]]
    return (f"Filters by part: {counted_parts(names, groups)}. Filters whose peak falls on their "
            "best part in at least half of the test crops: "
            f"{record['metrics']['part_specificity']:.0%}. On a 7x7 map an eye or an ear is a "
            "fraction of one position, so names of small parts are rough.")


def explained(kept: dict) -> dict[str, Explanation]:
    """Return the explanations by filter of a record's examples, ours and the baseline's."""
    return {method: inspection.example(kept, method) for method in METHODS}


def _by_part(kept: dict) -> list[Explanation]:
    """Ours and the baseline's, merged to parts."""
    return [e.merge(torch.tensor(kept["assignment"]), kept["groups"]) for e in explained(kept).values()]


def reasons(kept: dict) -> str:
    """Say in words, by part, what the first of a record's examples owes its score to."""
    return "In words, by part: " + _by_part(kept)[0][:1].reasons(k=3)[0] + "."


def histories(record: dict) -> dict[str, list[dict]]:
    """Return what each epoch of the examples' explainers measured, ours and the baseline's first seed."""
    scale = record["examples"]["ours"]["scale"]
    return {e["method"]: e["history"] for e in record["explainers"] if (e["scale"], e["seed"]) == (scale, 0)}


def explore(record: dict, data: str = "") -> None:
    """Show the examples of a record to play with, with their pictures where a folder has them."""
    category, kept = record["category"], record["examples"]
    pictures = crops(data, category, kept["ids"]).images if data else None
    view = explorer.explore(explorer.case(
        LABEL, pictures, explained(kept), says=(f"“{category}”", f"“no {category}”"),
        assignment=kept["assignment"], groups=kept["groups"], note=f"y {kept['ours']['scale']}; recognised test crops.",
        labels=[f"{'crop' if data else 'a crop that is not shown here,'} {name}" for name in kept["ids"]]))
    widgets.show(view, figures.explanation_pies(None, None, *_by_part(kept)),
                 "For a few test crops, pies of what the parts contribute to the score: by ours and by the baseline.")


def shown_photograph(scale: str = "literal") -> None:
    """Show the one photograph that may be redistributed, explained by the recorded recipe."""
    record = records.shown_photograph()
    picture, category = records.read_photograph(), record["category"]
    assignment, groups = torch.tensor(record["assignment"]), record["groups"]
    said = {reading: {method: _of(record, reading, method) for method in METHODS}
            for reading in record["readings"]}
    first = said.pop(scale)
    maps, heat = records.unpacked(record["maps"]), records.unpacked(record["heat"])
    view = explorer.explore(explorer.case(
        LABEL, picture[None], first, says=(f"“{category}”", f"“no {category}”"), assignment=assignment,
        groups=groups, maps=maps[None], heatmaps=heat[None], labels=[f"photograph of a {category}"], reading=scale,
        others=said, note=f"{LABEL} trained on {category} photographs, explainers with seed 0. The "
        "literal reading takes y as it is; in the scaled one the contributions start as large as "
        "the scores vary."))
    still = figures.explanation_pies(picture[None], heat[None], *(e.merge(assignment, groups) for e in first.values()))
    widgets.show(view, still, "A photograph of a cat's head with its score, its Grad-CAM heat map, "
                 "and pies of what each part contributes by ours and by the baseline, with sum and "
                 "b below.", keep=True,
                 caption="A photograph of a cat (Stefan van der Walt, CC0), explained by the recorded recipe.")


def shown_said(scale: str = "literal") -> str:
    """Say what the parts contribute to the shown photograph's score, of what it shows and of what it doesn't."""
    record = records.shown_photograph()
    merged = _of(record, scale, "ours").merge(torch.tensor(record["assignment"]), record["groups"])
    parts = dict(zip(merged.names, merged.contributions[0].tolist()))
    unseen = sum(parts[p] for p in ("torso", "leg", "tail")) / sum(parts.values())
    return (f"In words: {merged.reasons(k=3)[0]}. The picture shows a head and little else, yet "
            f"filters named after torso, leg or tail make up {unseen:.0%} of the sum (y {scale}, "
            "ours): the crops that name filters show whole animals, and a name is a tendency. So "
            "the names say only roughly which part the score comes from.")


def _of(record: dict, reading: str, method: str) -> Explanation:
    """One explanation of the shown photograph, by filter."""
    kept = {key: record[key] for key in ("yhat", "groups", "assignment")}
    return inspection.example(kept | record["readings"][reading], method)


def performers(found: Mapping[str, dict]) -> Styler:
    """Show how the performers of several categories were judged."""
    rows = {}
    for category, record in found.items():
        m, test = record["metrics"], record["metrics"]["photos"]["test"]
        each = _every_split(record).accuracy
        rows[category] = {
            "crops": sum(p["positive"] for p in m["photos"].values()),
            "negatives": sum(p["negative"] for p in m["photos"].values()),
            "test pictures": test["positive"] + test["negative"], "accuracy": f"{m['accuracy']:.1%}",
            "always no": f"{m['majority']:.1%}", "splits": f"{len(each)}", "mean of the splits": f"{each.mean():.1%}",
            "part-specific filters": f"{m['part_specificity']:.0%}"}
    return pd.DataFrame(rows).T.style.set_table_attributes('class="dataframe"').set_caption(f"{LABEL} on photographs")


def supplement(frame: pd.DataFrame, scale: str, columns: str = "category") -> Iterator[Styler]:
    """Put explainers of photographs in one reading beside the paper's supplementary tables.

    A row for each "category", beside the mean of the paper's four networks; or for each
    "architecture", beside the paper's of the category, which is the same in all rows.
    """
    frame = frame[frame.scale == scale]
    for metric, table, factor, digits, title in SUPPLEMENT:
        read = comparison.paper_normalised if metric == "normalised_entropy" else comparison.paper_frame
        printed = {a: read(table, a) for a in ARCHITECTURES}
        published = (sum(printed.values()) / len(printed) if columns == "category" else
                     pd.DataFrame({a: printed[a][frame.category.iloc[0]] for a in frame.architecture.unique()}))
        yield comparison.comparison(frame.assign(value=factor * frame[metric]), "value", published, columns=columns,
                                    digits=digits, caption=f"Photographs: {title}, y {scale}")


def part_tables(frame: pd.DataFrame, scale: str) -> HTML:
    """Show the errors of parts of dogs; of the other categories on demand."""
    frame = frame[frame.scale == scale]
    each = {c: comparison.part_table(g, published=c == "dog", caption=f"Error of part contributions, {c}, y {scale}"
                                     ).to_html() for c, g in frame.groupby("category", sort=False)}
    shown = each.pop("dog")
    return HTML(shown + _details("The other categories", "".join(each.values())))


def pictures_of(record: dict, data: str = "") -> Images | None:
    """Return the crops of a record's examples from a folder; None, and a line why, where it lacks them."""
    if not data:
        return None
    try:
        return crops(data, record["category"], record["examples"]["ids"])
    except InputError as error:
        print(f"Without pictures: {error}.")
        return None


def named_pies(kept: dict, pictures: Images | None = None) -> Figure:
    """Draw what each part contributes to the scores of a record's examples: Figure 5."""
    return figures.explanation_pies(None if pictures is None else pictures.images, None, *_by_part(kept))


def bars_of(examples: Mapping[str, dict]) -> Figure:
    """Draw every filter's contribution to the score of the first example each: Figure 7."""
    first = {name: explained(kept) for name, kept in examples.items()}
    both = (torch.stack([e[method].contributions[0] for e in first.values()]) for method in METHODS)
    return figures.contribution_distribution(*both, titles=list(first))


def folded(summary: str, examples: Mapping[str, dict], pictures: Mapping[str, Images | None] = {},
           bars_too: bool = False) -> HTML:
    """Return pies, and bars, of examples of records as figures that a reader opens, under one line.

    `pictures` are the crops of those that are at hand; `bars_too`: of every filter's
    contributions, after the pies.
    """
    pies = ("pies of what each part contributes to the scores of a few crops, ours above, the "
            "baseline below.")
    bars = ("every filter's contribution to the score of the first crop, ours on the left, the "
            "baseline on the right.")
    drawn = {f"{name}: {pies}": named_pies(kept, pictures.get(name)) for name, kept in examples.items()}
    if bars_too:
        drawn |= {f"{name}: {bars}": bars_of({name: kept}) for name, kept in examples.items()}
    return HTML(_details(summary, "".join(
        widgets.still(figure, words, "folded", words, dark_too=True) for words, figure in drawn.items())))


def _details(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>{inside}</details>"


def from_scratch(content: dict) -> str:
    """Say what the four networks were trained on from scratch."""
    data, used = content["data"], content["settings"]
    return (f"{data['train']['positive']} crops of dogs and {data['train']['negative']} negatives "
            "to train on (the rarer class repeated, all mirrored at random), "
            f"{data['test']['positive']} and {data['test']['negative']} to test on, {used['size']} "
            f"pixels, {used['width']:g} of the paper's width, {used['performer_epochs']} epochs, "
            f"{used['performer_seeds']} seeds of the performers and {used['explainer_seeds']} of "
            "the explainers. The paper starts from ImageNet weights; without them some hundred "
            "photographs are few.")


def trained_from_scratch(content: dict) -> Styler:
    """Show how often the performers trained from scratch are right, beside the paper's."""
    test = content["data"]["test"]
    table = pd.DataFrame(content["performers"])
    rows = {comparison.paper()["labels"][a]: {
        "accuracy here": f"{g.accuracy.mean():.1%} ({g.accuracy.min():.1%} to {g.accuracy.max():.1%})",
        "the paper's, dog": f"{comparison.paper_frame('supplement_accuracy', a).loc['performer', 'dog']:.1f}%",
        "always no": f"{test['negative'] / (test['positive'] + test['negative']):.1%}"}
        for a, g in table[table.filter_loss].groupby("architecture", sort=False)}
    return pd.DataFrame(rows).style.set_table_attributes('class="dataframe"').set_caption(
        "Performers trained on dog photographs from scratch")
