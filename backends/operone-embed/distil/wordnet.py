"""Texts from the WordNet 3.1 database files: one per meaning."""

from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")


def texts(folder: Path) -> list[str]:
    """The words, the gloss and the examples of every meaning."""
    return [
        text(line)
        for part in PARTS
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines()
        # The licence stands in front, indented.
        if not line.startswith("  ")
    ]


def text(line: str) -> str:
    record, gloss = line.rstrip().split(" | ", 1)
    fields = record.split()
    count = int(fields[3], 16)
    words = [fields[4 + 2 * place].split("(")[0].replace("_", " ") for place in range(count)]
    return f"{', '.join(words)}: {gloss.strip()}"
