//! Rules that a compiler does not know: who imports whom, how long things are, and that documents name what there is.
//! Reads the files of the repository as text. Each rule is a function of text, with tests of what it must catch.

mod code;
mod documents;
mod rules;

use std::path::{Path, PathBuf};

use code::Code;

/// Longest file in `src`, in lines. Files that hold tests alone are not read as a whole, and may be longer.
const FILE_LINES_MAX: usize = 500;

/// Longest function in `src`, in lines from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are longer today. The number is a ceiling: it may be lowered, and the line goes when the file is short
/// enough. No file is added.
const LONG_FILES: &[(&str, usize)] = &[];

/// Functions that are longer today, as above: file, function, ceiling.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[("src/sources/ldap/failure.rs", "search", 75)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files below `directory` with that ending, as paths from the root, sorted.
fn files(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())) {
            let path = entry.expect("readable directory").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                let relative = path.strip_prefix(root()).expect("below the root");
                found.push(relative.to_str().expect("plain names").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Whether the file holds the tests of the file beside it, which takes it in for tests alone.
fn is_tests(path: &str) -> bool {
    let Some(tested) = path.strip_suffix("_tests.rs") else {
        return false;
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    read(&format!("{tested}.rs")).contains(&format!("#[cfg(test)]\n#[path = \"{name}\"]\nmod tests;"))
}

/// Asserts a rule of every file in `src`, and that there are files at all.
#[track_caller]
fn every_file(rule: impl Fn(&str, &Code) -> Vec<String>) {
    let files = files("src", "rs");
    assert!(files.len() > 50, "only {} files were found", files.len());
    let broken: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = read(path);
            let code = if is_tests(path) {
                Code::of_tests(&text)
            } else {
                Code::new(&text)
            };
            rule(path, &code).into_iter().map(move |what| format!("{path}: {what}"))
        })
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn modules_import_only_what_they_may() {
    every_file(rules::imports);
}

#[test]
fn libraries_stay_where_they_belong() {
    every_file(rules::libraries);
}

#[test]
fn the_core_is_pure() {
    every_file(rules::purity);
}

#[test]
fn every_file_says_what_it_is() {
    every_file(rules::head);
}

#[test]
fn no_short_cuts() {
    every_file(rules::short_cuts);
}

#[test]
fn files_fit_a_head() {
    every_file(|path, code| {
        if is_tests(path) {
            return vec![];
        }
        let ceiling = LONG_FILES.iter().find(|(known, _)| *known == path);
        let limit = ceiling.map_or(FILE_LINES_MAX, |(_, lines)| *lines);
        rules::too_long("the file", code.lines(), limit, ceiling.map(|_| FILE_LINES_MAX))
    });
    let gone = LONG_FILES.iter().filter(|(path, _)| !root().join(path).exists());
    assert_eq!(gone.count(), 0, "LONG_FILES names a file that is gone; remove the line");
}

#[test]
fn functions_fit_a_screen() {
    every_file(|path, code| {
        let functions = code.functions();
        let mut broken: Vec<String> = LONG_FUNCTIONS
            .iter()
            .filter(|(file, name, _)| *file == path && !functions.iter().any(|f| f.name == *name))
            .map(|(_, name, _)| format!("LONG_FUNCTIONS names `{name}`, which is gone; remove the line"))
            .collect();
        for function in functions {
            let ceiling = LONG_FUNCTIONS
                .iter()
                .find(|(file, name, _)| *file == path && *name == function.name);
            let limit = ceiling.map_or(FUNCTION_LINES_MAX, |(_, _, lines)| *lines);
            let what = format!("line {}: function `{}`", function.line, function.name);
            let target = ceiling.map(|_| FUNCTION_LINES_MAX);
            broken.extend(rules::too_long(&what, function.lines, limit, target));
        }
        broken
    });
}
