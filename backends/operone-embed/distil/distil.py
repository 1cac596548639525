"""Distils the bundled table from all-MiniLM-L6-v2 and the texts of WordNet. README.md beside this says how.

usage: distil.py MODEL_FOLDER WORDNET_FOLDER TABLE_FOLDER [CACHE_FOLDER]
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

import wordnet
from fit import counts, refine
from teacher import Teacher

# What the inputs must be, by SHA-256.
MODEL = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WORDNET = {
    "data.noun": "2cad22fe43461ee7ae61a564ae6a518c57445c8597e53542caddb5c26a6a5d94",
    "data.verb": "eb1cf196dab6e1b815a1c86fa20c909fb7413b2f34250d7fe60a0fb35ef59e03",
    "data.adj": "ca1033bf627eb95f6cbb2864f8990be8e6a01a3c182e7d7c7094ccf8ead242cc",
    "data.adv": "aea301f39ac1b24be9a880dbc6cc6331bc5391f58c7525a1b298a13c922f2ed3",
}

DIMENSION = 256
# Words stand in the vocabulary by how often they occur, from this one on.
FIRST_WORD = 1996
# A token as frequent as this counts half of a rare one, as in smooth inverse frequency weighting.
HALF_WEIGHT = 1e-4
# How many texts the vector of a token alone counts when its vector is fitted to whole texts.
PULL = 10
# How many texts are kept out of the fit to measure it by.
HELD_OUT = 2_000


def main() -> None:
    model, dictionary, table = map(Path, sys.argv[1:4])
    cache = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    verify(model / "model.safetensors", MODEL)
    for name, digest in WORDNET.items():
        verify(dictionary / name, digest)

    teacher = Teacher(model)
    texts = wordnet.texts(dictionary)
    ids = [encoding.ids for encoding in teacher.tokenizer.encode_batch(texts)]
    words = teacher.tokenizer.get_vocab_size()
    begin, end = (teacher.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    alone = cached(cache, "alone", lambda: teacher.vectors([[begin, word, end] for word in range(words)]))
    whole = cached(cache, "whole", lambda: teacher.vectors(ids))

    occurrences = counts(ids, words)
    weights = HALF_WEIGHT / (HALF_WEIGHT + frequencies(occurrences))
    weighted = occurrences.multiply(weights[None, :]).tocsr().astype(np.float32)
    prior = alone - alone.mean(0)
    targets = whole - whole.mean(0)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)

    shuffled = np.random.default_rng(0).permutation(len(ids))
    held_out, used = shuffled[:HELD_OUT], shuffled[HELD_OUT:]
    vectors = refine(prior, weighted[used], targets[used], PULL)
    vectors = principal(vectors, weighted[used]) * weights[:, None]
    # [PAD], [unused5] and their like never stand for text; the bracket alone does.
    vocabulary = teacher.tokenizer.get_vocab()
    vectors[[id for token, id in vocabulary.items() if len(token) > 1 and token[0] == "["]] = 0
    scales = np.abs(vectors).max(1) / 127
    components = np.round(vectors / np.maximum(scales, 1e-30)[:, None]).astype(np.int8)

    shipped = components * scales[:, None]
    print("agreement of the ten nearest, and correlation of the cosines, on texts that were held out:")
    for name, rows in (("tokens alone", prior * weights[:, None]), ("the table", shipped)):
        print(f"  {name}: {agreement(occurrences[held_out] @ rows, targets[held_out])}")

    table.mkdir(parents=True, exist_ok=True)
    by_id = sorted(vocabulary.items(), key=lambda item: item[1])
    (table / "vocabulary.txt").write_text("".join(f"{token}\n" for token, _ in by_id), encoding="utf-8")
    (table / "scales.f32").write_bytes(scales.astype("<f4").tobytes())
    (table / "components.i8").write_bytes(components.tobytes())


def verify(file: Path, digest: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"{file} is not the file this was written for: its SHA-256 is {found}")


def cached(folder: Path | None, name: str, compute) -> np.ndarray:
    if folder is None:
        return compute()
    file = folder / f"{name}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(file, compute())
    return np.load(file)


def frequencies(occurrences: csr_matrix) -> np.ndarray:
    """How often tokens occur: half as counted, half by Zipf's law from the order of the vocabulary."""
    counted = np.asarray(occurrences.sum(0)).ravel().astype(np.float64)
    counted /= counted.sum()
    rank = np.arange(len(counted)) - FIRST_WORD + 1
    zipf = np.where(rank > 0, 1 / (np.maximum(rank, 1) + 2.7), 0)
    zipf /= zipf.sum()
    # What stands before the words, single characters, has no order.
    return np.where(rank > 0, (counted + zipf) / 2, np.maximum(counted, 1e-7))


def principal(vectors: np.ndarray, weighted: csr_matrix) -> np.ndarray:
    """The vectors in the directions in which texts differ most."""
    texts = weighted @ vectors
    texts /= np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-6)
    _, directions = np.linalg.eigh(np.cov(texts.T))
    return vectors @ directions[:, ::-1][:, :DIMENSION]


def agreement(texts: np.ndarray, targets: np.ndarray) -> str:
    texts = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-6)
    ours, theirs = texts @ texts.T, targets @ targets.T
    others = ~np.eye(len(ours), dtype=bool)
    correlation = np.corrcoef(ours[others], theirs[others])[0, 1]
    nearest = [np.argsort(-np.where(others, cosines, -2), axis=1)[:, :10] for cosines in (ours, theirs)]
    common = np.mean([len(set(one) & set(other)) / 10 for one, other in zip(*nearest)])
    return f"{common:.3f}, {correlation:.3f}"


if __name__ == "__main__":
    main()
