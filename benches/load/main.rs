//! Load on servers that this program starts itself, on loopback, and ends again.
//!
//!     cargo bench --features bench --bench load -- SCENE [--json] [--quick]
//!
//! `seed DIR FILES TICKETS` makes a data directory with that many files (in shares of 100,000) and
//! tickets, and leaves it there.
//!
//! `docs/benchmarks.md` says what each scene does. With `--json` one object goes to standard
//! output; what is under way is said on standard error. Every wait has a bound, and so has every
//! count.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its results")]
#![allow(missing_docs, unreachable_pub, reason = "a program, not a library")]

mod busy;
mod client;
mod crowded;
mod growth;
mod idle;
mod proc;
mod servers;
mod sessions;

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

const SCENES: &str = "sessions, idle, crowded, growth, growth-files, growth-tickets, growth-records, growth-open, \
                      seed DIR FILES TICKETS";

/// What a scene gives.
pub struct Report {
    scene: &'static str,
    figures: Map<String, Value>,
    goals: Vec<Value>,
}

impl Report {
    pub fn new(scene: &'static str) -> Self {
        Self { scene, figures: Map::new(), goals: Vec::new() }
    }

    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        eprintln!("  {name}: {value}");
        self.figures.insert(name.to_owned(), value);
    }

    /// A goal that is reached when the value is at least as large (`more`), or at most as large.
    pub fn goal(&mut self, name: &str, value: f64, goal: f64, stretch: f64, more: bool) {
        let reached = |bound: f64| if more { value >= bound } else { value <= bound };
        let level = match (reached(stretch), reached(goal)) {
            (true, _) => "stretch",
            (false, true) => "goal",
            (false, false) => "no",
        };
        eprintln!("  GOAL {name}: {value} (goal {goal}, stretch {stretch}): {level}");
        self.goals.push(json!({
            "name": name, "value": value, "goal": goal, "stretch": stretch, "reached": reached(goal),
        }));
    }

    fn into_json(self) -> Value {
        json!({ "scene": self.scene, "figures": self.figures, "goals": self.goals })
    }
}

/// Three digits are enough for anybody.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

pub fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// The value below which this part of all lies.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part).ceil() as usize).saturating_sub(1);
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (half, odd) = (values.len() / 2, values.len() % 2 == 1);
    match (values.get(half), odd) {
        (Some(middle), true) => *middle,
        (Some(upper), false) => (values.get(half - 1).unwrap_or(upper) + upper) / 2.0,
        (None, _) => 0.0,
    }
}

async fn run(scene: &str, words: &[String], quick: bool) -> client::Outcome<Report> {
    match scene {
        "seed" => growth::seed(words).await,
        "uploads" => busy::run(words).await,
        "sessions" => sessions::run(quick).await,
        "idle" => idle::run(quick).await,
        "crowded" => crowded::run(quick).await,
        "growth" => growth::run(quick, &["files", "tickets", "records", "open"]).await,
        "growth-files" => growth::run(quick, &["files"]).await,
        "growth-tickets" => growth::run(quick, &["tickets"]).await,
        "growth-records" => growth::run(quick, &["records"]).await,
        "growth-open" => growth::run(quick, &["open"]).await,
        other => Err(format!("there is no scene {other}; there are {SCENES}")),
    }
}

fn main() -> ExitCode {
    let (mut scene, mut words, mut as_json, mut quick) = (None, Vec::new(), false, false);
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--json" => as_json = true,
            "--quick" => quick = true,
            // cargo bench adds it.
            "--bench" => {}
            _ if scene.is_none() => scene = Some(word),
            _ => words.push(word),
        }
    }
    let Some(scene) = scene else {
        eprintln!("cargo bench --features bench --bench load -- SCENE [--json] [--quick]\nscenes: {SCENES}");
        return ExitCode::from(2);
    };
    // Each connection has a descriptor here, too.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&scene, &words, quick)) {
        Ok(report) => {
            let report = report.into_json();
            if as_json {
                println!("{report}");
            } else {
                println!("{report:#}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{scene}: {error}");
            ExitCode::FAILURE
        }
    }
}
