//! The operator as somebody installs it: the chart and the kustomize base on a real control plane, the operator beside it
//! with exactly the arguments, environment, token and rights that the live Deployment gives it, and the image's root file
//! system.

#[path = "install/site.rs"]
mod site;

#[path = "install/chart.rs"]
mod chart;
#[path = "install/failover.rs"]
mod failover;
#[path = "install/image.rs"]
mod image;
#[path = "install/job.rs"]
mod job;
#[path = "install/kustomize.rs"]
mod kustomize;
#[path = "install/rights.rs"]
mod rights;
