//! What is counted in the whole house, and how it reads as Prometheus' text. Counting is an atomic
//! addition; the lock is taken when something is counted for the first time, where no handle of it
//! is kept, and when somebody asks.
//!
//! The crate that does the same brings some twenty others, and keeps each sample of a histogram
//! until it is asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use crate::model::{Locked, LockedGuard};

/// What times are sorted by, in seconds. What takes longer is counted behind the last one.
const STEPS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// All that is counted. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct PrometheusRecorder(Arc<Locked<Registry>>);

#[derive(Default)]
struct Registry {
    helps: BTreeMap<String, SharedString>,
    /// By name, so that what belongs together stands together, then by labels.
    lines: BTreeMap<(String, String), Line>,
}

enum Line {
    Counter(Arc<AtomicU64>),
    /// The bits of a 64-bit floating point number.
    Gauge(Arc<AtomicU64>),
    HistogramCells(Arc<HistogramCells>),
}

/// How often something took how long.
#[derive(Default)]
struct HistogramCells {
    steps: [AtomicU64; STEPS.len()],
    longer: AtomicU64,
    /// In microseconds: 500,000 years of them can be added up.
    sum: AtomicU64,
}

impl HistogramFn for HistogramCells {
    fn record(&self, seconds: f64) {
        let step = STEPS.iter().position(|step| seconds <= *step).and_then(|at| self.steps.get(at));
        step.unwrap_or(&self.longer).fetch_add(1, Relaxed);
        self.sum.fetch_add((seconds * 1e6).clamp(0.0, 1e15) as u64, Relaxed);
    }
}

impl PrometheusRecorder {
    fn registry(&self) -> LockedGuard<'_, Registry> {
        self.0.lock()
    }

    fn describe(&self, name: KeyName, help: SharedString) {
        self.registry().helps.insert(name.as_str().to_owned(), help);
    }

    /// Everything, one line each.
    pub(super) fn text(&self) -> String {
        let (registry, mut out, mut last) = (self.registry(), String::new(), "");
        for ((name, labels), line) in &registry.lines {
            if name != last {
                let kind = match line {
                    Line::Counter(_) => "counter",
                    Line::Gauge(_) => "gauge",
                    Line::HistogramCells(_) => "histogram",
                };
                if let Some(help) = registry.helps.get(name) {
                    let _ = writeln!(out, "# HELP {name} {help}");
                }
                let _ = writeln!(out, "# TYPE {name} {kind}");
                last = name;
            }
            let whole = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            // Writing into a string cannot fail.
            let _ = match line {
                Line::Counter(count) => writeln!(out, "{name}{whole} {}", count.load(Relaxed)),
                Line::Gauge(bits) => writeln!(out, "{name}{whole} {}", f64::from_bits(bits.load(Relaxed))),
                Line::HistogramCells(times) => {
                    let (mut all, comma) = (0, if labels.is_empty() { "" } else { "," });
                    for (step, count) in STEPS.iter().zip(&times.steps) {
                        all += count.load(Relaxed);
                        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{step}\"}} {all}");
                    }
                    all += times.longer.load(Relaxed);
                    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {all}");
                    let _ = writeln!(out, "{name}_sum{whole} {}", times.sum.load(Relaxed) as f64 / 1e6);
                    writeln!(out, "{name}_count{whole} {all}")
                }
            };
        }
        out
    }

    fn number(&self, key: &Key, line: fn(Arc<AtomicU64>) -> Line) -> Arc<AtomicU64> {
        match self.registry().lines.entry(place(key)).or_insert_with(|| line(Arc::default())) {
            Line::Counter(number) | Line::Gauge(number) => Arc::clone(number),
            // Two things of one name: the second one counts nowhere.
            Line::HistogramCells(_) => Arc::default(),
        }
    }
}

/// Where it stands. Labels are words of this program, which need no escaping.
fn place(key: &Key) -> (String, String) {
    let labels: Vec<_> = key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
    (key.name().to_owned(), labels.join(","))
}

impl Recorder for PrometheusRecorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(name, help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key, Line::Counter))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key, Line::Gauge))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.registry().lines.entry(place(key)).or_insert_with(|| Line::HistogramCells(Arc::default())) {
            Line::HistogramCells(times) => Histogram::from_arc(Arc::clone(times)),
            Line::Counter(_) | Line::Gauge(_) => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};

    use super::*;

    #[test]
    fn what_is_counted_reads_as_prometheus_wants_it() {
        let recorder = PrometheusRecorder::default();
        with_local_recorder(&recorder, || {
            describe_counter!("bytes_total", "Bytes.");
            counter!("bytes_total", "by" => "b").increment(5);
            counter!("bytes_total", "by" => "a").increment(2);
            counter!("bytes_total", "by" => "b").increment(1);
            gauge!("open").increment(3.0);
            gauge!("open").decrement(1.5);
            histogram!("close_seconds").record(0.000_4);
            histogram!("close_seconds").record(0.03);
            histogram!("close_seconds").record(100.0);
            histogram!("open").record(1.0);
            counter!("close_seconds").increment(1);
        });
        let text = recorder.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["# HELP bytes_total Bytes.", "# TYPE bytes_total counter", "bytes_total{by=\"a\"} 2"]);
        assert_eq!(lines[3], "bytes_total{by=\"b\"} 6");
        assert_eq!(lines[4..6], ["# TYPE close_seconds histogram", "close_seconds_bucket{le=\"0.0005\"} 1"]);
        assert!(lines.contains(&"close_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        assert!(lines.contains(&"close_seconds_bucket{le=\"0.05\"} 2"), "{text}");
        assert!(lines.contains(&"close_seconds_bucket{le=\"+Inf\"} 3"), "{text}");
        assert!(lines.contains(&"close_seconds_sum 100.0304") && lines.contains(&"close_seconds_count 3"), "{text}");
        assert!(text.ends_with("# TYPE open gauge\nopen 1.5\n"), "{text}");
    }
}
