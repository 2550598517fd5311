//! What a gateway counts of its own work, and how that is written for Prometheus: pure but for the counters.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

/// Answers by the first digit of their status.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    answers: [AtomicU64; 6],
}

impl Figures {
    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Class and number, from 1xx to 5xx.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (String, u64)> {
        let counted = self.answers.iter().enumerate().skip(1);
        counted.map(|(class, counter)| (format!("{class}xx"), counter.load(Ordering::Relaxed)))
    }
}

/// A text in Prometheus' format.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a figure.
    pub(crate) fn figure(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string cannot fail.
        let _ = write!(self.0, "# HELP starling_{name} {help}\n# TYPE starling_{name} {kind}\n");
    }

    /// A value of it; labels have no quotes or backslashes in them.
    pub(crate) fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{text}\""))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.0, "starling_{name}{labels} {value}");
    }

    /// A figure with one value.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.figure(name, kind, help);
        self.value(name, &[], value);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let figures = Figures::default();
        figures.answered(200);
        figures.answered(204);
        figures.answered(503);
        figures.answered(999);
        let answers: Vec<_> = figures.answers().map(|(_, count)| count).collect();
        assert_eq!(answers, [0, 2, 0, 0, 1]);
        let mut text = Exposition::default();
        text.single("sockets", "gauge", "Open sockets.", 3.0);
        text.figure("answers_total", "counter", "Answers.");
        text.value("answers_total", &[("class", "2xx")], 2.0);
        assert_eq!(
            text.into_text(),
            "# HELP starling_sockets Open sockets.\n# TYPE starling_sockets gauge\nstarling_sockets 3\n\
             # HELP starling_answers_total Answers.\n# TYPE starling_answers_total counter\nstarling_answers_total{class=\"2xx\"} 2\n"
        );
    }
}
