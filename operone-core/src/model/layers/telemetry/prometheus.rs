//! Metrics in the text format of Prometheus.

use std::fmt::{self, Write};

use super::metrics::{Metric, Series};

pub(super) fn text(series: &[Series]) -> String {
    let mut text = String::new();
    // Writing to a `String` does not fail.
    let _ = write(&mut text, series);
    text
}

fn write(text: &mut String, series: &[Series]) -> fmt::Result {
    let mut metric = None;
    for one in series {
        let (name, help) = described(one.metric);
        if metric.replace(one.metric) != Some(one.metric) {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        }
        let labels = labels(one);
        let histogram = &one.histogram;
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
        }
        let count = histogram.count();
        writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(text, "{name}_sum{{{labels}}} {}", histogram.sum)?;
        writeln!(text, "{name}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

fn described(metric: Metric) -> (&'static str, &'static str) {
    match metric {
        Metric::OperationDuration => (
            "gen_ai_client_operation_duration_seconds",
            "Time from the call of a model to the end of its answer.",
        ),
        Metric::TimeToFirstChunk => (
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time from the call of a model to the first event of its answer.",
        ),
        Metric::TokenUsage => ("gen_ai_client_token_usage", "Tokens that a model read or wrote in a call."),
    }
}

fn labels(series: &Series) -> String {
    let pairs = [
        ("gen_ai_operation_name", Some("chat")),
        ("gen_ai_provider_name", Some(series.provider.as_str())),
        ("gen_ai_request_model", Some(series.model.as_str())),
        ("gen_ai_token_type", series.token_type),
        ("error_type", series.error_type.as_deref()),
    ];
    let pairs = pairs.iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", escaped((*value)?))));
    pairs.collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
