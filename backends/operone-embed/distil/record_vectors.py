"""Writes what sentence-transformers makes of some texts, for the Rust network to be compared with.

usage: record_vectors.py MODEL_FOLDER > ../tests/embed/vectors.json
Needs sentence-transformers 6.2.0, which the other scripts here do not.
"""

import json
import sys

from sentence_transformers import SentenceTransformer

TEXTS = [
    "The cat sleeps on the sofa.",
    "Quarterly revenue grew by ten percent.",
    "Die Größe der Straße, naïve façade — 東京タワー 🗼",
    "fn main() { println!(\"hello\"); }",
    "?",
    "What is the boiling point of water at high altitude, and why does it differ from that at sea level?",
    "Aspirin inhibits the production of prostaglandins.",
    "नमस्ते दुनिया, Привет мир, مرحبا بالعالم",
    "word " * 100,
    # Beyond the window of 256 tokens.
    " ".join(f"number {number} of many," for number in range(120)),
]


def main() -> None:
    model = SentenceTransformer(sys.argv[1], device="cpu")
    vectors = model.encode(TEXTS, batch_size=1, normalize_embeddings=True)
    recorded = [
        {"text": text, "vector": [round(float(value), 5) for value in vector]}
        for text, vector in zip(TEXTS, vectors)
    ]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in recorded)
    print(f"[\n{lines}\n]")


if __name__ == "__main__":
    main()
