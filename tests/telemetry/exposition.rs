//! Prometheus' text format (version 0.0.4), read as strictly as a scraper may: names, one block a metric, its type
//! before its samples, no series twice, and histograms that add up.

use std::collections::{BTreeMap, BTreeSet};

/// A scrape.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    /// By name, in any order.
    pub(super) metrics: BTreeMap<String, Family>,
}

/// One metric.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) help: String,
    /// Name of the sample and its labels, as text that is equal for equal labels, with the value.
    pub(super) samples: BTreeMap<String, f64>,
    /// The names of labels of each sample.
    pub(super) labels: BTreeSet<Vec<String>>,
}

impl Exposition {
    /// Reads a scrape. Panics with the line that is wrong.
    pub(super) fn parse(text: &str) -> Self {
        let mut all = Self::default();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                let before = all.metrics.insert(
                    name.to_owned(),
                    Family {
                        help: help.to_owned(),
                        ..Family::default()
                    },
                );
                assert!(before.is_none(), "{name} has two blocks");
                current = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert_eq!(name, current, "HELP comes first: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                all.family(name).kind = kind.to_owned();
            } else {
                assert!(!line.starts_with('#'), "{line}");
                all.sample(line, &current);
            }
        }
        assert!(text.ends_with('\n'), "the last line ends");
        all.metrics
            .values()
            .filter(|m| m.kind == "histogram")
            .for_each(Family::assert_adds_up);
        all
    }

    fn family(&mut self, name: &str) -> &mut Family {
        self.metrics
            .get_mut(name)
            .unwrap_or_else(|| panic!("{name} has no HELP"))
    }

    fn sample(&mut self, line: &str, current: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))),
            None => (series, Vec::new()),
        };
        let suffix = name
            .strip_prefix(current)
            .unwrap_or_else(|| panic!("{line} is not in its block"));
        let family = self.family(current);
        match family.kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            "" => panic!("{line} comes before its TYPE"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        let value = match value {
            "+Inf" => f64::INFINITY,
            text => text.parse().unwrap_or_else(|e| panic!("{line}: {e}")),
        };
        assert!(!value.is_nan(), "{line}");
        let mut sorted = labels;
        sorted.sort();
        let names = sorted
            .iter()
            .map(|(key, _)| key.clone())
            .filter(|key| key != "le")
            .collect();
        family.labels.insert(names);
        let text: Vec<String> = sorted
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let before = family.samples.insert(format!("{suffix}{{{}}}", text.join(",")), value);
        assert!(before.is_none(), "{line} is there twice");
    }

    /// The value of a series, by its labels as `a=1,b=2`, sorted.
    #[track_caller]
    pub(super) fn value(&self, name: &str, labels: &str) -> f64 {
        let found = self
            .metrics
            .get(name)
            .and_then(|family| family.samples.get(&format!("{{{labels}}}")));
        *found.unwrap_or_else(|| panic!("no {name}{{{labels}}} in {:#?}", self.metrics.get(name)))
    }
}

/// `a="1",b="2"`, with the escapes of the format.
fn labels(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        assert!(
            plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{text}"
        );
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{text}")) {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    other => panic!("{text}: {other:?}"),
                }),
                (_, c) => value.push(c),
            }
        };
        found.push((name.to_owned(), value));
        rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
    }
    found
}

impl Family {
    /// Buckets grow, and the last is the count.
    fn assert_adds_up(&self) {
        let counts = self
            .samples
            .iter()
            .filter_map(|(series, n)| Some((series.strip_prefix("_count")?, n)));
        for (labels, count) in counts {
            let inner = labels.trim_matches(['{', '}']);
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for (series, n) in self.samples.iter().filter(|(series, _)| series.starts_with("_bucket")) {
                let parts: Vec<&str> = series["_bucket{".len()..].trim_end_matches('}').split(',').collect();
                let le = parts
                    .iter()
                    .find_map(|part| part.strip_prefix("le="))
                    .expect("a bucket has an end");
                let others: Vec<&str> = parts.iter().copied().filter(|part| !part.starts_with("le=")).collect();
                if others.join(",") == inner {
                    buckets.push((
                        if le == "+Inf" {
                            f64::INFINITY
                        } else {
                            le.parse().expect("a number")
                        },
                        *n,
                    ));
                }
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{inner}");
        }
    }
}

#[test]
fn what_is_no_exposition_is_seen() {
    let is_refused = |text: &str| std::panic::catch_unwind(|| Exposition::parse(text)).is_err();
    let good = "# HELP a A thing.\n# TYPE a gauge\na{b=\"x\\\"y\",c=\"\"} 1\na{b=\"z\",c=\"\"} +Inf\n";
    assert_eq!(Exposition::parse(good).value("a", "b=x\"y,c="), 1.0);
    for bad in [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na{b=\"x} 1\n",
        "# HELP a A.\n# TYPE a gauge\nb 1\n",
        "# HELP a A.\n# TYPE a gauge\na NaN\n",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\na 1\n# TYPE a gauge\n",
        "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
    ] {
        assert!(is_refused(bad), "{bad}");
    }
}
