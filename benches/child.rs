//! Running a program as a process of its own, and what that cost: wall time, CPU time, peak memory. The last two are
//! what the kernel counted for that process when it ended, as GNU time reports it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// GNU time: a shell's own `time` does not tell memory.
const TIME: &str = "/usr/bin/time";

/// Ticks of a second in /proc/PID/stat: fixed in what Linux shows to programs on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    pub(crate) peak_kib: u64,
}

/// What a process left behind.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) cost: Cost,
}

/// Where the output goes.
pub(crate) enum Output {
    /// Read, once the program has ended.
    Kept,
    /// To /dev/null.
    Discarded,
}

/// Runs `program` to its end, with `environment` and the path and nothing else of this environment.
pub(crate) fn run<A: AsRef<OsStr>>(
    work: &Path,
    program: &OsStr,
    arguments: &[A],
    environment: &[(&str, &str)],
    output: &Output,
) -> Outcome<Ended> {
    let (costs, out, err) = (work.join("cost"), work.join("stdout"), work.join("stderr"));
    let stdout = match output {
        Output::Kept => Stdio::from(File::create(&out)?),
        Output::Discarded => Stdio::null(),
    };
    let mut command = Command::new(TIME);
    command
        .args(["--quiet", "-f", "%U %S %M", "-o"])
        .arg(&costs)
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(File::create(&err)?);
    let started = Instant::now();
    let status = command
        .status()
        .map_err(|e| format!("{TIME} does not run ({e}); install the package `time`"))?;
    let wall = started.elapsed();
    let text = fs::read_to_string(&costs)?;
    let line = text.lines().last().unwrap_or_default();
    let mut numbers = line.split(' ').map(str::parse::<f64>);
    let mut number = || {
        numbers
            .next()
            .and_then(Result::ok)
            .ok_or(format!("{TIME} said {line:?}"))
    };
    let cpu = Duration::from_secs_f64(number()? + number()?);
    let peak_kib = number()? as u64;
    Ok(Ended {
        code: status.code().unwrap_or(-1),
        stdout: match output {
            Output::Kept => fs::read_to_string(&out)?,
            Output::Discarded => String::new(),
        },
        stderr: fs::read_to_string(&err)?,
        cost: Cost { wall, cpu, peak_kib },
    })
}

/// A server that ends with this process, however that ends, and at the latest when this value is dropped.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts `program`; the kernel ends it where this process ends without a word.
    pub(crate) fn start(program: &OsStr, arguments: &[&OsStr], stdout: Stdio) -> Outcome<Self> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        Ok(usage(self.0.id())?.own)
    }
}

/// The largest resident set that a running process has had (proc(5), `VmHWM`).
pub(crate) fn peak_kib(process: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(number.ok_or("the kernel does not tell the memory of a process")?)
}

/// The CPU time of a process, and of those children of it that have ended and were waited for.
pub(crate) struct Usage {
    pub(crate) parent: u32,
    pub(crate) own: Duration,
    pub(crate) ended_children: Duration,
}

/// Reads /proc/PID/stat (proc(5)).
pub(crate) fn usage(process: u32) -> Outcome<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in brackets, and may hold anything.
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let field = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or("a short stat")
    };
    let time = |a: usize, b: usize| -> Outcome<Duration> {
        Ok(Duration::from_secs_f64(
            (field(a)? + field(b)?) as f64 / TICKS_PER_SECOND,
        ))
    };
    Ok(Usage {
        parent: field(1)? as u32,
        own: time(11, 12)?,
        ended_children: time(13, 14)?,
    })
}

/// The CPU time of a process and of all its children, those that have ended included.
pub(crate) fn usage_of_group(leader: u32) -> Outcome<Duration> {
    let own = usage(leader)?;
    let mut sum = own.own + own.ended_children;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between two looks.
        if let Ok(child) = usage(process)
            && child.parent == leader
        {
            sum += child.own + child.ended_children;
        }
    }
    Ok(sum)
}
