//! `etl doctor`: each check on a deployment with the error that it finds.

mod database;
mod deployment;
mod findings;
