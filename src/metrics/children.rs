//! Child processes by program.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::outcome;
use crate::process;

/// The counts that [`process`] keeps.
#[derive(Debug)]
pub struct Children;

impl Collector for Children {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counts = process::counts();
        let help = "Child processes by program and outcome.";
        let mut ended = encoder.encode_descriptor("fairlead_child_processes", help, None, MetricType::Counter)?;
        for (program, count) in &counts {
            for (succeeded, number) in [(true, count.succeeded), (false, count.failed)] {
                let labels = [("program", program.as_str()), ("outcome", outcome(succeeded))];
                ConstCounter::new(number).encode(ended.encode_family(&labels)?)?;
            }
        }
        let (name, help) = ("fairlead_child_processes_running", "Child processes that run now, by program.");
        let mut running = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (program, count) in &counts {
            ConstGauge::new(count.running).encode(running.encode_family(&[("program", program.as_str())])?)?;
        }
        Ok(())
    }
}
