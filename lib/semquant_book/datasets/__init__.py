"""Data sets of the experiments: drawn ones, and readers of photographs."""

__all__ = ["Images"]


def __getattr__(name: str):
    """Load `Images` when it is first used: names alone are asked for without torch."""
    if name not in __all__:
        raise AttributeError(f"module 'semquant_book.datasets' has no attribute {name!r}")
    from semquant_book.datasets.images import Images

    return Images
