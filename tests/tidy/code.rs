//! Rust as text with what is no code taken out: enough to find paths, functions and tests, and no more than that.

/// A file, and its code alone: comments, texts and test modules are blank, lines and columns stay where they are.
pub(crate) struct Code {
    /// As it stands.
    pub(crate) text: String,
    /// Without comments, the insides of texts, and `#[cfg(test)]` modules.
    pub(crate) code: String,
}

/// One function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Code {
    /// Reads a file.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            code: without_tests(&blank(text)),
        }
    }

    /// Reads a file that holds tests and nothing else.
    pub(crate) fn of_tests(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            code: String::new(),
        }
    }

    /// How many lines the file has.
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the word stands in the code.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        word_at(&self.code, word, 0).is_some()
    }

    /// Every function with a body, outside of tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code = &self.code;
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = word_at(code, "fn", from) {
            from = at + 2;
            let name: String = code[from..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            let Some(stop) = code[from..].find(['{', ';']).map(|n| from + n) else {
                break;
            };
            // `fn(A) -> B` is a type, and a function that ends with `;` is a signature.
            if name.is_empty() || code.as_bytes()[stop] == b';' {
                continue;
            }
            let end = closing(code, stop);
            found.push(Function {
                name,
                line: code[..at].matches('\n').count() + 1,
                lines: code[at..end].matches('\n').count() + 1,
            });
        }
        found
    }

    /// Every path that begins with one of `roots` (`crate`, `super`), groups taken apart: `crate::a::{b, c::d}` is
    /// `crate::a::b` and `crate::a::c::d`.
    pub(crate) fn paths(&self, roots: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for root in roots {
            let mut from = 0;
            while let Some(at) = word_at(&self.code, root, from) {
                from = at + root.len();
                let inside = self.code[..at].trim_end().ends_with("::");
                if !inside && self.code[from..].starts_with("::") {
                    expand(&self.code[at..], String::new(), &mut found);
                }
            }
        }
        found
    }

    /// Every path that begins with `crate`, or leads by `super` out of the module of the file: `crate` and what follows.
    pub(crate) fn crate_paths(&self, path: &str) -> Vec<String> {
        let file = path
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .trim_end_matches("/mod");
        let depth = file.split('/').filter(|part| !matches!(*part, "lib" | "main")).count();
        let reaches_root = |path: &String| {
            let above = path.split("::").take_while(|part| *part == "super").count();
            let rest: Vec<&str> = path.split("::").skip(above).collect();
            (above == depth && depth > 0).then(|| format!("crate::{}", rest.join("::")))
        };
        let mut found = self.paths(&["crate"]);
        found.extend(self.paths(&["super"]).iter().filter_map(reaches_root));
        found
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands by itself in `text`, from `from` on.
fn word_at(text: &str, word: &str, from: usize) -> Option<usize> {
    text[from..].match_indices(word).map(|(at, _)| from + at).find(|at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Where the block that opens at `open` has ended.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Adds the paths that `text` begins with; answers how much of it they take.
fn expand(text: &str, before: String, found: &mut Vec<String>) -> usize {
    let name: String = text.chars().take_while(|c| is_word(*c)).collect();
    let mut at = name.len();
    let path = if before.is_empty() {
        name
    } else {
        format!("{before}::{name}")
    };
    let Some(rest) = text[at..].strip_prefix("::") else {
        found.push(path);
        return at;
    };
    at += 2;
    if !rest.starts_with('{') {
        return at + expand(rest, path, found);
    }
    at += 1;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
        match text[at..].chars().next() {
            Some(c) if is_word(c) => {
                at += expand(&text[at..], path.clone(), found);
                // Of `a as b` only the name that it has over there is a path.
                if let Some(renamed) = text[at..].strip_prefix(" as ") {
                    at += " as ".len() + renamed.chars().take_while(|c| is_word(*c)).count();
                }
            }
            Some('}') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

/// The code with every `#[cfg(test)]` item that has a block blanked out.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(at) = out[from..].find(MARK).map(|n| from + n) {
        let Some(stop) = out[at..].find(['{', ';']).map(|n| at + n) else {
            break;
        };
        let end = if out.as_bytes()[stop] == b'{' {
            closing(&out, stop)
        } else {
            stop + 1
        };
        let empty: String = out[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
        out.replace_range(at..end, &empty);
        from = at + empty.len();
    }
    out
}

/// The text with comments and the insides of texts and characters replaced by spaces.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hidden = hidden(rest, out.chars().next_back());
        if hidden == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        out.extend(rest[..hidden].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[hidden..];
    }
    out
}

/// How many bytes from here on are a comment, a text or a character; 0 where it is code.
fn hidden(rest: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |n| from + n + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    if !before.is_some_and(is_word) {
        let plain = rest.strip_prefix('b').unwrap_or(rest);
        if let Some(raw) = plain.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                let end = format!("\"{}", "#".repeat(hashes));
                return until(&end, rest.len() - raw.len() + hashes + 1);
            }
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let mut after = rest.chars().skip(1);
    match (rest.starts_with('\''), after.next(), after.next()) {
        (true, Some('\\'), _) | (true, _, Some('\'')) => quoted(rest, '\''),
        _ => 0,
    }
}

/// The length of what begins with a quotation mark, to the next that is not escaped.
fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn what_is_no_code_is_not_seen() {
    let code = Code::new(
        "// unsafe\n/* unsafe\n */ let a = \"unsafe \\\" unsafe\"; let b = r#\"unsafe \"x\"#; let c = b\"unsafe\";\n\
         let d = '\"'; let e = '\\''; fn f<'a>(x: &'a str) { safe() }\n#[cfg(test)]\nmod tests { fn t() { unsafe { } } }\nlast();",
    );
    assert!(!code.has_word("unsafe"), "{}", code.code);
    for word in ["safe", "last", "a", "x"] {
        assert!(code.has_word(word), "{word}: {}", code.code);
    }
    assert_eq!(code.code.lines().count(), code.text.lines().count());
    assert!(Code::new("let a = \"x\"; unsafe { }").has_word("unsafe"));
}

#[test]
fn functions_are_measured() {
    let code = Code::new(
        "trait T {\n  fn only_signed();\n}\nfn a(f: fn(u8) -> u8) {\n  \"}\";\n}\nasync fn b() -> u8 { 1 }\n",
    );
    let found: Vec<_> = code
        .functions()
        .into_iter()
        .map(|f| (f.name, f.line, f.lines))
        .collect();
    assert_eq!(found, [("a".into(), 4, 3), ("b".into(), 7, 1)]);
}

#[test]
fn groups_of_imports_are_taken_apart() {
    let code =
        Code::new("use crate::a::{self, b::{C, D as E}, f};\nuse super::g;\nlet x = crate::h::i(super::super::j::K);");
    assert_eq!(
        code.paths(&["crate"]),
        [
            "crate::a::self",
            "crate::a::b::C",
            "crate::a::b::D",
            "crate::a::f",
            "crate::h::i"
        ]
    );
    assert_eq!(code.crate_paths("src/one/two.rs").last().expect("found"), "crate::j::K");
    assert_eq!(code.crate_paths("src/one/mod.rs").last().expect("found"), "crate::g");
}
