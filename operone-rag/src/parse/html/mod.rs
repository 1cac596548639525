//! Web pages: their main text as Markdown, without scripts, styles, navigation and what is hidden.

mod prune;

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use htmd::element_handler::{HandlerResult, Handlers};
use htmd::options::{BulletListMarker, Options};
use htmd::{Element, HtmlToMarkdown, Node};
use operone_core::clock::Period;
use operone_core::source::Parsed;
use operone_core::{Error, Result};

use super::assemble::{clean, title};
use super::markdown::structured;

/// The deepest nesting of elements.
const MAX_DEPTH: usize = 500;

/// Elements without an end tag, or whose end tag may be left out.
const CLOSED_BY_ITSELF: [&str; 23] = [
    "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option",
    "p", "param", "source", "tbody", "td", "th", "tr", "track", "wbr",
];

/// Names of the date in `meta` elements, the best first.
const DATES: [&str; 8] = [
    "article:modified_time",
    "last-modified",
    "dcterms.modified",
    "article:published_time",
    "date",
    "dc.date",
    "dcterms.date",
    "dcterms.created",
];

/// Reads a web page's main text. Links are kept by their text, images by their description.
pub(super) fn parse(text: &str) -> Result<Parsed> {
    let found = Arc::new(Mutex::new(Found::default()));
    let converter = converter(&found);
    let unreadable =
        |error| Error::invalid("the page cannot be read").with_code("corrupt").with_source(error);
    let too_deep = || {
        Error::invalid(format!("the page nests elements more than {MAX_DEPTH} deep")).with_code("too_large")
    };
    // The time to build a tree grows with the square of its depth, so the worst is refused before.
    if unclosed_exceed(text, 10 * MAX_DEPTH) {
        return Err(too_deep());
    }
    let tree = converter.html_to_tree(text).map_err(unreadable)?;
    if depth_exceeds(&tree, MAX_DEPTH) {
        return Err(too_deep());
    }
    // Title and properties stand in the head, which is outside the main part.
    let _ = converter.tree_to_markdown(&tree);
    let markdown = converter.tree_to_markdown(&prune::main_part(&tree));
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    let mut parsed = structured("text/html", tidy(&clean(&unescape(&markdown))));
    parsed.title = found.title.as_deref().map(unescape).as_deref().and_then(title).or(parsed.title);
    let dated = DATES.iter().find_map(|name| found.meta.iter().find(|(key, _)| key == name));
    parsed.date = dated.and_then(|(_, date)| Period::parse(date).ok()).map(|period| period.first);
    Ok(parsed)
}

/// What is met on the way through a page.
#[derive(Debug, Default)]
struct Found {
    title: Option<String>,
    meta: Vec<(String, String)>,
}

fn converter(found: &Arc<Mutex<Found>>) -> HtmlToMarkdown {
    let with_found = |keep: fn(&mut Found, &Element<'_>, &str) -> Option<String>| {
        let found = Arc::clone(found);
        move |handlers: &dyn Handlers, element: Element<'_>| -> Option<HandlerResult> {
            let content = handlers.walk_children(element.node).content;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            keep(&mut found, &element, &content).map(Into::into)
        }
    };
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    HtmlToMarkdown::builder()
        .options(options)
        .add_handler(vec!["a", "b", "strong", "i", "em"], |handlers: &dyn Handlers, element: Element<'_>| {
            Some(handlers.walk_children(element.node))
        })
        .add_handler(vec!["img"], |_: &dyn Handlers, element: Element<'_>| {
            attribute(&element, "alt").map(|text| HandlerResult::from(text.trim()))
        })
        .add_handler(
            vec!["title"],
            with_found(|found, _, content| {
                found.title.get_or_insert_with(|| content.to_owned());
                None
            }),
        )
        .add_handler(
            vec!["meta"],
            with_found(|found, element, _| {
                let name = attribute(element, "name").or_else(|| attribute(element, "property"));
                if let (Some(name), Some(content)) = (name, attribute(element, "content")) {
                    found.meta.push((name.to_ascii_lowercase(), content));
                }
                None
            }),
        )
        .build()
}

fn attribute(element: &Element<'_>, name: &str) -> Option<String> {
    element
        .attrs
        .iter()
        .find(|attribute| &*attribute.name.local == name)
        .map(|attribute| attribute.value.to_string())
}

/// Whether more elements are open at once than `most`, as a look at the tags alone tells. Elements that HTML closes
/// by itself do not count.
fn unclosed_exceed(html: &str, most: usize) -> bool {
    let mut open = 0_usize;
    for tag in html.split('<').skip(1) {
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        if name.is_empty() || CLOSED_BY_ITSELF.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            continue;
        }
        open = if closes { open.saturating_sub(1) } else { open + 1 };
        if open > most {
            return true;
        }
    }
    false
}

/// Walks without recursion, so that no page can exhaust the stack.
fn depth_exceeds(tree: &Rc<Node>, depth: usize) -> bool {
    let mut level = vec![Rc::clone(tree)];
    for _ in 0..=depth {
        level = level.iter().flat_map(|node| node.children.borrow().clone()).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

/// The text without rules, white space at the ends of lines, and blank lines in a row.
fn tidy(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut blank = true;
    for line in markdown.lines().map(str::trim_end).map(|line| if line == "* * *" { "" } else { line }) {
        if !(blank && line.is_empty()) {
            text.push_str(line);
            text.push('\n');
        }
        blank = line.is_empty();
    }
    text.truncate(text.trim_end().len());
    text
}

/// Takes back the marks by which a text in Markdown is kept from being read as Markdown, but for those that begin a
/// line or stand in code.
fn unescape(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut code = false;
    for line in markdown.split_inclusive('\n') {
        let content = line.trim_start();
        if content.starts_with("```") {
            code = !code;
        }
        if code || !line.contains(['\\', '&']) {
            text.push_str(line);
            continue;
        }
        let mut chars = line.chars().peekable();
        let mut begins = true;
        while let Some(c) = chars.next() {
            let escaped = chars.peek().copied().filter(char::is_ascii_punctuation);
            match escaped {
                Some(escaped) if c == '\\' && !(begins && matches!(escaped, '#' | '|' | '=' | '`' | '~')) => {
                    text.push(escaped);
                    chars.next();
                }
                _ => text.push(c),
            }
            begins &= c.is_whitespace();
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use operone_core::source::BlockKind;

    use super::*;

    fn read(html: &str) -> Parsed {
        parse(html).unwrap()
    }

    #[test]
    fn scripts_styles_navigation_and_hidden_parts_are_no_text() {
        let parsed = read(
            "<html><head><title>A &amp; B</title><style>p{}</style><meta name=date content=2023-05-06></head><body>\
             <nav>menu</nav><script>alert(1)</script><div hidden>no</div><div style='display: none'>no</div>\
             <h1>Head</h1><p>Some <b>bold</b> snake_case 1 < 2 &amp; <a href='http://x/y'>link</a>.</p>\
             <img src=x.png alt='a cat'><footer>foot</footer><noscript>no</noscript></body></html>",
        );
        assert_eq!(parsed.text, "# Head\n\nSome bold snake_case 1 < 2 & link.\n\na cat");
        assert_eq!(parsed.title.as_deref(), Some("A & B"));
        assert_eq!(parsed.date.unwrap().to_string(), "2023-05-06T00:00:00Z");
        assert_eq!((parsed.headings[0].title.as_str(), parsed.headings[0].start), ("Head", 0));
    }

    #[test]
    fn a_page_is_what_its_main_part_holds() {
        let parsed =
            read("<body><header>Shop</header><main><h2>Offer</h2><p>Now or never.</p></main><p>Imprint</p>");
        assert_eq!(parsed.text, "## Offer\n\nNow or never.");
        assert!(read("<main></main><p>All is here.</p>").text.contains("All is here."));
    }

    #[test]
    fn what_helps_to_find_ones_way_is_no_text() {
        let long = "A sentence that says something about the matter at hand, at some length. ".repeat(12);
        let parsed = read(&format!(
            "<body><div class='cookie-banner'><p>We use cookies.</p></div><a class='sr-only' href='#m'>Skip</a>\
             <div role=navigation>Up</div><header><a href=/>Logo</a></header>\
             <ul><li><a href=1>Home</a></li><li><a href=2>News</a></li><li><a href=3>Sport</a></li></ul>\
             <form><label>Search</label><input></form><div><h1>Topic</h1><p>{long}<a href=x>more</a></p>\
             <table><tr><th>k</th><td>v</td></tr></table></div><div aria-hidden=true>icon</div>\
             <div id=footer>Imprint <a href=1>Terms</a></div></body>"
        ));
        assert!(parsed.text.starts_with("# Topic\n\nA sentence"), "{}", parsed.text);
        assert!(parsed.text.contains("more") && parsed.text.contains('k'));
        for gone in ["cookies", "Skip", "Up", "Logo", "Home", "Search", "icon", "Imprint"] {
            assert!(!parsed.text.contains(gone), "{gone}: {}", parsed.text);
        }
    }

    #[test]
    fn the_only_article_is_the_page_and_a_page_of_links_stays() {
        let parsed = read(
            "<body><p>Before</p><article><h1>Head</h1><p>The story as it was told.</p></article><p>After</p></body>",
        );
        assert_eq!(parsed.text, "# Head\n\nThe story as it was told.");
        let links =
            "<ul><li><a href=1>One</a></li><li><a href=2>Two</a></li><li><a href=3>Three</a></li></ul>";
        assert_eq!(read(links).text, "- One\n- Two\n- Three");
        assert!(read("<form action=x><h1>All</h1><p>in a form</p></form>").text.contains("in a form"));
    }

    #[test]
    fn a_table_is_one_block_of_rows() {
        let parsed =
            read("<table><tr><th>Team</th><th>Cups</th></tr><tr><td>Blues</td><td>1</td></tr></table>");
        assert_eq!(parsed.blocks[0].kind, BlockKind::Table);
        assert!(
            parsed.text.lines().any(|line| line.contains("Blues") && line.contains('1')),
            "{}",
            parsed.text
        );
    }

    #[test]
    fn a_page_without_end_of_nesting_is_refused() {
        assert_eq!(parse(&"<div>".repeat(20_000)).unwrap_err().code(), "too_large");
    }
}
