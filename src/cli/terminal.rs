//! Writing to people: colour where it is wanted, signs that the locale has, columns that line up, one error format.

use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Color;
use super::exit::{Exit, Failure};

/// Widest line that is printed where nothing says how wide the terminal is.
const WIDTH_DEFAULT: usize = 120;

pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(super) const RED: Style = AnsiColor::Red.on_default();
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();

/// Text in a style. What cannot show it gets the text alone.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The signs of a plan. Without UTF-8 in the locale they are ASCII.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    pub(super) arrow: &'static str,
    pub(super) put_back: &'static str,
    pub(super) yes: &'static str,
    pub(super) no: &'static str,
    pub(super) more: &'static str,
}

const UNICODE: Signs = Signs {
    arrow: "→",
    put_back: "↺",
    yes: "✓",
    no: "✗",
    more: "…",
};
const ASCII: Signs = Signs {
    arrow: "->",
    put_back: "<",
    yes: "ok",
    no: "FAILED",
    more: "...",
};

/// Where a command writes.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) signs: Signs,
    pub(super) width: usize,
}

impl Terminal {
    pub(super) fn new(color: Color) -> Self {
        match color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL")
            .or_else(|| set("LC_CTYPE"))
            .or_else(|| set("LANG"))
            .unwrap_or_default();
        let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        let columns = if std::io::stdout().is_terminal() {
            terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))
        } else {
            None
        };
        Self {
            signs: if utf8 { UNICODE } else { ASCII },
            width: columns.unwrap_or(WIDTH_DEFAULT).max(20),
        }
    }

    /// Whether a progress display makes sense.
    pub(super) fn is_interactive(&self) -> bool {
        std::io::stderr().is_terminal()
    }

    /// Prints to standard output. A reader that has gone away ends the program quietly.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        written(
            anstream::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| anstream::stdout().flush()),
        )
    }

    /// Prints a line to standard error.
    pub(super) fn note(&self, text: &str) {
        // Nobody reads it: then nobody misses it.
        let _ = writeln!(anstream::stderr(), "{text}");
    }

    /// Prints why a command failed.
    pub(super) fn fail(&self, failure: &Failure) {
        for message in failure.messages.iter().filter(|m| !m.is_empty()) {
            self.note(&format!("{} {message}", paint(RED.bold(), "error:")));
        }
    }
}

/// The outcome of writing to standard output.
pub(super) fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure {
            exit: Exit::Done,
            messages: vec![],
        }),
        Err(e) => Err(Failure::new(
            Exit::Failed,
            format!("standard output cannot be written ({e})"),
        )),
    }
}

/// A number with its thousands apart.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 user`, `2 users`.
pub(super) fn plural(n: u64, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {one}{s}", number(n))
}

/// Text cut to `width` columns, with a sign where something is left out.
pub(super) fn cut(text: &str, width: usize, signs: Signs) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(signs.more.width());
    let mut used = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= room
        })
        .collect();
    kept + signs.more
}

/// Text filled up to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Text broken into lines of at most `width` columns between words, each after `indent`.
pub(super) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let room = width.saturating_sub(indent.width()).max(16);
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && last.width() + 1 + word.width() > room {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
}

/// A table with a head, its columns lined up and the last one cut to the terminal.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn render(&self, terminal: &Terminal) -> String {
        let head: Vec<String> = self.head.iter().map(|h| h.to_uppercase()).collect();
        let width_of = |column: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|row| row.get(column))
                .chain(head.get(column));
            cells.map(|cell| plain_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width_of).collect();
        let mut out = String::new();
        let styled: Vec<String> = head.iter().map(|h| paint(DIM, h)).collect();
        for row in std::iter::once(&styled).chain(&self.rows) {
            let mut line = String::new();
            let mut room = terminal.width;
            for (at, cell) in row.iter().enumerate() {
                let gap = if at == 0 { 0 } else { 2 };
                if room <= gap + 3 && at > 0 {
                    break;
                }
                line.push_str(&" ".repeat(gap));
                room = room.saturating_sub(gap);
                let shown = if plain_width(cell) > room {
                    cut(&strip(cell), room, terminal.signs)
                } else {
                    cell.clone()
                };
                let fill = if at + 1 < row.len() {
                    widths[at].min(room).saturating_sub(plain_width(&shown))
                } else {
                    0
                };
                line.push_str(&shown);
                line.push_str(&" ".repeat(fill));
                room = room.saturating_sub(widths[at]);
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn strip(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn plain_width(text: &str) -> usize {
    strip(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_plurals() {
        assert_eq!(number(0), "0");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(plural(1, "user"), "1 user");
        assert_eq!(plural(1_000, "user"), "1,000 users");
    }

    #[test]
    fn wide_characters_are_cut_at_their_columns() {
        assert_eq!(cut("山田太郎", 5, UNICODE), "山田…");
        assert_eq!(cut("short", 5, UNICODE), "short");
        assert_eq!(pad("山", 4), "山  ");
    }

    #[test]
    fn tables_line_up_and_stay_within_the_terminal() {
        let mut table = Table::new(&["name", "what"]);
        table.row(vec![paint(GREEN, "a"), "b".repeat(100)]);
        table.row(vec!["long name".into(), "c".into()]);
        let text = strip(&table.render(&Terminal {
            signs: UNICODE,
            width: 40,
        }));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME       WHAT");
        assert_eq!(lines[2], "long name  c");
        assert!(lines.iter().all(|line| line.width() <= 40), "{text}");
    }

    #[test]
    fn words_are_wrapped() {
        assert_eq!(
            wrap("one two three four five", 20, "  "),
            "  one two three four\n  five\n"
        );
    }
}
