//! What the system says of this process, for the metrics: read from /proc, which a hardened unit leaves visible.

use std::fs;

/// Clock ticks a second in /proc: fixed for programs on every Linux architecture that this builds for (USER_HZ).
const TICKS_A_SECOND: f64 = 100.0;

/// Name and value of what could be read. What cannot be read is left out.
pub(super) fn read() -> Vec<(&'static str, f64)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |key| number(&status, key).map(|n| n * 1024.0);
    let found = [
        ("process_cpu_seconds_total", cpu_seconds()),
        ("process_resident_memory_bytes", kilobytes("VmRSS:")),
        ("process_virtual_memory_bytes", kilobytes("VmSize:")),
        ("process_open_fds", open_files()),
        ("process_max_fds", most_files()),
        ("process_threads", number(&status, "Threads:")),
    ];
    found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The first number in the line of `text` that begins with `key`.
fn number(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    ticks(&fs::read_to_string("/proc/self/stat").ok()?).map(|ticks| ticks / TICKS_A_SECOND)
}

/// User and system time in a line of proc_pid_stat(5). The name of the program, in brackets, may have spaces.
fn ticks(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn open_files() -> Option<f64> {
    // The listing itself is one of them.
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(count.saturating_sub(1) as f64)
}

fn most_files() -> Option<f64> {
    number(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let found = read();
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.iter().all(|(_, value)| *value >= 0.0), "{found:?}");
        let memory = found.iter().find(|(name, _)| *name == "process_resident_memory_bytes");
        assert!(memory.is_some_and(|(_, bytes)| *bytes > 1e6), "{found:?}");
    }

    #[test]
    fn a_name_with_brackets_and_spaces_is_skipped() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(ticks(stat), Some(200.0));
    }
}
