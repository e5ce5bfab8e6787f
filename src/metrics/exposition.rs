//! The two text formats of `/metrics`: `OpenMetrics` for those who ask for it, and Prometheus' own
//! for all others. Pure.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl Format {
    /// What an `Accept` header asks for. Whoever takes anything gets what every tool reads.
    pub fn accepted(accept: &str) -> Self {
        let weight = |kind: &str| {
            let ranges = accept.split(',').map(str::trim);
            let of_kind = ranges.filter(|range| range.split(';').next().is_some_and(|name| name.trim() == kind));
            of_kind.map(quality).fold(0.0, f64::max)
        };
        let (open, plain) = (weight("application/openmetrics-text"), weight("text/plain"));
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The exposition in this format.
    pub fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

fn quality(range: &str) -> f64 {
    let parameters = range.split(';').skip(1).map(str::trim);
    let given = parameters.filter_map(|parameter| parameter.strip_prefix("q=")).last();
    given.map_or(1.0, |quality| quality.parse().unwrap_or(0.0))
}

/// The samples are the same; counters and infos are described under the names of their samples, and
/// there are neither units nor an end.
fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, said)) = help.take() {
                push(&["# HELP ", name, suffix, " ", said, "\n"]);
            }
            push(&["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            push(&[line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let table = [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html, text/plain;q=0.9, */*;q=0.1", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.2", Format::Prometheus),
            ("application/openmetrics-text;q=0", Format::Prometheus),
            (prometheus_3, Format::OpenMetrics),
        ];
        for (accept, expected) in table {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn counters_and_infos_are_described_under_their_samples_names() {
        let open = "# HELP a_seconds Help.\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\na_seconds_sum 1.0\n\
            # HELP b More help.\n# TYPE b counter\nb_total{x=\"# y\"} 2\n# HELP c It.\n# TYPE c info\nc_info{} 1\n# EOF\n";
        let expected = "# HELP a_seconds Help.\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n\
            # HELP b_total More help.\n# TYPE b_total counter\nb_total{x=\"# y\"} 2\n# HELP c_info It.\n# TYPE c_info gauge\nc_info{} 1\n";
        assert_eq!(Format::Prometheus.of(open.to_owned()), expected);
        assert_eq!(Format::OpenMetrics.of(open.to_owned()), open);
    }
}
