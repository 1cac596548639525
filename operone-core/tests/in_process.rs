//! The in-process backends keep the promises of their contracts.

mod event_bus {
    use std::sync::Arc;

    use operone_core::event::EventBus;
    use operone_core::in_process::InProcessBus;

    async fn fresh() -> (Arc<dyn EventBus>, ()) {
        (Arc::new(InProcessBus::default()), ())
    }

    operone_core::event_bus_conformance!(fresh);
}
