//! PostgreSQL of our own: the cluster that `make test` has started, or one for this process alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where `make test` says that its cluster is: a superuser's URL without a database.
const SHARED: &str = "ROLLCALL_TEST_POSTGRES";

/// A cluster on a Unix socket in a temporary directory.
pub(crate) struct Cluster {
    directory: PathBuf,
    bin: PathBuf,
}

static SERVER: OnceLock<String> = OnceLock::new();

/// The URL of the server, without a database: `postgres://postgres@%2Fsocket%2Fdirectory/`.
pub(crate) fn server() -> &'static str {
    SERVER.get_or_init(|| match std::env::var(SHARED) {
        Ok(url) => url,
        Err(_) => {
            let cluster = Cluster::start();
            let url = cluster.url();
            // The process of the test ends by itself; a watcher ends the server after it.
            cluster.stop_with_this_process();
            url
        }
    })
}

fn newest_bin() -> PathBuf {
    let mut all: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed (make test installs it)")
        .map(|entry| entry.expect("readable directory").path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    all.sort();
    all.pop().expect("PostgreSQL has initdb")
}

/// PostgreSQL refuses to run as root: then it runs as `postgres`.
fn command(bin: &Path, program: &str) -> Command {
    let path = bin.join(program);
    let root = std::fs::metadata("/proc/self")
        .map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
        .unwrap_or(false);
    if root {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
            .arg(path);
        command
    } else {
        Command::new(path)
    }
}

impl Cluster {
    /// Makes and starts a cluster.
    pub(crate) fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("rollcall-pg-")
            .tempdir_in("/tmp")
            .expect("directory")
            .keep();
        let bin = newest_bin();
        let chown = Command::new("chown").arg("postgres:").arg(&directory).status();
        assert!(chown.is_ok(), "chown runs");
        let data = directory.join("data");
        let initdb = command(&bin, "initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data)
            .current_dir(&directory)
            .output()
            .expect("initdb runs");
        assert!(
            initdb.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&initdb.stderr)
        );
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off -c max_connections=100",
            directory.display()
        );
        let started = command(&bin, "pg_ctl")
            .args(["-w", "-o", &options, "-l"])
            .arg(directory.join("log"))
            .arg("-D")
            .arg(&data)
            .arg("start")
            .current_dir(&directory)
            .stdout(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        assert!(
            started.success(),
            "PostgreSQL starts: {}",
            directory.join("log").display()
        );
        Self { directory, bin }
    }

    /// Its URL, without a database.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres@{}",
            self.directory.display().to_string().replace('/', "%2F")
        )
    }

    /// Stops it and removes its files when this process has ended, however that ends.
    fn stop_with_this_process(self) {
        let script = format!(
            "while kill -0 {} 2>/dev/null; do sleep 0.3; done; {} pg_ctl -D {dir}/data -m immediate stop; rm -rf {dir}",
            std::process::id(),
            format_args!(
                "PATH={}:$PATH setpriv --reuid=postgres --regid=postgres --clear-groups --",
                self.bin.display()
            ),
            dir = self.directory.display(),
        );
        let watcher = Command::new("setsid")
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        assert!(watcher.is_ok(), "the watcher starts");
    }
}
