//! Figures: one JSON line each, held against the goals at the end.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

/// The figures of a bench.
pub struct Report {
    bench: &'static str,
    /// Whether the model is none: prepared answers.
    is_mock: bool,
    missed: Vec<String>,
}

/// One figure with its goal.
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub goal: f64,
    pub lower_is_better: bool,
    /// Who was measured at another time, on such a machine.
    pub rival: Option<(&'static str, f64)>,
    /// What explains it.
    pub details: Value,
}

impl Figure {
    /// Of which less is better.
    pub fn lower(name: impl Into<String>, value: f64, unit: &'static str, goal: f64) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            goal,
            lower_is_better: true,
            rival: None,
            details: Value::Object(Map::new()),
        }
    }
}

impl Report {
    pub const fn new(bench: &'static str, is_mock: bool) -> Self {
        Self {
            bench,
            is_mock,
            missed: Vec::new(),
        }
    }

    /// Prints a figure.
    pub fn say(&mut self, figure: Figure) {
        let rival = figure.rival.map(|(name, value)| json!({"name": name, "value": value}));
        let mut line = json!({
            "bench": self.bench, "name": figure.name, "value": rounded(figure.value), "unit": figure.unit, "goal": figure.goal,
            "better": if figure.lower_is_better { "lower" } else { "higher" }, "rival": rival, "mock": self.is_mock,
            "build": if cfg!(debug_assertions) { "development" } else { "release" },
        });
        if let (Some(line), Value::Object(details)) = (line.as_object_mut(), figure.details) {
            line.extend(details);
        }
        println!("{line}");
        let is_missed = match figure.lower_is_better {
            true => figure.value > figure.goal,
            false => figure.value < figure.goal,
        };
        if is_missed || figure.value.is_nan() {
            let (value, unit, goal) = (rounded(figure.value), figure.unit, figure.goal);
            self.missed
                .push(format!("{}: {value} {unit}, the goal is {goal}", figure.name));
        }
    }

    /// Says what was missed.
    pub fn finish(self) -> ExitCode {
        for missed in &self.missed {
            eprintln!("missed: {missed}");
        }
        if self.missed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Two digits behind the point: more was never measured.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The value below which this part of them lies.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len().max(1));
    values.get(at - 1).copied().unwrap_or(f64::NAN)
}
