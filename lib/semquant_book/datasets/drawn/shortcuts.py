"""What simple classifiers can tell from the images without seeing an animal in them.

A data set in which a single pixel, the mean colour or the covered area gives the category away
teaches a network that shortcut instead of the parts.
"""

from __future__ import annotations

import numpy as np

from semquant_book.datasets import Images

__all__ = ["shortcuts"]


def shortcuts(train: Images, test: Images, grid: int = 16, draws: int = 50) -> dict[str, float]:
    """Return the held-out accuracy of logistic regressions (scikit-learn's) that see no animal:
    fitted on labelled images, scored on others. Single pixels are tried at `grid` times `grid`
    positions, with their three colours and the squares of these; of five pixels there are `draws`
    random sets. Of both the best counts, which, chosen on the test images, flatters the classifier.
    The mean colour goes with each colour's standard deviation. The area that the animal covers goes
    with its square; clutter is not counted, so an image without an animal has area 0, which the
    classifier can use."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y = train.positive.numpy(), test.positive.numpy()
    pixels = [s.images.permute(0, 2, 3, 1).numpy().astype(np.float32) / 255 for s in (train, test)]
    covers = [s.labels.numpy() > 0 for s in (train, test)]

    def score(feature) -> float:
        """`feature` maps (colours (N, S, S, 3), covered (N, S, S)) to (N, d)."""
        seen, held_out = (feature(p, c) for p, c in zip(pixels, covers, strict=True))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        return float(model.fit(seen, y[0]).score(held_out, y[1]))

    def at(rows, columns):
        def feature(p: np.ndarray, _) -> np.ndarray:
            values = p[:, rows, columns].reshape(len(p), -1)  # (N, k, 3) -> (N, 3 k)
            return np.concatenate([values, values**2], axis=1)
        return feature

    def area(_, c: np.ndarray) -> np.ndarray:
        share = c.mean(axis=(1, 2))
        return np.stack([share, share**2], axis=1)

    side = pixels[0].shape[1]
    steps = (np.arange(grid) * side + side // 2) // grid
    sets = np.random.default_rng(0).integers(0, side, (draws, 2, 5))
    return {
        "single pixel": max(score(at([i], [j])) for i in steps for j in steps),
        "five pixels": max(score(at(rows, columns)) for rows, columns in sets),
        "mean colour": score(lambda p, _: np.concatenate([p.mean((1, 2)), p.std((1, 2))], axis=1)),
        "silhouette area": score(area),
    }
