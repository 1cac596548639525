//! What was measured, as a table of Markdown.

use std::time::Duration;

use crate::Options;
use crate::client::Taken;

/// What one way costs under one load.
#[derive(Debug)]
pub(crate) struct Cost {
    first_token: Quantiles,
    whole: Quantiles,
    /// Microseconds of processor time.
    per_thousand_tokens: f64,
}

/// A name, and what it is of a cost.
type Measure = (&'static str, fn(&Cost) -> f64);

/// In microseconds.
#[derive(Debug)]
struct Quantiles {
    median: f64,
    p99: f64,
}

impl Quantiles {
    fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<f64> = durations.map(|duration| duration.as_secs_f64() * 1e6).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self { median: at(0.5), p99: at(0.99) }
    }
}

impl Cost {
    /// `processor` is what the process used for all of these answers.
    pub(crate) fn new(taken: &[Taken], processor: Duration, tokens: usize) -> Self {
        Self {
            first_token: Quantiles::of(taken.iter().map(|taken| taken.first_token)),
            whole: Quantiles::of(taken.iter().map(|taken| taken.whole)),
            per_thousand_tokens: processor.as_secs_f64() * 1e6 * 1000.0 / tokens as f64,
        }
    }
}

/// The costs of one load: of the model itself, through the bare proxy, through Operone.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) load: &'static str,
    pub(crate) costs: Vec<Cost>,
}

/// Prints the tables; `memory` is per open stream in bytes, of the bare proxy and of Operone.
pub(crate) fn print(options: &Options, rows: &[Row], memory: &[f64]) {
    println!("{} answers of {} tokens each way and load\n", options.requests, options.tokens);
    println!("| | direct | bare proxy | Operone | added by the proxy | added by Operone | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for Row { load, costs } in rows {
        let [direct, proxy, operone] = costs.as_slice() else { continue };
        let measures: [Measure; 4] = [
            ("first token, median", |cost| cost.first_token.median),
            ("first token, 99th percentile", |cost| cost.first_token.p99),
            ("whole answer, median", |cost| cost.whole.median),
            ("whole answer, 99th percentile", |cost| cost.whole.p99),
        ];
        println!("| **{load}** | | | | | | |");
        for (name, of) in measures {
            let (direct, proxy, operone) = (of(direct), of(proxy), of(operone));
            println!(
                "| {name} | {direct:.0} µs | {proxy:.0} µs | {operone:.0} µs | {:.0} µs | {:.0} µs | {} |",
                proxy - direct,
                operone - direct,
                ratio(direct, proxy, operone)
            );
        }
        let (proxy, operone) = (proxy.per_thousand_tokens, operone.per_thousand_tokens);
        println!(
            "| processor time for 1,000 tokens | | {proxy:.0} µs | {operone:.0} µs | {proxy:.0} µs | {operone:.0} µs | {:.2} |",
            operone / proxy
        );
    }
    if let [proxy, operone] = memory {
        let (proxy, operone) = (proxy / 1024.0, operone / 1024.0);
        println!("| **{} open, idle streams** | | | | | | |", options.streams);
        println!(
            "| memory for each | | {proxy:.1} KiB | {operone:.1} KiB | {proxy:.1} KiB | {operone:.1} KiB | {:.2} |",
            operone / proxy
        );
    }
}

/// What Operone adds to the direct answer, in shares of what the proxy adds; a dash where that is lost in the noise of the
/// direct one.
fn ratio(direct: f64, proxy: f64, operone: f64) -> String {
    let (by_proxy, by_operone) = (proxy - direct, operone - direct);
    if by_proxy > direct / 10.0 { format!("{:.2}", by_operone / by_proxy) } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let of = |numbers: &[u64]| Quantiles::of(numbers.iter().map(|number| Duration::from_micros(*number)));
        let many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!((of(&many).median, of(&many).p99), (100.0, 198.0));
        assert_eq!((of(&[7]).median, of(&[7]).p99), (7.0, 7.0));
        assert!(of(&[]).median.is_nan());
        assert_eq!([ratio(10.0, 12.0, 13.0), ratio(10.0, 12.0, 9.0)], ["1.50", "-0.50"]);
        assert_eq!([ratio(10.0, 10.5, 13.0), ratio(10.0, 8.0, 13.0)], ["–", "–"]);
    }
}
