//! Small documents that would become huge: each is read or refused in bounded time and memory, in a process of its own
//! so that both can be measured and an overflow of the stack would show.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use operone_rag::parse::parse_bytes;

/// Of a build without optimization, on a machine that does other things too.
const MOST_TIME: Duration = Duration::from_secs(120);

/// The most memory, in KiB: what the server gives to a process that parses.
const MOST_MEMORY: u64 = 1 << 20;

/// What becomes of a bomb: the code, or `read`.
struct Outcome {
    code: String,
    memory: u64,
    time: Duration,
}

/// Reads the document in a process of its own.
fn outcome(name: &str, bytes: &[u8]) -> Outcome {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bomb-{name}"));
    std::fs::write(&path, bytes).unwrap();
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bombs::child", "--ignored", "--nocapture"])
        .env("OPERONE_TEST_BOMB", &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > MOST_TIME {
            child.kill().unwrap();
            panic!("{name}: not done within {MOST_TIME:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = begun.elapsed();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    std::fs::remove_file(&path).unwrap();
    let line = output.lines().find_map(|line| line.split_once("outcome: "));
    let (_, line) = line.unwrap_or(("", "crashed 0"));
    let (code, memory) = line.split_once(' ').unwrap();
    Outcome { code: code.to_owned(), memory: memory.parse().unwrap(), time }
}

fn check(name: &str, bytes: &[u8], expected: &[&str]) {
    let Outcome { code, memory, time } = outcome(name, bytes);
    println!("| {name} | {} | {code} | {} | {} |", bytes.len(), memory >> 10, time.as_millis());
    assert!(expected.contains(&code.as_str()), "{name}: {code}");
    assert!(memory < MOST_MEMORY, "{name}: {memory} KiB");
}

#[test]
#[ignore = "started by the other tests in a process of its own"]
fn child() {
    let Some(path) = std::env::var_os("OPERONE_TEST_BOMB") else { return };
    let path = PathBuf::from(path);
    let bytes = std::fs::read(&path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let code = parse_bytes(&name, &bytes).map_or_else(|error| error.code().to_owned(), |_| "read".to_owned());
    // The largest amount so far, where the system tells it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let memory = memory.and_then(|memory| memory.trim().split(' ').next()).unwrap_or("0");
    println!("outcome: {code} {memory}");
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + &close.repeat(depth)
}

#[test]
fn nesting_without_end() {
    const DEPTH: usize = 100_000;
    check("deep.json", nested("[", "]", DEPTH).as_bytes(), &["too_large"]);
    check("deep-object.json", nested("{\"a\":", "}", DEPTH).replace(":}", ":1}").as_bytes(), &["too_large"]);
    check("deep.rtf", format!("{{\\rtf1{}", nested("{", "}", DEPTH)).as_bytes(), &["too_large"]);
    check("deep.md", "> ".repeat(DEPTH).as_bytes(), &["read"]);
    check(
        "deep-list.md",
        (0..1000).map(|level| format!("{}- x\n", " ".repeat(level))).collect::<String>().as_bytes(),
        &["read"],
    );
    check(
        "deep.py",
        (0..1000).map(|level| format!("{}if x:\n\n", " ".repeat(level))).collect::<String>().as_bytes(),
        &["read"],
    );
    check("deep.xml", format!("<?xml version='1.0'?>{}", nested("<a>", "</a>", DEPTH)).as_bytes(), &["read"]);
    let mut mail = String::from("Subject: x\nMIME-Version: 1.0\nFrom: a@b.c\n");
    for level in 0..5000 {
        let _ = write!(mail, "Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n");
    }
    check("deep.eml", mail.as_bytes(), &["too_large"]);
    let message = "Subject: x\nMIME-Version: 1.0\nFrom: a@b.c\nContent-Type: message/rfc822\n\n";
    check("messages.eml", (message.repeat(10_000) + "end").as_bytes(), &["read", "too_large"]);
}

#[cfg(feature = "html")]
#[test]
fn pages_that_nest_or_never_close() {
    check("deep.html", nested("<div>", "</div>", 100_000).as_bytes(), &["too_large"]);
    check("tables.html", "<table><tr><td>".repeat(100_000).as_bytes(), &["too_large"]);
    check("bold.html", ("<html>".to_owned() + &"<b><i>x".repeat(50_000)).as_bytes(), &["too_large", "read"]);
    check("flat.html", ("<html>".to_owned() + &"<p><a href=x>y</a>".repeat(50_000)).as_bytes(), &["read"]);
    let wide = format!("<html>{}{}", "<div class='menu'>".repeat(450), "<p>x</p>".repeat(20_000));
    check("wide.html", wide.as_bytes(), &["read", "empty"]);
}

#[test]
fn texts_that_multiply() {
    let names: Vec<String> = (0..9_000).map(|column| format!("{}{column}", "n".repeat(200))).collect();
    let row = vec!["1"; 9_000].join(",");
    check(
        "names.csv",
        format!("{}\n{}", names.join(","), format!("{row}\n").repeat(100)).as_bytes(),
        &["too_large"],
    );
    let path: String = (0..100).map(|level| format!("{{\"{}{level}\":", "k".repeat(10_000))).collect();
    let values = vec!["1"; 400_000]
        .iter()
        .enumerate()
        .map(|(at, _)| format!("{{\"a\":{at}}}"))
        .collect::<Vec<_>>()
        .join(",");
    check("path.json", format!("{path}[{values}]{}", "}".repeat(100)).as_bytes(), &["too_large", "read"]);
    check("values.json", format!("[{}0]", "0,".repeat(5_000_000)).as_bytes(), &["too_large"]);
    check("columns.csv", ",".repeat(2_000_000).as_bytes(), &["read"]);
}

#[cfg(feature = "office")]
mod archives {
    use super::*;
    use crate::archive::pack;

    const WORKBOOK: &str =
        "<workbook xmlns:r='r'><sheets><sheet name='S' sheetId='1' r:id='a'/></sheets></workbook>";
    const LINKED: &str = "<Relationships><Relationship Id='a' Type='x/worksheet' Target='sheet.xml'/>\
                          <Relationship Id='b' Type='x/sharedStrings' Target='strings.xml'/></Relationships>";

    fn workbook(sheet: &str, strings: &str) -> Vec<u8> {
        let sheet = format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>");
        pack(&[
            ("xl/workbook.xml", WORKBOOK.as_bytes()),
            ("xl/_rels/workbook.xml.rels", LINKED.as_bytes()),
            ("xl/sheet.xml", sheet.as_bytes()),
            ("xl/strings.xml", format!("<sst>{strings}</sst>").as_bytes()),
        ])
    }

    fn spreadsheet(rows: &str) -> Vec<u8> {
        let content = format!("<c><body><spreadsheet><table>{rows}</table></spreadsheet></body></c>");
        pack(&[
            ("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"),
            ("content.xml", content.as_bytes()),
        ])
    }

    fn document(body: &[u8]) -> Vec<u8> {
        pack(&[("word/document.xml", body)])
    }

    /// An archive with one entry of ten gigabytes of zeros in 63 MB: each 13 bits repeat 258 of them.
    fn ten_gigabytes(name: &str) -> Vec<u8> {
        let mut bits: Vec<bool> = vec![true, true, false];
        // The code of a literal zero, then of a length of 258 and a distance of 1, in the fixed code.
        bits.extend([false, false, true, true, false, false, false, false]);
        let repeat = [true, true, false, false, false, true, false, true, false, false, false, false, false];
        (0..32).for_each(|_| bits.extend(repeat));
        let bytes: Vec<u8> = bits
            .chunks_exact(8)
            .map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect();
        let mut packed = bytes[..2].to_vec();
        while packed.len() < 63_000_000 {
            packed.extend_from_slice(&bytes[2..15]);
        }
        one_entry(name, &packed)
    }

    fn one_entry(name: &str, packed: &[u8]) -> Vec<u8> {
        let length = u32::try_from(packed.len()).unwrap().to_le_bytes();
        let size = 0xFFFF_FFF0_u32.to_le_bytes();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        // Version, flags, method (deflate), time, date, checksum.
        let shared =
            [&[20, 0, 0, 0, 8, 0, 0, 0, 33, 0, 0, 0, 0, 0][..], &length, &size, &name_length, &[0, 0]]
                .concat();
        let local = [b"PK\x03\x04", &shared[..], name.as_bytes(), packed].concat();
        let central = [b"PK\x01\x02\x14\0", &shared[..], &[0; 14], name.as_bytes()].concat();
        end(local, &central, 1)
    }

    fn end(mut archive: Vec<u8>, central: &[u8], entries: u64) -> Vec<u8> {
        let begin = archive.len() as u64;
        archive.extend_from_slice(central);
        let place = archive.len() as u64;
        let length = central.len() as u64;
        let few = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
        let counted =
            [entries.to_le_bytes(), entries.to_le_bytes(), length.to_le_bytes(), begin.to_le_bytes()]
                .concat();
        archive.extend(
            [b"PK\x06\x06", &44_u64.to_le_bytes()[..], &[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0], &counted]
                .concat(),
        );
        archive.extend([b"PK\x06\x07", &[0; 4][..], &place.to_le_bytes(), &[1, 0, 0, 0]].concat());
        let short =
            [u32::try_from(length).unwrap().to_le_bytes(), u32::try_from(begin).unwrap().to_le_bytes()]
                .concat();
        archive.extend([b"PK\x05\x06", &[0; 4][..], &few, &few, &short, &[0, 0]].concat());
        archive
    }

    #[test]
    fn archives_that_expand() {
        check("zeros.docx", &ten_gigabytes("word/document.xml"), &["too_large"]);
        check("zeros.epub", &ten_gigabytes("META-INF/container.xml"), &["too_large"]);
        let spaces = document(&vec![b' '; 100 << 20]);
        check("spaces.docx", &spaces, &["too_large"]);
        let mut zip = pack(&[("0.dll", &[0; 1 << 20])]);
        for level in 0..5 {
            let names: Vec<String> = (0..16).map(|entry| format!("lib {level}-{entry}.zip")).collect();
            let entries: Vec<(&str, &[u8])> =
                names.iter().map(|name| (name.as_str(), zip.as_slice())).collect();
            zip = pack(&entries);
        }
        check("42.zip", &zip, &["unsupported_format"]);
        check("42.docx", &document(&zip), &["corrupt"]);
    }

    #[test]
    fn archives_of_very_many_entries() {
        let record = [b"PK\x01\x02\x14\0\x14\0", &[0; 20][..], &[1, 0], &[0; 16], b"a"].concat();
        let local = [b"PK\x03\x04\x14\0", &[0; 20][..], &[1, 0, 0, 0], b"a"].concat();
        check("entries.docx", &end(local, &record.repeat(1_000_000), 1_000_000), &["too_large"]);
        let names: Vec<String> = (0..10_001).map(|entry| format!("word/{entry}.xml")).collect();
        let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        check("many.docx", &pack(&entries), &["too_large"]);
    }

    #[test]
    fn entities_that_multiply() {
        let mut entities = String::from("<!DOCTYPE d [<!ENTITY a0 'lol'>");
        for level in 1..10 {
            let _ = write!(entities, "<!ENTITY a{level} '{}'>", format!("&a{};", level - 1).repeat(10));
        }
        let laughs = format!(
            "<?xml version='1.0'?>{entities}]><w:document><w:p><w:r><w:t>x&a9;y</w:t></w:r></w:p></w:document>"
        );
        check("laughs.docx", &document(laughs.as_bytes()), &["read"]);
        let book = laughs.replace("w:document", "workbook");
        check("laughs.xlsx", &pack(&[("xl/workbook.xml", book.as_bytes())]), &["empty"]);
        let text = laughs.replace("w:document", "body").replace("w:p", "text");
        check("laughs.odt", &pack(&[("content.xml", text.as_bytes())]), &["empty", "read"]);
        check("deep.docx", &document(nested("<p>", "</p>", 100_000).as_bytes()), &["too_large"]);
        check(
            "deep.odt",
            &pack(&[("content.xml", nested("<p>", "</p>", 100_000).as_bytes())]),
            &["too_large"],
        );
    }

    #[test]
    fn cells_that_multiply() {
        let far = "<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>".repeat(100_000);
        check("far.xlsx", &workbook(&far, ""), &["read"]);
        let beyond = "<row r='2147483647'><c r='ZZZZZZZ2147483647'><v>1</v></c></row>";
        check("beyond.xlsx", &workbook(beyond, ""), &["read", "empty"]);
        let long = format!("<si><t>{}</t></si>", "x".repeat(1 << 20));
        let row = format!("<row>{}</row>", "<c t='s'><v>0</v></c>".repeat(10_000));
        check("shared.xlsx", &workbook(&row.repeat(100), &long), &["too_large"]);
        let numbers = format!("<row>{}</row>", "<c><v>1</v></c>".repeat(1000)).repeat(200);
        check("numbers.xlsx", &workbook(&numbers, ""), &["read"]);
        let wide =
            "<table-row><table-cell number-columns-repeated='2147483647'><p>x</p></table-cell></table-row>";
        check("wide.ods", &spreadsheet(wide), &["too_large"]);
        let long = "<table-row number-rows-repeated='2147483647'><table-cell number-columns-repeated='9'><p>x</p></table-cell></table-row>";
        check("long.ods", &spreadsheet(long), &["too_large"]);
        let empty = "<table-row number-rows-repeated='2147483647'><table-cell number-columns-repeated='2147483647'/></table-row>";
        check("empty.ods", &spreadsheet(&empty.repeat(1000)), &["empty"]);
        let spaces = "<c><body><text><p>x<s c='2147483647'/>y</p></text></body></c>";
        check("spaces.odt", &pack(&[("content.xml", spaces.as_bytes())]), &["read"]);
    }

    #[cfg(feature = "html")]
    #[test]
    fn a_book_that_names_one_chapter_again_and_again() {
        let chapter = format!("<html><body>{}</body></html>", "<p>words and words</p>".repeat(40_000));
        let package = format!(
            "<package><manifest><item id='a' href='a.html'/></manifest><spine>{}</spine></package>",
            "<itemref idref='a'/>".repeat(9_000)
        );
        let container = "<container><rootfile full-path='b.opf'/></container>";
        let book = pack(&[
            ("META-INF/container.xml", container.as_bytes()),
            ("b.opf", package.as_bytes()),
            ("a.html", chapter.as_bytes()),
        ]);
        check("again.epub", &book, &["read"]);
    }
}

#[cfg(feature = "pdf")]
mod portable {
    use super::*;

    fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut file = b"%PDF-1.7\n".to_vec();
        let mut places = Vec::new();
        for (number, object) in objects.iter().enumerate() {
            places.push(file.len());
            file.extend(format!("{} 0 obj\n", number + 1).into_bytes());
            file.extend(object);
            file.extend(b"\nendobj\n");
        }
        let begin = file.len();
        file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
        places.iter().for_each(|place| file.extend(format!("{place:010} 00000 n \n").into_bytes()));
        file.extend(
            format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{begin}\n%%EOF", objects.len() + 1)
                .into_bytes(),
        );
        file
    }

    fn with_content(content: &[u8]) -> Vec<u8> {
        let stream =
            [format!("<< /Length {} >>\nstream\n", content.len()).as_bytes(), content, b"\nendstream"]
                .concat();
        pdf(&[
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>".to_vec(),
            stream,
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
        ])
    }

    #[test]
    fn documents_without_end() {
        let refused = ["corrupt", "empty", "too_large", "read"];
        let arrays = nested("[", "]", 100_000);
        let crash = [&refused[..], &["crashed"]].concat();
        check(
            "deep-array.pdf",
            &pdf(&[format!("<< /Type /Catalog /Pages {arrays} >>").into_bytes()]),
            &refused,
        );
        check("deep-content.pdf", &with_content(format!("BT /F 12 Tf {arrays} TJ ET").as_bytes()), &crash);
        check("deep-dictionary.pdf", &pdf(&[nested("<< /A ", " >>", 100_000).into_bytes()]), &refused);
        let circle = [
            b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
            b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>".to_vec(),
        ];
        check("circle.pdf", &pdf(&circle), &refused);
        let many = format!("<< /Type /Pages /Kids [{}] /Count 20000 >>", "3 0 R ".repeat(20_000));
        let page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 1e30 1e30] >>".to_vec();
        check(
            "pages.pdf",
            &pdf(&[b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(), many.into_bytes(), page]),
            &refused,
        );
        check(
            "text.pdf",
            &with_content("BT /F 12 Tf 72 700 Td (word) Tj ET\n".repeat(2_000).as_bytes()),
            &refused,
        );
    }
}
