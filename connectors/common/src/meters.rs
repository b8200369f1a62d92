//! How a connector makes the metrics that Prometheus reads: one namespace, one label that all of them have.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Makes metrics and registers them.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    namespace: &'static str,
    label: &'static str,
}

impl Meters {
    /// A registry with the metrics of the process. Those of the connector begin with `namespace` and
    /// have the label `label`.
    ///
    /// # Errors
    /// Never in an empty registry.
    pub fn new(namespace: &'static str, label: &'static str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            registry,
            namespace,
            label,
        })
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn registry(self) -> Registry {
        self.registry
    }

    /// A counter with further labels.
    ///
    /// # Errors
    /// The name is taken or none.
    pub fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        let counter = IntCounterVec::new(self.options(name, help), &self.with_label(labels))?;
        self.register(counter)
    }

    /// A gauge with further labels.
    ///
    /// # Errors
    /// As [`Meters::counter`].
    pub fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        let gauge = IntGaugeVec::new(self.options(name, help), &self.with_label(labels))?;
        self.register(gauge)
    }

    /// A histogram.
    ///
    /// # Errors
    /// As [`Meters::counter`].
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::from(self.options(name, help)).buckets(buckets);
        self.register(HistogramVec::new(options, &self.with_label(&[]))?)
    }

    fn options(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace(self.namespace)
    }

    fn with_label<'l>(&'l self, labels: &[&'l str]) -> Vec<&'l str> {
        let mut all = vec![self.label];
        all.extend(labels);
        all
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// What a counter has come to over all values of its labels.
#[must_use]
pub fn sum(counter: &IntCounterVec) -> u64 {
    let families = counter.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics
        .map(|metric| metric.get_counter().get_value() as u64)
        .sum()
}
