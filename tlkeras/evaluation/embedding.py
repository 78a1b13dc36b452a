"""Features in two dimensions: what lies close together in many stays close together in two.

t-SNE: van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 9, 2008; by trees: van der Maaten, Accelerating t-SNE
using Tree-Based Algorithms, JMLR 15, 2014. Neighbours can be read from the picture; the size of a cluster and the
distance between two cannot.
"""

from __future__ import annotations

import numpy as np

from tlkeras.checks import check_whole, real
from tlkeras.errors import InputError
from tlkeras.seeds import derive_seed

FEWEST_ROWS = 5
_FEW = 2000  # rows that take one thread some seconds


def embed(features: np.ndarray, *, seed: int, n_components_first: int = 50, perplexity: float = 30.0) -> np.ndarray:
    """The features' principal components, and of these t-SNE, which starts from the first two.

    The same bits on one machine with the same versions and number of threads; `n_jobs` of scikit-learn, which is left
    alone, changes nothing, and t-SNE of 3,000 rows was the same with 1, 2 and 8 threads. The seed enters through
    randomised linear algebra alone; another one still moves points, as every small change does. No global generator is
    touched.

    Args:
        features: numbers (n, d), a row per image, at least 5 rows.
        seed: the points are a function of the features and this.
        n_components_first: principal components that t-SNE is given, at least 2; fewer where n or d is smaller.
        perplexity: how many neighbours a row is thought to have, at least 1; (n - 1) / 3 where that is smaller.

    Returns:
        float32 (n, 2), without unit. All 0 where all rows are the same.

    Raises:
        InputError: another shape, too few rows, values that are no finite numbers, or a setting out of range.
    """
    values = _checked(features)
    n_components_first = check_whole("n_components_first", n_components_first, 2, also=", such as 50")
    perplexity = real(least=1).also(", such as 30").check("perplexity", perplexity)
    spread = np.ptp(values, axis=0).max()
    if spread == 0:
        return np.zeros((len(values), 2), np.float32)
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # t-SNE is the same at any scale, single precision is not.
    values = (values - values.mean(axis=0)) / spread
    components = PCA(
        n_components=min(n_components_first, *values.shape), random_state=derive_seed(seed, "embed", "components")
    ).fit_transform(values)
    if components.shape[1] == 1:  # t-SNE's start needs two
        components = np.pad(components, ((0, 0), (0, 1)))
    tsne = TSNE(
        init="pca",
        perplexity=min(perplexity, (len(values) - 1) / 3),
        random_state=derive_seed(seed, "embed", "t-SNE"),
    )
    # The threads wait for each other so often that beside other work few points take minutes; the result is the same.
    with threadpool_limits(1 if len(values) <= _FEW else None):
        points = tsne.fit_transform(components)
    return points.astype(np.float32, copy=False)


def _checked(features: np.ndarray) -> np.ndarray:
    """`features` as float64 (n, d), or an InputError that says what is wrong with them."""
    features = np.asarray(features)
    if features.dtype.kind not in "fiu":
        raise InputError(f"features: received dtype {features.dtype}; accepted are real numbers, such as float32.")
    if features.ndim != 2 or features.shape[1] < 1:
        raise InputError(
            f"features: received shape {features.shape}; accepted is (n, d), a row of d features per image. Pool or "
            "flatten feature maps before: features.reshape(len(features), -1)."
        )
    if len(features) < FEWEST_ROWS:
        raise InputError(
            f"features: received {len(features)} rows; accepted are at least {FEWEST_ROWS}, for fewer have no "
            "neighbourhoods to keep."
        )
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise InputError(
            f"features: {np.count_nonzero(~finite)} of {len(features)} rows hold NaN or infinity, the first is row "
            f"{np.argmin(finite)}; accepted are finite numbers. Features that overflowed in half precision are finite "
            "in float32."
        )
    return features.astype(np.float64)
