"""all-MiniLM-L6-v2 in numpy: token ids in, sentence vectors out, without a deep-learning framework."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer

# How many tokens go through the network at once.
BATCH_TOKENS = 4096


class Teacher:
    """The model in `folder`, as sentence-transformers lays it out."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        self.heads = config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        self.epsilon = config["layer_norm_eps"]
        self.window = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.window)

    def vectors(self, ids: list[list[int]]) -> np.ndarray:
        """One row per list of ids (with [CLS] and [SEP]): the mean of the last layer, of length 1."""
        result = np.empty((len(ids), self.weight("embeddings.LayerNorm.bias").shape[0]), np.float32)
        by_length: dict[int, list[int]] = {}
        for place, text in enumerate(ids):
            by_length.setdefault(len(text), []).append(place)
        for length, places in sorted(by_length.items()):
            # Texts of one length need no padding and no mask.
            size = max(1, BATCH_TOKENS // length)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                hidden = self.forward(np.array([ids[place] for place in batch]))
                result[batch] = hidden.mean(1)
        return result / np.linalg.norm(result, axis=1, keepdims=True)

    def weight(self, name: str) -> np.ndarray:
        return self.weights[name]

    def forward(self, ids: np.ndarray) -> np.ndarray:
        texts, length = ids.shape
        hidden = (
            self.weight("embeddings.word_embeddings.weight")[ids]
            + self.weight("embeddings.position_embeddings.weight")[:length]
            + self.weight("embeddings.token_type_embeddings.weight")[0]
        )
        hidden = self.norm("embeddings.LayerNorm", hidden)
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            query, key, value = (
                self.linear(f"{at}.attention.self.{part}", hidden)
                .reshape(texts, length, self.heads, -1)
                .transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1]))
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(texts, length, -1)
            mixed = self.linear(f"{at}.attention.output.dense", mixed)
            hidden = self.norm(f"{at}.attention.output.LayerNorm", hidden + mixed)
            wide = self.linear(f"{at}.intermediate.dense", hidden)
            wide = wide * (1 + erf(wide * np.float32(2**-0.5))) * np.float32(0.5)
            hidden = self.norm(f"{at}.output.LayerNorm", hidden + self.linear(f"{at}.output.dense", wide))
        return hidden

    def linear(self, name: str, rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(-1, rows.shape[-1])
        product = flat @ self.weight(f"{name}.weight").T + self.weight(f"{name}.bias")
        return product.reshape(*rows.shape[:-1], -1)

    def norm(self, name: str, rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(self.epsilon))
        return centred / spread * self.weight(f"{name}.weight") + self.weight(f"{name}.bias")
