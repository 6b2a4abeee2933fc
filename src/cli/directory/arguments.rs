//! The command line of `rollcall directory`. Reads the token file, and nothing else.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;

use super::{Clock, LISTEN_DEFAULT, Options, Refusal, Sample};

/// Serve a sample ConneX-style directory, whose organizations and accounts can be edited over its API and on a page.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  rollcall directory --listen 127.0.0.1:8481 --data directory.json")]
pub struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = LISTEN_DEFAULT)]
    pub listen: SocketAddr,
    /// A JSON file {"organizations": […], "accounts": […]} to serve; edits are written back to it
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Ask for the bearer token in this file; without it everybody who reaches the address is let in
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How many organizations the built-in sample has
    #[arg(long, value_name = "N", default_value_t = Sample::default().organizations, conflicts_with = "data")]
    pub organizations: usize,
    /// How many accounts the built-in sample has
    #[arg(long, value_name = "N", default_value_t = Sample::default().accounts, conflicts_with = "data")]
    pub accounts: usize,
}

impl Arguments {
    /// What to start the directory with.
    pub fn options(&self, clock: Clock) -> Result<Options, Refusal> {
        let mut options = Options::new(self.listen, clock);
        options.data.clone_from(&self.data);
        options.sample.organizations = self.organizations;
        options.sample.accounts = self.accounts;
        if let Some(file) = &self.token_file {
            let text = fs::read_to_string(file).map_err(|error| {
                let shown = file.display();
                Refusal::Invalid(format!(
                    "{shown} cannot be read ({error}): check the name given to --token-file"
                ))
            })?;
            if text.trim().is_empty() {
                let shown = file.display();
                return Err(Refusal::Invalid(format!("{shown} is empty: write the token into it")));
            }
            options.tokens.push(SecretString::from(text.trim()));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jiff::Timestamp;
    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn options(arguments: &[&str]) -> Result<Options, Refusal> {
        let all = std::iter::once("directory").chain(arguments.iter().copied());
        let program = Program::try_parse_from(all).expect("arguments");
        program.arguments.options(Clock::new(|| Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn arguments_make_options() {
        let plain = options(&[]).expect("options");
        assert_eq!(
            (plain.listen.to_string().as_str(), plain.sample),
            (LISTEN_DEFAULT, Sample::default())
        );
        assert!(plain.tokens.is_empty() && plain.data.is_none());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let shown = file.to_str().expect("plain text");
        assert!(
            options(&["--token-file", shown])
                .expect_err("none")
                .to_string()
                .contains("--token-file")
        );
        std::fs::write(&file, "\n").expect("written");
        assert!(
            options(&["--token-file", shown])
                .expect_err("empty")
                .to_string()
                .contains("is empty")
        );
        std::fs::write(&file, "secret\n").expect("written");
        let with = options(&["--token-file", shown, "--accounts", "7", "--listen", "[::1]:0"]).expect("options");
        assert_eq!((with.tokens[0].expose_secret(), with.sample.accounts), ("secret", 7));
        assert!(Program::try_parse_from(["directory", "--data", "x", "--accounts", "7"]).is_err());
    }
}
