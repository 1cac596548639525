//! The main text of a page: leaves out of its tree what serves to find one's way, to fill in or to be hidden.

use std::collections::HashMap;
use std::rc::Rc;

use htmd::Node;
use markup5ever_rcdom::NodeData;

/// Elements that hold no text of the page.
const SKIPPED: [&str; 21] = [
    "script",
    "style",
    "noscript",
    "template",
    "nav",
    "footer",
    "aside",
    "svg",
    "iframe",
    "object",
    "canvas",
    "button",
    "select",
    "input",
    "textarea",
    "audio",
    "video",
    "map",
    "dialog",
    "menu",
    "ix:header",
];

/// Roles of elements that are no text of the page.
const ROLES: [&str; 9] = [
    "navigation",
    "contentinfo",
    "search",
    "dialog",
    "alertdialog",
    "complementary",
    "menu",
    "menubar",
    "toolbar",
];

/// Words in the class or the id of elements that are no text of the page, as long as they are a small part of it.
const CLASSES: [&str; 24] = [
    "cookie",
    "cookies",
    "consent",
    "gdpr",
    "onetrust",
    "skip",
    "skiplink",
    "breadcrumb",
    "breadcrumbs",
    "navbar",
    "nav",
    "navigation",
    "menu",
    "footer",
    "sidebar",
    "social",
    "share",
    "sharing",
    "newsletter",
    "advert",
    "advertisement",
    "ads",
    "popup",
    "modal",
];

/// Words in the class of elements that are there for other senses than sight, or not at all.
const HIDDEN: [&str; 5] = ["hidden", "sr-only", "visually-hidden", "element-invisible", "screen-reader-text"];

/// Elements that may be lists of links.
const BLOCKS: [&str; 9] = ["div", "section", "ul", "ol", "dl", "table", "header", "p", "td"];

/// Takes out of a page's tree what is not its text and gives the part that holds the text: the `main` element or the
/// only article, if that is a good part of the page, else the whole page without its lists of links.
pub(super) fn main_part(page: &Rc<Node>) -> Rc<Node> {
    let weights = Weights::of(page);
    let whole = weights.get(page);
    remove(page, &|node| is_no_text(node, weights.get(node), whole));
    let weights = Weights::of(page);
    let whole = weights.get(page);
    let mains = find(page, &|node| name(node) == "main" || attribute(node, "role") == "main");
    if let [main, ..] = mains.as_slice()
        && weights.get(main).letters * 4 >= whole.letters
    {
        return Rc::clone(main);
    }
    let articles = find(page, &|node| name(node) == "article");
    if let [article] = articles.as_slice()
        && weights.get(article).letters * 2 >= whole.letters
    {
        return Rc::clone(article);
    }
    // A page of links is what it is.
    let has_prose = whole.letters > whole.linked * 2 && whole.letters - whole.linked > 400;
    remove(page, &|node| {
        let part = weights.get(node);
        name(node) == "header" && part.titles == 0 || has_prose && is_list_of_links(node, part, whole)
    });
    Rc::clone(page)
}

fn is_no_text(node: &Rc<Node>, part: Weight, whole: Weight) -> bool {
    let tag = name(node);
    if tag.is_empty() || matches!(tag, "html" | "body" | "head" | "main") {
        return false;
    }
    if SKIPPED.contains(&tag) || ROLES.contains(&attribute(node, "role").as_str()) || is_hidden(node) {
        return true;
    }
    if part.letters * 4 >= whole.letters || part.titles > 0 {
        // A form, say, may be wrapped around a whole page.
        return false;
    }
    let names = format!("{} {}", attribute(node, "class"), attribute(node, "id")).to_ascii_lowercase();
    tag == "form" || names.split([' ', '-', '_', '\t', '\n']).any(|word| CLASSES.contains(&word))
}

fn is_hidden(node: &Rc<Node>) -> bool {
    let style: String = attribute(node, "style").to_ascii_lowercase().split_whitespace().collect();
    let classes = attribute(node, "class");
    has(node, "hidden") && attribute(node, "hidden") != "until-found"
        || attribute(node, "aria-hidden") == "true"
        || style.contains("display:none")
        || style.contains("visibility:hidden")
        || classes.split_whitespace().any(|class| HIDDEN.contains(&class))
}

/// Short links with hardly a word between them.
fn is_list_of_links(node: &Rc<Node>, part: Weight, whole: Weight) -> bool {
    BLOCKS.contains(&name(node))
        && part.links > 2
        && part.linked * 10 > part.letters * 6
        && part.linked < part.links * 40
        && part.letters * 3 < whole.letters
        && part.titles == 0
}

/// What there is in a part of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    /// The text's bytes without white space.
    letters: usize,
    /// Those of them that are in links.
    linked: usize,
    links: usize,
    /// Headings of the highest level.
    titles: usize,
}

/// What there is in each element, counted in one pass.
struct Weights {
    by_node: HashMap<*const Node, Weight>,
}

impl Weights {
    fn of(page: &Rc<Node>) -> Self {
        let mut weights = Self { by_node: HashMap::new() };
        weights.add(page, false);
        weights
    }

    fn get(&self, node: &Rc<Node>) -> Weight {
        self.by_node.get(&Rc::as_ptr(node)).copied().unwrap_or_default()
    }

    fn add(&mut self, node: &Rc<Node>, in_link: bool) -> Weight {
        if let NodeData::Text { contents } = &node.data {
            let letters = contents.borrow().bytes().filter(|byte| !byte.is_ascii_whitespace()).count();
            return Weight { letters, linked: if in_link { letters } else { 0 }, ..Weight::default() };
        }
        let tag = name(node);
        if matches!(tag, "script" | "style" | "head" | "noscript") {
            return Weight::default();
        }
        let is_link = tag == "a";
        let mut weight =
            Weight { links: usize::from(is_link), titles: usize::from(tag == "h1"), ..Weight::default() };
        for child in node.children.borrow().iter() {
            let part = self.add(child, in_link || is_link);
            weight.letters += part.letters;
            weight.linked += part.linked;
            weight.links += part.links;
            weight.titles += part.titles;
        }
        self.by_node.insert(Rc::as_ptr(node), weight);
        weight
    }
}

fn remove(node: &Rc<Node>, is_unwanted: &dyn Fn(&Rc<Node>) -> bool) {
    node.children.borrow_mut().retain(|child| !is_unwanted(child));
    node.children.borrow().iter().for_each(|child| remove(child, is_unwanted));
}

fn find(node: &Rc<Node>, is_wanted: &dyn Fn(&Rc<Node>) -> bool) -> Vec<Rc<Node>> {
    let mut found = Vec::new();
    collect(node, is_wanted, &mut found);
    found
}

fn collect(node: &Rc<Node>, is_wanted: &dyn Fn(&Rc<Node>) -> bool, found: &mut Vec<Rc<Node>>) {
    if is_wanted(node) {
        found.push(Rc::clone(node));
        return;
    }
    node.children.borrow().iter().for_each(|child| collect(child, is_wanted, found));
}

fn name(node: &Rc<Node>) -> &str {
    match &node.data {
        NodeData::Element { name, .. } => &name.local,
        _ => "",
    }
}

fn has(node: &Rc<Node>, wanted: &str) -> bool {
    match &node.data {
        NodeData::Element { attrs, .. } => {
            attrs.borrow().iter().any(|attribute| &*attribute.name.local == wanted)
        }
        _ => false,
    }
}

fn attribute(node: &Rc<Node>, wanted: &str) -> String {
    match &node.data {
        NodeData::Element { attrs, .. } => {
            let attributes = attrs.borrow();
            let found = attributes.iter().find(|attribute| &*attribute.name.local == wanted);
            found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}
