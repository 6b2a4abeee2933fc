//! The unit as systemd reads it, and how much it shuts. What the package does is tried in a container: `make trial`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Exposure that the unit may have, in tenths, as `systemd-analyze security` counts it from 0 (shut) to 100 (open).
const EXPOSURE_MAX: u32 = 15;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/rollcall.service")
}

fn analyze(arguments: &[&str], unit: &Path) -> Output {
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze is installed (make test installs it)")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// The unit with the program where it was built, so that only the unit itself can be wrong.
fn with_the_program(change: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let text = std::fs::read_to_string(unit()).expect("the unit");
    assert!(text.contains("ExecStart=/usr/bin/rollcall serve\n"));
    let text = change(text.replace("/usr/bin/rollcall", env!("CARGO_BIN_EXE_rollcall")));
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("rollcall.service");
    std::fs::write(&path, text).expect("written");
    (directory, path)
}

#[test]
fn systemd_finds_nothing_wrong_in_the_unit() {
    let (_directory, unit) = with_the_program(|text| text);
    let verified = analyze(&["verify", "--man=no"], &unit);
    assert!(
        verified.status.success() && words(&verified).is_empty(),
        "{}",
        words(&verified)
    );

    let (_directory, broken) = with_the_program(|text| text.replace("ProtectHome=yes", "ProtectHouse=yes"));
    let verified = analyze(&["verify", "--man=no"], &broken);
    assert!(words(&verified).contains("ProtectHouse"), "{}", words(&verified));
}

#[test]
fn the_unit_shuts_what_the_daemon_does_not_need() {
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let judged = analyze(&["security", "--offline=yes", "--no-pager", &threshold], &unit());
    assert!(judged.status.success(), "{}", words(&judged));
    assert!(words(&judged).contains("Overall exposure level"), "{}", words(&judged));
}

#[test]
fn what_the_service_creates_is_its_own() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name);
        std::fs::read_to_string(path).expect("the file")
    };
    let (unit, sysusers, tmpfiles) = (
        read("rollcall.service"),
        read("rollcall.sysusers"),
        read("rollcall.tmpfiles"),
    );
    for line in [
        "User=rollcall",
        "Group=rollcall",
        "UMask=0077",
        "StateDirectoryMode=0700",
    ] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    assert!(sysusers.lines().any(|l| l.starts_with("u rollcall ")));
    let modes: Vec<Vec<&str>> = tmpfiles
        .lines()
        .filter(|l| l.starts_with('d'))
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        modes,
        [
            ["d", "/etc/rollcall", "0750", "root", "rollcall", "-"],
            ["d", "/var/lib/rollcall", "0700", "rollcall", "rollcall", "-"],
        ]
    );
}

#[test]
fn the_configuration_of_the_package_is_one_that_the_program_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/package/rollcall.toml");
    let check = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_rollcall"))
            .env_clear()
            .args([
                "--config".as_ref(),
                file.as_os_str(),
                "config".as_ref(),
                "show".as_ref(),
            ])
            .output()
            .expect("runs")
    };
    let shown = check(&path);
    assert!(shown.status.success(), "{}", words(&shown));

    // The example in it as well, once the marks are taken away.
    let text = std::fs::read_to_string(&path).expect("the file");
    let (head, example) = text.split_once("# [[sources]]").expect("an example");
    let unmarked: String = example
        .lines()
        .map(|l| format!("{}\n", l.trim_start_matches("# ")))
        .collect();
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("rollcall.toml");
    std::fs::write(&file, format!("{head}[[sources]]{unmarked}")).expect("written");
    let shown = check(&file);
    assert!(
        shown.status.success() && words(&shown).contains("connex"),
        "{}",
        words(&shown)
    );
}
