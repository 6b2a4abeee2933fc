//! The one integration binary: the product from outside, against real servers.

mod harness;

mod cli;
mod config;
mod connex_source;
mod daemon;
mod directory;
mod file_source;
mod kill;
mod ldap_source;
mod packaging;
mod regressions;
mod rough_weather;
mod runs_connex;
mod runs_ldap;
mod store;
mod telemetry;
mod tidy;
