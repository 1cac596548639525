//! Each contract as tests that anyone can run: one generated test per promise.
//!
//! In the tests of a backend, with the feature `conformance`:
//!
//! ```
//! mod event_bus {
//!     use std::sync::Arc;
//!     use operone_core::{event::EventBus, in_process::InProcessBus};
//!
//!     /// A new, empty one, and whatever must outlive it: a folder, a connection, or nothing.
//!     async fn fresh() -> (Arc<dyn EventBus>, ()) {
//!         (Arc::new(InProcessBus::default()), ())
//!     }
//!
//!     operone_core::event_bus_conformance!(fresh);
//! }
//! ```
//!
//! Attributes before the name stand on each test: `operone_core::journal_conformance!(#[ignore = "needs a
//! service"] fresh);`.
//!
//! An optional ability is tested either way: what the capabilities promise must work, and what they do not
//! promise must be refused as `Unsupported`.

pub mod chunk_store;
pub mod embedder;
pub mod embedding_cache;
pub mod event_bus;
pub mod journal;
pub mod language_model;
pub mod memory_store;
pub mod tool;

use std::future::Future;

/// Lists the promises of a contract once. From the list come the tests of every backend, and the function that
/// runs one promise: a promise that is not listed is an unused function, which does not compile in CI.
macro_rules! cases {
    ($contract:ty, $tests:ident, $module:ident: $($case:ident)*) => {
        cases! { @ ($) $contract, $tests, $module: $($case)* }
    };
    (@ ($d:tt) $contract:ty, $tests:ident, $module:ident: $($case:ident)*) => {
        /// The names of the promises.
        pub const CASES: &[&str] = &[$(stringify!($case)),*];

        /// Checks one promise, by its name, against a new and empty implementation.
        ///
        /// # Panics
        ///
        /// If the promise is broken, or if there is none of this name.
        pub async fn run(case: &str, subject: std::sync::Arc<$contract>) {
            match case {
                $(stringify!($case) => $case(subject).await,)*
                _ => panic!("there is no case named {case}"),
            }
        }

        /// One test per promise of the contract. See [`conformance`](crate::conformance).
        #[macro_export]
        macro_rules! $tests {
            ($d(#[$d attribute:meta])* $d fresh:path) => {
                $d crate::conformance_tests! { $module, [$d(#[$d attribute])*], $d fresh: $($case)* }
            };
        }
    };
}
pub(crate) use cases;

/// Makes the tests of one contract; called by the macros of the contracts.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($module:ident, $attributes:tt, $fresh:path: $($case:ident)*) => {
        $($crate::conformance_tests! { @ $module, $attributes, $fresh, $case })*
    };
    (@ $module:ident, [$($attribute:tt)*], $fresh:path, $case:ident) => {
        #[test]
        $($attribute)*
        fn $case() {
            $crate::conformance::block_on(async {
                let (subject, _guard) = $fresh().await;
                $crate::conformance::$module::run(stringify!($case), subject).await;
            });
        }
    };
}

/// Runs a test on a runtime of its own.
///
/// # Panics
///
/// If the runtime cannot be started.
#[doc(hidden)]
pub fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime for the test").block_on(test);
}
