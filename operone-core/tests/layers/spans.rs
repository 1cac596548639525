//! Keeps the spans and events of a test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// A span or an event: its name, its fields, and the span that it stands in.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) fields: BTreeMap<String, String>,
    /// The name of the innermost span that was entered.
    pub(super) within: Option<&'static str>,
    pub(super) is_open: bool,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<(Told, usize)>,
    events: Vec<Told>,
    entered: Vec<Id>,
}

thread_local! {
    static CURRENT: RefCell<Option<Spans>> = const { RefCell::new(None) };
}

/// What was told on one thread. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Arc<Mutex<Kept>>);

/// Hands what is told to the [`Spans`] of its thread. There is one for the whole process: what tracing remembers of
/// places in the code is shared by all threads.
struct ByThread;

impl Spans {
    /// Keeps what is told on this thread from now on.
    pub(super) fn keep() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::subscriber::set_global_default(ByThread).unwrap());
        let spans = Self::default();
        CURRENT.set(Some(spans.clone()));
        spans
    }

    pub(super) fn spans(&self) -> Vec<Told> {
        self.0.lock().unwrap().spans.iter().map(|(told, _)| told.clone()).collect()
    }

    pub(super) fn events(&self) -> Vec<Told> {
        self.0.lock().unwrap().events.clone()
    }
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
}

fn place(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

fn with<T>(act: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    CURRENT.with_borrow(|current| Some(act(&mut current.as_ref()?.0.lock().unwrap())))
}

impl Subscriber for ByThread {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        (target.starts_with("operone_core::model::layers") || target == "layers") && with(|_| ()).is_some()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut told = Told { name: attributes.metadata().name(), is_open: true, ..Told::default() };
        attributes.record(&mut Fields(&mut told.fields));
        let number = with(|kept| {
            kept.spans.push((told, 1));
            kept.spans.len() as u64
        });
        Id::from_u64(number.unwrap())
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        with(|kept| values.record(&mut Fields(&mut kept.spans[place(span)].0.fields)));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        with(|kept| {
            let within = kept.entered.last().map(|id| kept.spans[place(id)].0.name);
            let mut told = Told { name: event.metadata().name(), within, ..Told::default() };
            event.record(&mut Fields(&mut told.fields));
            kept.events.push(told);
        });
    }

    fn enter(&self, span: &Id) {
        with(|kept| kept.entered.push(span.clone()));
    }

    fn exit(&self, span: &Id) {
        with(|kept| kept.entered.retain(|entered| entered != span));
    }

    fn clone_span(&self, span: &Id) -> Id {
        with(|kept| kept.spans[place(span)].1 += 1);
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let closed = with(|kept| {
            let (told, handles) = &mut kept.spans[place(&span)];
            *handles -= 1;
            told.is_open = *handles > 0;
            !told.is_open
        });
        closed.unwrap_or(false)
    }
}
