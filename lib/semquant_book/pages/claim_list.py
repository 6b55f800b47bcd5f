"""The paper's sentences with what came out, as a list to read: verdict, range, the rest on demand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from html import escape

import yaml
from IPython.display import HTML

from semquant_book.pages.findings import FAILS, HOLDS, MIXED, UNTOLD, VERDICTS, Finding, Line, told
from semquant_book.study.presets import project_root

__all__ = ["explained", "listed", "sentences", "tally"]

WIDTH, HEIGHT, MARGIN = 200, 18, 8  # of an axis, in pixels

# a verdict has a word, a colour and a shape of its own: filled, crossed, half, empty
SHAPES = {
    HOLDS: '<circle cx="7" cy="7" r="6" fill="currentColor"/>',
    FAILS: '<path d="M2 2 12 12M12 2 2 12" stroke="currentColor" stroke-width="2.6" fill="none"/>',
    MIXED: '<circle cx="7" cy="7" r="5.2" fill="none" stroke="currentColor" stroke-width="1.6"/>'
           '<path d="M7 1.8a5.2 5.2 0 0 0 0 10.4z" fill="currentColor"/>',
    UNTOLD: '<circle cx="7" cy="7" r="5.2" fill="none" stroke="currentColor" stroke-width="1.6" '
            'stroke-dasharray="2.4 1.7"/>'}
KINDS = {HOLDS: "holds", FAILS: "fails", MIXED: "mixed", UNTOLD: "untold"}


@lru_cache
def sentences() -> dict[str, dict]:
    """Return the rows of ``book/claims.yml`` by their ids."""
    rows = yaml.safe_load((project_root() / "book" / "claims.yml").read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def tally(found: Mapping[str, Finding]) -> str:
    """Return how many sentences have which verdict, as a sentence."""
    count = Counter(finding.verdict for finding in found.values())
    parts = {HOLDS: "{} hold", FAILS: "{} do not", MIXED: "{} are mixed", UNTOLD: "{} can't be told here"}
    said = [parts[v].format(count[v]) for v in VERDICTS]
    return f"Of {len(found)} sentences {', '.join(said[:-1])}, and {said[-1]}."


def explained() -> HTML:
    """Return what the verdicts mean, with their shapes."""
    rows = "".join(f"<dt>{_badge(v)}</dt><dd>{escape(meaning)}</dd>" for v, meaning in VERDICTS.items())
    return HTML(f'<dl class="claim-key">{rows}</dl>')


def listed(found: Mapping[str, Finding], *, brief: bool = False) -> HTML:
    """Return sentences by ids of ``book/claims.yml``; `brief` leaves out what is on demand."""
    known = sentences()
    items = "".join(_item(name, known[name], finding, brief) for name, finding in found.items())
    return HTML(f'<ul class="claims">{items}</ul>')


def _badge(verdict: str) -> str:
    return (f'<span class="claim-verdict claim-{KINDS[verdict]}"><svg viewBox="0 0 14 14" width="14" '
            f'height="14" aria-hidden="true">{SHAPES[verdict]}</svg> {escape(verdict)}</span>')


def _item(name: str, sentence: dict, finding: Finding, brief: bool) -> str:
    quote = f"“{escape(sentence['quote'].strip())}”"
    section = sentence["section"]
    where = f"<small>{'section ' * section[0].isdigit()}{escape(section)}</small>"
    parts = [f'<li class="claim" id="claim-{name}"><p class="claim-quote">{quote} {where}</p>',
             f"<p>{_badge(finding.verdict)}</p>", _lines(finding, finding.lines[:finding.shown]),
             f"<p>{escape(finding.text)}</p>"]
    if finding.against:
        parts.append(f'<p><b class="claim-but">But:</b> {escape(finding.against)}</p>')
    if not brief:
        rest = finding.lines[finding.shown:]
        more = f", and {len(rest)} more numbers" if len(rest) > 1 else ""
        parts.append(f"<details><summary>How it was measured{more}</summary>"
                     f"<p>{escape(sentence['measure'].strip())}</p>"
                     f"<p>The paper's evidence: {escape(sentence['paper'].strip())}</p>"
                     f"{_lines(finding, rest)}</details>")
    return "".join(parts) + "</li>"





def _lines(finding: Finding, lines: tuple[Line, ...]) -> str:
    """Rows of a name, a dot with its range on the finding's axis, and the numbers."""
    if not lines:
        return ""
    low, high = _limits(finding)
    rows = "".join(
        f"<tr><th>{escape(line.name)}</th><td>{_dot(finding, line, low, high)}</td><td>{escape(told(line.estimate, finding.digits, percent=finding.percent, plus=finding.plus))}"
        + ("" if line.paper is None else f"; the paper {escape(finding.write(line.paper))}") + "</td></tr>"
        for line in lines)
    border = finding.write(finding.border) if finding.border else "0"
    return (f'<table class="claim-lines"><caption>{escape(finding.unit)}; the upright line is at '
            f"{escape(border)}</caption><tbody>{rows}</tbody></table>")


def _limits(finding: Finding) -> tuple[float, float]:
    """The ends of a finding's axis: all its numbers and the border, with a little room."""
    values = [finding.border]
    for line in finding.lines:
        e = line.estimate
        values += [v for v in (e.value, e.low, e.high, line.paper) if v is not None and math.isfinite(v)]
    room = 0.04 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


def _dot(finding: Finding, line: Line, low: float, high: float) -> str:
    """A dot with its range, the border as an upright line, the paper's number as a hollow diamond."""
    def x(value: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / (high - low), 1)

    e, middle = line.estimate, HEIGHT / 2
    marks = [f'<path class="axis" d="M{MARGIN} {middle}H{WIDTH - MARGIN}"/>',
             f'<path class="border" d="M{x(finding.border)} 1V{HEIGHT - 1}"/>']
    if e.known:
        marks.append(f'<path class="range" d="M{x(e.low)} {middle}H{x(e.high)}"/>')
    if line.paper is not None:
        marks.append(f'<path class="paper" d="M{x(line.paper)} {middle - 5}l5 5-5 5-5-5z"/>')
    if math.isfinite(e.value):
        kind = "dot" if e.known else "dot alone"
        marks.append(f'<circle class="{kind}" cx="{x(e.value)}" cy="{middle}" r="4"/>')
    return (f'<svg class="claim-axis" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'aria-hidden="true">{"".join(marks)}</svg>')
