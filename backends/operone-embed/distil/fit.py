"""Token vectors whose sums come near to the teacher's vectors of whole texts."""

import numpy as np
from scipy.sparse import csr_matrix

# The steps of the conjugate gradients; the error no longer changes in the third digit after half of them.
STEPS = 40


def counts(ids: list[list[int]], tokens: int) -> csr_matrix:
    """How often each token occurs in each text, without [CLS] and [SEP]."""
    inner = [text[1:-1] for text in ids]
    ends = np.cumsum([0] + [len(text) for text in inner])
    places = np.concatenate([np.asarray(text, dtype=np.int32) for text in inner])
    result = csr_matrix((np.ones(len(places), np.float32), places, ends), shape=(len(ids), tokens))
    result.sum_duplicates()
    return result


def refine(prior: np.ndarray, weighted: csr_matrix, targets: np.ndarray, pull: float) -> np.ndarray:
    """Moves the token vectors `prior` so that `weighted @ vectors`, brought to length 1, comes near `targets`.

    Ridge regression on the difference from the prior: a token that occurs seldom stays where it is. `pull` is how
    many texts the prior counts.
    """
    sums = weighted @ prior
    lengths = np.linalg.norm(sums, axis=1)
    rows = weighted.multiply(1 / np.maximum(lengths, 1e-6)[:, None]).tocsr().astype(np.float32)
    # The scale at which the prior fits best.
    scale = np.sum((rows @ prior) * targets) / np.sum((rows @ prior) ** 2)
    start = prior * np.float32(scale)
    transposed = rows.T.tocsr()
    # In units of what one average occurrence contributes.
    ridge = np.float32(pull * rows.multiply(rows).sum() / rows.nnz)
    change = np.zeros_like(start)
    residual = transposed @ (targets - rows @ start)
    direction = residual.copy()
    old = np.sum(residual**2, axis=0)
    for _ in range(STEPS):
        applied = transposed @ (rows @ direction) + ridge * direction
        step = old / np.maximum(np.sum(direction * applied, axis=0), 1e-30)
        change += step * direction
        residual -= step * applied
        new = np.sum(residual**2, axis=0)
        direction = residual + (new / np.maximum(old, 1e-30)) * direction
        old = new
    return start + change
