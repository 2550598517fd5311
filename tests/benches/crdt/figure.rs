//! Figures: one JSON line each, held against their goals at the end.

use std::{process::ExitCode, time::Duration};

use serde_json::{Map, Value, json};

/// Every figure that was printed, as far as it must be remembered.
#[derive(Default)]
pub struct Report {
    missed: Vec<String>,
    broken: Vec<String>,
}

/// One figure.
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    lower_is_better: bool,
    goal: Option<f64>,
    rival: Option<(String, f64)>,
    details: Map<String, Value>,
    is_promise: bool,
}

impl Figure {
    /// Of which less is better.
    pub fn lower(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            lower_is_better: true,
            goal: None,
            rival: None,
            details: Map::new(),
            is_promise: false,
        }
    }

    /// Of which more is better.
    pub fn higher(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            lower_is_better: false,
            ..Self::lower(name, value, unit)
        }
    }

    /// What is to be reached.
    pub const fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// A goal that does not depend on the machine or on how much is measured: missing it is an error, also on a small scale.
    pub const fn promise(mut self, goal: f64) -> Self {
        self.is_promise = true;
        self.goal(goal)
    }

    /// Who was measured beside it, in the same run.
    pub fn rival(mut self, name: impl Into<String>, value: f64) -> Self {
        self.rival = Some((name.into(), value));
        self
    }

    /// Something that explains it.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }

    fn is_missed(&self) -> bool {
        self.goal.is_some_and(|goal| match self.lower_is_better {
            true => self.value > goal,
            false => self.value < goal,
        })
    }
}

impl Report {
    /// Prints a figure.
    pub fn say(&mut self, figure: Figure) {
        let rival = figure.rival.as_ref();
        let mut line = json!({
            "bench": "crdt", "name": figure.name, "value": rounded(figure.value), "unit": figure.unit, "goal": figure.goal,
            "better": if figure.lower_is_better { "lower" } else { "higher" },
            "rival": rival.map(|(name, value)| json!({"name": name, "value": rounded(*value)})),
            "mock": false,
        });
        if let Some(line) = line.as_object_mut() {
            line.extend(figure.details.clone());
        }
        println!("{line}");
        if figure.is_missed() {
            let missed = format!("{}: {} {}", figure.name, rounded(figure.value), figure.unit);
            if figure.is_promise {
                self.broken.push(missed.clone());
            }
            self.missed.push(missed);
        }
    }

    /// Says what was missed. On a small scale only promises count: the goals are for the full one.
    pub fn finish(self, small: bool) -> ExitCode {
        let missed = if small { self.broken } else { self.missed };
        for figure in &missed {
            eprintln!("missed: {figure}");
        }
        if missed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Four significant digits: more were never measured.
fn rounded(value: f64) -> f64 {
    if value.fract() == 0.0 {
        return value;
    }
    let scale = 10_f64.powf(3.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

/// How busy the machine was, from the system.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// The value below which this part of them lies.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(at - 1).copied().unwrap_or(f64::NAN)
}

/// Milliseconds as a number.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
