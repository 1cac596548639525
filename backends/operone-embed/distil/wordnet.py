"""Texts from the WordNet 3.1 database files: one per meaning, and passages about related meanings."""

from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")
# Passages end after so many words, which is about the window of the teacher.
PASSAGE_WORDS = 150


class Meaning:
    """A synset: its words, its gloss with examples, and the meanings below it."""

    def __init__(self, line: str, part: str):
        record, gloss = line.rstrip().split(" | ", 1)
        fields = record.split()
        words = int(fields[3], 16)
        lemmas = [fields[4 + 2 * word].split("(")[0].replace("_", " ") for word in range(words)]
        pointers = 4 + 2 * words
        self.below = [
            fields[at + 1]
            for at in range(pointers + 1, pointers + 1 + 4 * int(fields[pointers]), 4)
            if fields[at] in ("~", "~i", "&") and fields[at + 2][0] == part[0]
        ]
        self.text = f"{', '.join(lemmas)}: {gloss.strip()}"


def meanings(folder: Path, part: str) -> dict[str, Meaning]:
    lines = (folder / f"data.{part}").read_text(encoding="utf-8").splitlines()
    return {line[:8]: Meaning(line, part) for line in lines if not line.startswith("  ")}


def texts(folder: Path) -> tuple[list[str], list[str]]:
    """Every meaning, and the passages."""
    single, passages = [], []
    for part in PARTS:
        found = meanings(folder, part)
        single.extend(meaning.text for meaning in found.values())
        for meaning in found.values():
            related = [meaning.text] + [found[offset].text for offset in meaning.below if offset in found]
            words = " ".join(related).split()
            if len(related) > 2:
                passages.append(" ".join(words[:PASSAGE_WORDS]))
    return single, passages
