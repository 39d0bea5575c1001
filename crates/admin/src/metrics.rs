//! Samples, and the text format that Prometheus scrapes (version 0.0.4).
//!
//! The crates below keep plain atomics; the binary registers a closure per crate that reads them
//! when a scrape comes.

use std::fmt::Write as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// One sample. Samples of one name must be neighbours, as the format demands.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

impl Metric {
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, labels: Vec::new(), value: value as f64 }
    }

    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: Kind::Gauge, labels: Vec::new(), value }
    }

    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl ToString) -> Self {
        self.labels.push((name, value.to_string()));
        self
    }
}

type Source = Box<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// Where a scrape collects from.
#[derive(Default)]
pub struct Registry {
    sources: Vec<Source>,
}

impl Registry {
    pub fn add(&mut self, source: impl Fn() -> Vec<Metric> + Send + Sync + 'static) {
        self.sources.push(Box::new(source));
    }

    /// The text of one scrape.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        for metric in self.sources.iter().flat_map(|source| source()).chain(process()) {
            if metric.name != last {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                };
                let _ = writeln!(out, "# HELP {} {}", metric.name, metric.help);
                let _ = writeln!(out, "# TYPE {} {kind}", metric.name);
                last = metric.name;
            }
            out.push_str(metric.name);
            if !metric.labels.is_empty() {
                let labels: Vec<String> = metric
                    .labels
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                    .collect();
                let _ = write!(out, "{{{}}}", labels.join(","));
            }
            let _ = writeln!(out, " {}", metric.value);
        }
        out
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Bytes of this process in memory, from `/proc/self/status`; zero where there is none.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn process() -> Vec<Metric> {
    vec![Metric::gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        resident_bytes() as f64,
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_groups_help_and_escapes_labels() {
        let mut registry = Registry::default();
        registry.add(|| {
            vec![
                Metric::counter("a_total", "As.", 1).label("k", "x\"y"),
                Metric::counter("a_total", "As.", 2).label("k", "z"),
            ]
        });
        let text = registry.render();
        assert!(
            text.starts_with(
                "# HELP a_total As.\n# TYPE a_total counter\na_total{k=\"x\\\"y\"} 1\na_total{k=\"z\"} 2\n"
            ),
            "{text}"
        );
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
