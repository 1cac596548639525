"""What `speed.rs` is compared with: sentence-transformers on torch, on the same model, texts and cores.

    pip install torch sentence-transformers
    python reference.py MODEL_FOLDER TEXTS.txt
"""

import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

from sentence_transformers import SentenceTransformer

folder, file = sys.argv[1:]
model = SentenceTransformer(folder, device="cpu")
with open(file, encoding="utf-8") as lines:
    texts = lines.read().splitlines()
for number in range(1, 4):
    begun = time.monotonic()
    model.encode(texts, batch_size=32)
    print(f"round {number}: {len(texts) / (time.monotonic() - begun):.1f} texts/s of {len(texts)}")
some = texts[:50]
begun = time.monotonic()
for text in some:
    model.encode([text])
print(f"one by one: {len(some) / (time.monotonic() - begun):.1f} texts/s")
