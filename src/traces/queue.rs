//! Spans that wait for a collector.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::span::Span;
use crate::metrics::Metrics;

/// Spans that wait at the most; of more, the oldest are dropped and counted. The number is the default of the SDKs.
const CAPACITY: usize = 2048;

/// Where whoever tells spans leaves them, without waiting.
pub struct Queue {
    waiting: Mutex<VecDeque<Span>>,
    arrived: Notify,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// An empty one.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new(), metrics }
    }

    /// Adds spans.
    pub fn push(&self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        let dropped = {
            let mut waiting = self.locked();
            waiting.extend(spans);
            let excess = waiting.len().saturating_sub(CAPACITY);
            waiting.drain(..excess).count()
        };
        self.metrics.spans("dropped", dropped);
        self.arrived.notify_one();
    }

    /// Takes the oldest spans, as many as there are up to `limit`.
    pub fn take(&self, limit: usize) -> Vec<Span> {
        let mut waiting = self.locked();
        let count = waiting.len().min(limit);
        waiting.drain(..count).collect()
    }

    /// Puts spans back that were taken and not sent.
    pub fn put_back(&self, spans: Vec<Span>) {
        let dropped = {
            let mut waiting = self.locked();
            let room = CAPACITY.saturating_sub(waiting.len());
            let dropped = spans.len().saturating_sub(room);
            spans.into_iter().skip(dropped).rev().for_each(|span| waiting.push_front(span));
            dropped
        };
        self.metrics.spans("dropped", dropped);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.locked().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until one does.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::metrics::exposition::Format;
    use crate::traces::span::{Period, SpanId, TraceId};

    fn spans(numbers: std::ops::Range<usize>) -> Vec<Span> {
        let trace = TraceId::of("uid", "revision");
        let period = Period::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let named = |number: usize| Span {
            trace,
            id: SpanId::of(trace, &[&number.to_string()]),
            parent: None,
            name: number.to_string().into(),
            period,
            attributes: Vec::new(),
            failure: None,
        };
        numbers.map(named).collect()
    }

    fn names(spans: &[Span]) -> Vec<&str> {
        spans.iter().map(|span| span.name.as_ref()).collect()
    }

    #[test]
    fn the_oldest_are_dropped_and_counted_and_what_was_taken_comes_first_again() {
        let metrics = Arc::new(Metrics::default());
        let queue = Queue::new(Arc::clone(&metrics));
        queue.push(spans(0..CAPACITY + 3));
        assert_eq!(queue.len(), CAPACITY);
        let taken = queue.take(2);
        assert_eq!(names(&taken), ["3", "4"]);
        queue.put_back(taken);
        assert_eq!(names(&queue.take(3)), ["3", "4", "5"]);
        queue.push(spans(0..2));
        queue.put_back(spans(10..14));
        assert_eq!((names(&queue.take(1)), queue.len()), (vec!["13"], CAPACITY - 1));
        let text = metrics.text(Format::Prometheus);
        assert!(text.contains("fairlead_spans_total{outcome=\"dropped\"} 6"), "{text}");
    }

    #[tokio::test]
    async fn one_that_arrived_before_it_was_waited_for_is_seen() {
        let queue = Queue::new(Arc::default());
        queue.push(spans(0..1));
        queue.filled().await;
        assert_eq!(queue.take(9).len(), 1);
        assert!(queue.is_empty());
    }
}
