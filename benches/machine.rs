//! What the figures were taken on: without it they say nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use tokio::runtime::Handle;

use crate::Outcome;
use crate::postgres::{Postgres, SERVER};
use crate::slapd::export_command;
use crate::sqlite::Sqlite;

/// The machine, the servers, the command, and what stands in the tables.
pub(crate) fn describe(runtime: &Handle, work: &Path, command: &str) -> Outcome<String> {
    let mut lines = vec![
        format!("Command: `{command}`"),
        format!("Machine: {}", machine()?),
        format!(
            "Directory: {}; pages over HTTP/1.1 on loopback from a process of its own",
            slapd()
        ),
        format!(
            "Database: {}",
            Sqlite::new(runtime.clone(), work.to_owned()).describe()?
        ),
    ];
    if std::env::var_os(SERVER).is_some() {
        lines.push(format!(
            "Database: {}",
            Postgres::new(runtime.clone(), work.to_owned())?.describe()?
        ));
    }
    lines.push(format!("LDAP floor: `{}`", export_command()));
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "- {line}");
    }
    Ok(text)
}

fn machine() -> Outcome<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1))
        .unwrap_or("CPU");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{model}, {cores} cores, {} GiB of memory, Linux {}, load {} at the start",
        kib.unwrap_or_default() / (1024 * 1024),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default()
    ))
}

/// The version of slapd, which it tells on standard error.
fn slapd() -> String {
    let output = Command::new("/usr/sbin/slapd").arg("-VV").output();
    let text = output
        .map(|o| String::from_utf8_lossy(&o.stderr).into_owned())
        .unwrap_or_default();
    // @(#) $OpenLDAP: slapd 2.5.13 …
    let version = text
        .split_whitespace()
        .skip_while(|word| *word != "slapd")
        .nth(1)
        .unwrap_or("of unknown version");
    format!("slapd {version} with mdb")
}
