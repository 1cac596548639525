//! Prints what the parser makes of files: `cargo run -p operone-rag --example parse -- FILE…`.

use std::process::ExitCode;

use operone_rag::parse::parse_bytes;

fn main() -> ExitCode {
    let mut outcome = ExitCode::SUCCESS;
    for path in std::env::args().skip(1) {
        let parsed = match std::fs::read(&path) {
            Ok(bytes) => parse_bytes(&path, &bytes),
            Err(error) => {
                eprintln!("{path}: {error}");
                outcome = ExitCode::FAILURE;
                continue;
            }
        };
        match parsed {
            Ok(parsed) => {
                println!("── {path}: {}, {:?}, {:?}", parsed.media_type, parsed.title, parsed.date);
                for block in &parsed.blocks {
                    let page = parsed.pages.iter().rfind(|page| page.start <= block.start);
                    let page = page.map(|page| format!("page {}, ", page.page)).unwrap_or_default();
                    println!("[{page}{:?}]", block.kind);
                    println!("{}", parsed.text.get(block.start..block.end).unwrap_or_default());
                }
            }
            Err(error) => {
                println!("── {path}: {}: {error}", error.code());
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}
