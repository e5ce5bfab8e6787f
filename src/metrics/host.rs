//! What the operating system knows of this process, under the names that every client library of
//! Prometheus uses.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Reads `/proc` at each scrape; where there is none, only the start time shows.
#[derive(Debug)]
pub struct Host {
    started: f64,
}

impl Host {
    /// Of a process that starts now.
    pub fn starting_now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: now.as_secs_f64() }
    }
}

/// A part of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// The name of the program, in parentheses, may hold anything; what follows is numbers.
fn parse(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { cpu_ticks: number(11)? + number(12)?, virtual_bytes: number(20)?, resident_pages: number(21)? })
}

fn open_files() -> Option<usize> {
    // The directory itself is open while it is read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

impl Collector for Host {
    #[allow(clippy::cast_precision_loss, reason = "no process has 2^52 of anything")]
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        gauge(encoder, "process_start_time_seconds", "When the process started, in seconds since 1970.", self.started)?;
        if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse(&stat)) {
            let resident = stat.resident_pages * page_size() as u64;
            gauge(encoder, "process_resident_memory_bytes", "Resident memory, without children.", resident as f64)?;
            let size = stat.virtual_bytes as f64;
            gauge(encoder, "process_virtual_memory_bytes", "Virtual memory, without children.", size)?;
            let seconds = stat.cpu_ticks as f64 / clock_ticks_per_second() as f64;
            let help = "User and system CPU time, without children.";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        if let Some(open) = open_files() {
            gauge(encoder, "process_open_fds", "Open file descriptors.", open as f64)?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            gauge(encoder, "process_max_fds", "Limit on open file descriptors.", limit as f64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_spaces_and_parentheses() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 9 8 7 6 30 12 5 4 20 0 6 0 99 4096000 250 18446744073709551615";
        assert_eq!(parse(stat), Some(Stat { cpu_ticks: 42, virtual_bytes: 4_096_000, resident_pages: 250 }));
        assert_eq!(parse("12 (a) S 1"), None);
    }
}
