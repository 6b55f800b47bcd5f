"""Explaining neural networks semantically and quantitatively.

A network of your own, explained by the filters of one of its layers::

    from semquant import FilterConcepts, OutputConcepts, distill

    explainer = distill(model, concepts=FilterConcepts("features.10", rectified=True),
                        images=loader, target=281)
    print(explainer.report)  # what it is worth on images held out, beside cheaper explanations
    explanation = explainer.explain(images)
    explanation.contributions, explanation.bias, explanation.residual, explanation.top(3)
"""

from importlib import import_module

__version__ = "0.1.0"

_WHERE = {
    "Explainer": "explainers",
    "Explanation": "explanation",
    "FilterConcepts": "concepts",
    "FittedExplainer": "distillation",
    "Images": "images",
    "InputError": "checks",
    "Measured": "concepts",
    "ModelConcepts": "concepts",
    "OutputConcepts": "concepts",
    "Report": "report",
    "distill": "distillation",
    "distill_measured": "distillation",
    "grad_cam": "explanation",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str):
    """Load a public name when it is first used, so that importing the package stays quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'semquant' has no attribute {name!r}")
    return getattr(import_module(f"semquant.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
