//! Source code: its blocks whole, by indentation and blank lines, and its language by name and content.

use operone_core::source::{Block, BlockKind, Parsed};

use super::assemble::clean;

/// A block longer than this, in bytes, is divided where the next deeper level allows it.
const LONG: usize = 1500;

/// How many levels of indentation are divided.
const LEVELS: usize = 4;

/// A language: its media type and the endings of its files' names.
#[derive(Debug, PartialEq)]
pub(super) struct Language {
    pub(super) media_type: &'static str,
    endings: &'static [&'static str],
}

const LANGUAGES: [Language; 42] = [
    language("text/x-c", &["c", "h"]),
    language("text/x-c++", &["cpp", "cc", "cxx", "hpp", "hh"]),
    language("text/x-clojure", &["clj", "cljs"]),
    language("text/x-csharp", &["cs"]),
    language("text/css", &["css", "scss", "less"]),
    language("text/x-dart", &["dart"]),
    language("text/x-dockerfile", &["dockerfile"]),
    language("text/x-elixir", &["ex", "exs"]),
    language("text/x-erlang", &["erl"]),
    language("text/x-fortran", &["f90", "f95", "f"]),
    language("text/x-go", &["go"]),
    language("text/x-groovy", &["groovy", "gradle"]),
    language("text/x-haskell", &["hs"]),
    language("text/x-ini", &["ini", "cfg", "conf", "properties"]),
    language("text/x-java", &["java"]),
    language("text/javascript", &["js", "mjs", "cjs", "jsx"]),
    language("text/x-json", &["json", "json5", "jsonc"]),
    language("text/x-julia", &["jl"]),
    language("text/x-kotlin", &["kt", "kts"]),
    language("text/x-lua", &["lua"]),
    language("text/x-makefile", &["makefile", "mk"]),
    language("text/x-matlab", &["m"]),
    language("text/x-ocaml", &["ml", "mli"]),
    language("text/x-perl", &["pl", "pm"]),
    language("text/x-php", &["php"]),
    language("text/x-powershell", &["ps1", "psm1"]),
    language("text/x-protobuf", &["proto"]),
    language("text/x-python", &["py", "pyi"]),
    language("text/x-r", &["r"]),
    language("text/x-ruby", &["rb"]),
    language("text/x-rust", &["rs"]),
    language("text/x-scala", &["scala"]),
    language("text/x-shellscript", &["sh", "bash", "zsh"]),
    language("text/x-sql", &["sql"]),
    language("text/x-swift", &["swift"]),
    language("text/x-terraform", &["tf"]),
    language("text/x-toml", &["toml"]),
    language("text/x-typescript", &["ts", "tsx"]),
    language("text/x-vue", &["vue", "svelte"]),
    language("text/xml", &["xml", "svg", "xsd", "xsl"]),
    language("text/x-yaml", &["yaml", "yml"]),
    language("text/x-zig", &["zig"]),
];

const fn language(media_type: &'static str, endings: &'static [&'static str]) -> Language {
    Language { media_type, endings }
}

/// The language of files whose names end so.
pub(super) fn language_of_ending(ending: &str) -> Option<&'static Language> {
    LANGUAGES.iter().find(|language| language.endings.contains(&ending))
}

/// Words by which a line of a language begins, or which only it has.
const MARKS: [(&str, &[&str], &[&str]); 12] = [
    (
        "rs",
        &["fn ", "pub fn ", "impl ", "use ", "let ", "let mut ", "pub struct ", "#[", "mod ", "match "],
        &["-> ", "::<", "&mut ", "=> "],
    ),
    (
        "py",
        &["def ", "class ", "import ", "from ", "elif ", "except", "@", "if __name__", "async def "],
        &["self.", "None", "):"],
    ),
    (
        "js",
        &["function ", "const ", "let ", "var ", "export ", "import ", "async function "],
        &["=> {", "===", "require(", "document.", "console."],
    ),
    (
        "ts",
        &["interface ", "export interface ", "type ", "export type ", "declare "],
        &[": string", ": number", "readonly "],
    ),
    (
        "java",
        &["package ", "import java", "public class ", "private ", "public ", "protected ", "@Override"],
        &["System.out", "new ", "throws "],
    ),
    (
        "c",
        &["#include", "#define", "#ifdef", "typedef ", "static ", "int ", "void ", "struct "],
        &["->", "NULL", "printf(", "sizeof("],
    ),
    (
        "cpp",
        &["template<", "template <", "namespace ", "using namespace", "#include <iostream>"],
        &["std::", "cout <<", "nullptr"],
    ),
    ("go", &["package ", "func ", "import (", "type ", "defer "], &[":= ", "err != nil", "fmt."]),
    ("rb", &["require ", "module ", "attr_", "end", "puts "], &[" do |", "@"]),
    ("php", &["<?php", "namespace ", "public function "], &["$this->", "=> ", "$_"]),
    (
        "sql",
        &["select ", "insert into ", "create table ", "update ", "alter table ", "from ", "where "],
        &["primary key", "not null", "varchar"],
    ),
    ("sh", &["#!/bin/", "echo ", "export ", "fi", "done", "if [", "for "], &["$(", "${", "&& "]),
];

/// The language of a text by its content alone: by what its first line says, else by how its lines begin and end, if
/// most of them do so as no prose does.
pub(super) fn language_of_content(text: &str) -> Option<&'static Language> {
    let first = text.trim_start().lines().next().unwrap_or_default();
    if first.starts_with("<?php") {
        return language_of_ending("php");
    }
    if first.starts_with("<?xml") {
        return language_of_ending("xml");
    }
    if let Some(program) = first.strip_prefix("#!/") {
        let known =
            [("python", "py"), ("node", "js"), ("ruby", "rb"), ("perl", "pl"), ("php", "php"), ("sh", "sh")];
        return known
            .iter()
            .find(|(name, _)| program.contains(name))
            .and_then(|(_, ending)| language_of_ending(ending));
    }
    let mut fenced = false;
    let lines = text.lines().map(str::trim).filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && !line.is_empty()
    });
    let lines: Vec<&str> = lines.take(300).collect();
    let is_code = |line: &&&str| {
        line.ends_with([';', '{', '}']) || line.ends_with("):") || line.ends_with("*/") || starts_code(line)
    };
    if lines.len() < 3 || lines.iter().filter(is_code).count() * 5 < lines.len() * 2 {
        return None;
    }
    let score = |(begins, holds): (&[&str], &[&str])| -> usize {
        lines
            .iter()
            .map(|line| {
                let small = line.to_lowercase();
                let begun = begins.iter().any(|mark| {
                    line.starts_with(mark) || mark.contains(' ') && small.starts_with(mark) && mark.len() > 4
                });
                2 * usize::from(begun)
                    + usize::from(holds.iter().any(|mark| line.contains(mark) || small.contains(mark)))
            })
            .sum()
    };
    MARKS
        .into_iter()
        .rev()
        .map(|(ending, begins, holds)| (score((begins, holds)), ending))
        .filter(|(score, _)| *score * 5 >= lines.len())
        .max_by_key(|(score, _)| *score)
        .and_then(|(_, ending)| language_of_ending(ending))
}

/// Beginnings that are code in nearly every language that has them, and not in prose.
fn starts_code(line: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "#include", "#define", "import ", "def ", "return ", "//", "/*", "@", "fn ", "func ", "const ",
        "let ", "var ", "self.",
    ];
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning) && !line.ends_with('.'))
}

/// Reads source code: the text as it is. A block begins at a line on the outermost level after a blank line; a long one
/// is divided at the blank lines of the next level, so that a function stays whole before a class does.
pub(super) fn parse(media_type: &str, text: &str) -> Parsed {
    let text = clean(text);
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        lines.push(Line {
            start,
            end: start + line.trim_end().len(),
            indent: indent(line),
            closes: closes(line.trim()),
        });
        start += line.len();
    }
    let mut blocks = Vec::new();
    divide(&lines, LEVELS, &mut blocks);
    let mut parsed = Parsed::new(media_type, text);
    parsed.blocks = blocks;
    parsed
}

struct Line {
    start: usize,
    /// Of what is not white space; the start of a blank line.
    end: usize,
    indent: usize,
    /// Whether it ends what lines above it began.
    closes: bool,
}

impl Line {
    fn is_blank(&self) -> bool {
        self.start == self.end
    }
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| matches!(c, ' ' | '\t')).map(|c| if c == '\t' { 4 } else { 1 }).sum()
}

fn closes(line: &str) -> bool {
    line.starts_with(['}', ')', ']'])
        || line.starts_with("</")
        || matches!(
            line.split([' ', ';', '(']).next(),
            Some("end" | "else" | "elif" | "#endif" | "fi" | "done")
        )
}

fn divide(lines: &[Line], levels: usize, blocks: &mut Vec<Block>) {
    let Some(base) = lines.iter().filter(|line| !line.is_blank()).map(|line| line.indent).min() else {
        return;
    };
    let mut rest = lines;
    while let Some(first) = rest.iter().position(|line| !line.is_blank()) {
        rest = rest.get(first..).unwrap_or_default();
        let next = rest.windows(2).position(|pair| {
            matches!(pair, [above, line] if above.is_blank() && !line.is_blank() && !line.closes && line.indent <= base)
        });
        let (block, after) = rest.split_at(next.map_or(rest.len(), |next| next + 1));
        rest = after;
        push(block, base, levels, blocks);
    }
}

fn push(block: &[Line], base: usize, levels: usize, blocks: &mut Vec<Block>) {
    let end = block.iter().filter(|line| !line.is_blank()).map(|line| line.end).max().unwrap_or_default();
    let Some(start) = block.first().map(|line| line.start) else { return };
    // The head on the outer level goes with the first part inside.
    let inside = block.iter().position(|line| !line.is_blank() && line.indent > base);
    let Some(inside) = inside.filter(|_| levels > 0 && end - start > LONG) else {
        blocks.push(Block { start, end, kind: BlockKind::Code });
        return;
    };
    let from = blocks.len();
    let (_, body) = block.split_at(inside);
    // What closes the block goes with its last part.
    let last =
        body.iter().rposition(|line| line.indent > base && !line.is_blank()).map_or(0, |last| last + 1);
    divide(body.get(..last).unwrap_or_default(), levels - 1, blocks);
    if let Some(first) = blocks.get_mut(from) {
        first.start = start;
    }
    if let Some(last) = blocks.last_mut() {
        last.end = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<String> {
        let parsed = parse("text/plain", text);
        parsed.blocks.iter().map(|block| parsed.text[block.start..block.end].to_owned()).collect()
    }

    #[test]
    fn functions_stay_whole_with_their_blank_lines() {
        let text = "use a;\nuse b;\n\n/// Doc.\nfn one() {\n    let x = 1;\n\n    x\n}\n\nfn two() {}\n";
        assert_eq!(
            blocks(text),
            ["use a;\nuse b;", "/// Doc.\nfn one() {\n    let x = 1;\n\n    x\n}", "fn two() {}"]
        );
        assert_eq!(
            blocks("def a():\n  x\n\n  y\n\n\nclass B:\n\n  z\n"),
            ["def a():\n  x\n\n  y", "class B:\n\n  z"]
        );
        assert_eq!(blocks("if (a)\n{\n  b\n\n}\n\n} else {\n"), ["if (a)\n{\n  b\n\n}\n\n} else {"]);
        assert_eq!(blocks("\n \n  x\n"), ["  x"]);
    }

    #[test]
    fn a_long_class_is_divided_between_its_methods() {
        let method = |name: &str| {
            format!("    def {name}(self):\n        a = '{}'\n\n        return a\n", "x".repeat(700))
        };
        let text = format!(
            "class C:\n    '''Doc.'''\n\n{}\n{}\n{}\nx = 1\n",
            method("one"),
            method("two"),
            method("three")
        );
        let blocks = blocks(&text);
        assert_eq!(blocks.len(), 5, "{blocks:#?}");
        assert!(
            blocks[0].starts_with("class C:")
                && blocks[1].starts_with("    def one")
                && blocks[1].ends_with("return a")
        );
        assert!(blocks[3].starts_with("    def three"));
        assert_eq!(blocks[4], "x = 1");
    }

    #[test]
    fn languages_are_told_by_content() {
        let of = |text: &str| language_of_content(text).map(|language| language.media_type);
        assert_eq!(of("#!/usr/bin/env python3\nx"), Some("text/x-python"));
        assert_eq!(
            of("use std::fmt;\n\nfn main() {\n    let x = 1;\n    println!(\"{x}\");\n}\n"),
            Some("text/x-rust")
        );
        assert_eq!(
            of(
                "import os\n\ndef main(x):\n    return os.path(x)\n\nclass A(B):\n    def f(self):\n        self.x = None\n"
            ),
            Some("text/x-python")
        );
        assert_eq!(
            of("package main\n\nimport \"fmt\"\n\nfunc main() {\n\tx := 1\n\tfmt.Println(x)\n}\n"),
            Some("text/x-go")
        );
        assert_eq!(
            of("#include <stdio.h>\n\nint main(void) {\n  printf(\"x\");\n  return 0;\n}\n"),
            Some("text/x-c")
        );
        assert_eq!(
            of("const a = require('x');\nfunction f(y) {\n  console.log(y);\n}\nmodule.exports = f;\n"),
            Some("text/javascript")
        );
        assert_eq!(of("Dear Ann,\n\nplease import the goods; they are here.\nReturn soon.\nBob\n"), None);
        assert_eq!(of("# Title\n\nText.\n\n```rust\nfn a() {}\nlet b;\n```\nMore text\nand more"), None);
    }
}
