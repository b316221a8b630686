//! A strict reader of Prometheus' text format, version 0.0.4: whatever the format's description forbids, it does not take.

use std::collections::{BTreeMap, BTreeSet};

/// What one page told.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The kind of each family.
    pub(super) kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Page {
    /// # Panics
    /// With the line that is not as it must be.
    pub(super) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let (mut page, mut helped, mut closed, mut now) =
            (Self::default(), BTreeSet::new(), BTreeSet::new(), String::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(name) && !words.is_empty() && helped.insert(name.to_owned()), "{line}");
                begin(name, &mut now, &mut closed);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name, now, "the help of {name} must stand before its type");
                assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (name, labels, value) = sample(line);
                let family = page.family(&name).unwrap_or_else(|| panic!("no type stands before {line}"));
                assert_eq!(family, now, "the samples of a family stand together: {line}");
                assert!(page.samples.insert((name, labels), value).is_none(), "it is there twice: {line}");
            }
        }
        page.check_histograms();
        page
    }

    fn family(&self, name: &str) -> Option<String> {
        if self.kinds.contains_key(name) {
            return Some(name.to_owned());
        }
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))?;
        (self.kinds.get(base)? == "histogram").then(|| base.to_owned())
    }

    fn check_histograms(&self) {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
            for ((sample, labels), value) in &self.samples {
                if *sample == format!("{name}_bucket") {
                    let mut labels = labels.clone();
                    let bound = labels.remove("le").expect("a bucket has a bound");
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                    series.entry(labels).or_default().push((bound, *value));
                }
            }
            assert!(!series.is_empty(), "{name} has no buckets");
            for (labels, mut buckets) in series {
                buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
                assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name} {labels:?} {buckets:?}");
                let (bound, all) = *buckets.last().unwrap();
                assert!(bound.is_infinite(), "{name} {labels:?}");
                assert_eq!(all, self.samples[&(format!("{name}_count"), labels.clone())], "{name} {labels:?}");
                assert!(self.samples.contains_key(&(format!("{name}_sum"), labels.clone())), "{name} {labels:?}");
            }
        }
    }

    /// The sum of all samples of this name that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(|((found, labels), _)| found == name && has(labels)).map(|(_, value)| value).sum()
    }

    /// All series.
    pub(super) fn series(&self) -> BTreeSet<(String, BTreeMap<String, String>)> {
        self.samples.keys().cloned().collect()
    }
}

/// Another family begins; the one before it is over.
fn begin(name: &str, now: &mut String, closed: &mut BTreeSet<String>) {
    assert!(!closed.contains(name), "{name} stands in two places");
    closed.insert(std::mem::replace(now, name.to_owned()));
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        None => (BTreeMap::new(), rest),
        Some(rest) => labels(rest, line),
    };
    let value = value.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("{value:?} is no number: {line}"));
    (name.to_owned(), labels, value)
}

fn labels<'a>(mut rest: &'a str, line: &str) -> (BTreeMap<String, String>, &'a str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !name.contains(':'), "{line}");
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("{line}")) {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    other => panic!("{other:?} is not escaped so: {line}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{line}");
        rest = &after[end + 1..];
        match rest.split_at_checked(1) {
            Some((",", more)) => rest = more,
            Some(("}", more)) => return (labels, more),
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn the_reader_takes_what_is_right_and_nothing_else() {
    let right = "# HELP a_total Why.\n# TYPE a_total counter\na_total{x=\"q\\\"\\n\"} 1\na_total 2\n";
    assert_eq!(Page::read(right).sum("a_total", &[]), 3.0);
    for wrong in [
        "a_total 1\n",
        "# HELP a W.\n# TYPE a counter\na 1\na 1\n",
        "# HELP a W.\n# TYPE a counter\na one\n",
        "# HELP a W.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a W.\n# TYPE a counter\na{x=\"1} 1\n",
    ] {
        assert!(std::panic::catch_unwind(|| Page::read(wrong)).is_err(), "{wrong}");
    }
}
