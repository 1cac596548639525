"""Writes what the Python tokenizer makes of texts in many scripts, for the Rust tokenizer to be compared with.

usage: record_tokens.py MODEL_FOLDER > ../tests/embed/tokens.json
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

TEXTS = [
    "The cat sleeps on the sofa.",
    "Unbelievably, antidisestablishmentarianism isn't tokenised as one word!",
    "fn main() { println!(\"hello, {}\", names[0]); } // 0x1F && a_b != c->d",
    "E-mail: someone@example.org, https://example.org/a/b?c=d&e=f#g; C:\\Users\\x",
    "3.14159, 1,000,000 and 1e-9; 50% of $20 = £8 or €9 (±2 °C)",
    "Die Größe der Straße, naïve façade, Ångström, Łódź, Đà Nẵng",
    "İstanbul ŒUVRE ß ẞ ǅ ﬁne ½ ² ㎞ Ⅷ ﷺ",
    "e\u0301 a\u0300\u0327 o\u0308o x\u0303 \u0301alone",
    "Быстрая лисица, ещё одна ёлка и Київ",
    "Γρήγορη αλεπού, Άγιος Ὀδυσσεύς ΣΊΣΥΦΟΣ",
    "مرحبا بالعالم، كيف حالك؟ العَرَبِيَّة ١٢٣",
    "שלום עולם, בְּרֵאשִׁית",
    "नमस्ते दुनिया, हिन्दी में लिखा है।",
    "வணக்கம் உலகம் தமிழ்",
    "สวัสดีชาวโลก ภาษาไทย",
    "한국어 문장입니다. 각 가나다",
    "東京タワーへ行きました。ｶﾀｶﾅ と カタカナ、々〆",
    "我喜欢读书，也喜欢写字。中文English混合",
    "Xin chào thế giới, tiếng Việt có dấu",
    "გამარჯობა მსოფლიო, ᲒᲐᲛᲐᲠ",
    "Բարեւ աշխարհ, ողջույն",
    "ሰላም ልዑል፡ አማርኛ።",
    "བོད་སྐད། မြန်မာ ភាសាខ្មែរ ລາວ",
    "𐐀𐐨 𝒳𝟗 🗼 👨\u200d👩\u200d👧\u200d👦 ❤\ufe0f :-) 🇩🇪",
    "zero\u200bwidth soft\u00adhyphen \u2066isolate\u2069 bom\ufeff tag\U000e0041x",
    "tab\tnew\nline\r\nreturn\x0bvertical\x0cform\x85next\u2028line\u3000wide\u00a0fixed",
    "null\x00byte \x1cfile bell\x07 private\ue000use replaced\ufffdcharacter unassigned\u0378code",
    "“Quoted” ‘text’ — dash – en… «guillemets» ¿qué? ¡sí! ‹x› ・ ． ！",
    "$+<=>^`|~ @#%&*-_/\\ §¶†‡•‰′″※",
    "x" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "e\u0301" * 101,
    "supercalifragilisticexpialidocious floccinaucinihilipilification",
    "CamelCaseWord snake_case_word kebab-case-word ALLCAPS",
    "",
    " \t\n ",
    "\u0301\u200b",
]


def main() -> None:
    tokenizer = Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    recorded = [
        {"text": text, "ids": encoding.ids, "characters": encoding.offsets}
        for text in TEXTS
        for encoding in [tokenizer.encode(text, add_special_tokens=False)]
    ]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in recorded)
    print(f"[\n{lines}\n]")


if __name__ == "__main__":
    main()
