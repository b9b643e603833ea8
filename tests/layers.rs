//! The layers of the code: a module imports only from modules of lower layers, as ARCHITECTURE.md defines them.
//!
//! The table in ARCHITECTURE.md has a row for each module of `src`, from bottom to top, with the modules that it may
//! import. Modules of the same layer do not import each other.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The directories of the pages in the table of features.
const PAGES: [&str; 3] = ["namespaces", "cgroups", "security"];

/// A row of the table: a module, and the modules that it may import.
struct Row {
    module: String,
    knows: BTreeSet<String>,
}

/// The layers in ARCHITECTURE.md. Each line of the block names the modules of one layer, from bottom to top.
fn layers(architecture: &str) -> Vec<Vec<String>> {
    let block = architecture.split("```layers\n").nth(1).expect("a block of layers");
    let block = block.split("```").next().unwrap_or_default();
    block.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The rows `| module | what it is | knows of |`.
fn rows(architecture: &str) -> Vec<Row> {
    let row = Regex::new(r"(?m)^\| `src/([a-z_]+)(?:\.rs|/)` \|[^|]*\| ([^|]*) \|$").unwrap();
    row.captures_iter(architecture)
        .map(|row| Row {
            module: row[1].to_owned(),
            knows: row[2].split(", ").filter(|name| *name != "nothing").map(str::to_owned).collect(),
        })
        .collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// For each module of `src`: the modules that it imports, each with one file that does so.
fn imports() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let source = support::repository().join("src");
    let path = Regex::new(r"\b(?:crate|sandbox)::(\{[^;]*\}|[a-z_]+)").unwrap();
    let first = Regex::new(r"(?:^|[{,])\s*([a-z_]+)").unwrap();
    let mut all: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for file in files(&source) {
        let inner = file.strip_prefix(&source).unwrap().to_owned();
        let module = inner.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        let is_root = module == "lib";
        if is_root || inner.ends_with("tests.rs") {
            continue;
        }
        let known = all.entry(module.clone()).or_default();
        for import in path.captures_iter(&code(&file)) {
            for name in first.captures_iter(&import[1]) {
                known.entry(name[1].to_owned()).or_insert_with(|| inner.clone());
            }
        }
        // A macro generated from the table of features names the pages by their directories.
        let pages = [("$n_dir", &["namespaces"][..]), ("$c_dir", &["cgroups"]), ("$directory", &PAGES)];
        for (variable, directories) in pages {
            if code(&file).contains(&format!("crate::{variable}")) {
                known.extend(directories.iter().map(|name| ((*name).to_owned(), inner.clone())));
            }
        }
        known.remove(&module);
    }
    all
}

#[test]
fn a_module_imports_only_from_layers_below() {
    let architecture = fs::read_to_string(support::repository().join("ARCHITECTURE.md")).unwrap();
    let layers = layers(&architecture);
    let height = |module: &str| layers.iter().position(|layer| layer.iter().any(|name| name == module));
    let mut wrong = Vec::new();
    for (module, imports) in imports() {
        let Some(own) = height(&module) else {
            wrong.push(format!("{module} is in no layer"));
            continue;
        };
        for (import, file) in imports {
            match height(&import) {
                Some(layer) if layer < own => {}
                _ => wrong.push(format!("{}: {module} imports from {import}", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_says_what_each_module_knows_of() {
    let architecture = fs::read_to_string(support::repository().join("ARCHITECTURE.md")).unwrap();
    let told: BTreeMap<String, BTreeSet<String>> =
        rows(&architecture).into_iter().map(|row| (row.module, row.knows)).collect();
    let found: BTreeMap<String, BTreeSet<String>> =
        imports().into_iter().map(|(module, known)| (module, known.into_keys().collect())).collect();
    for (module, known) in &found {
        let told = told.get(module).unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {module}"));
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert_eq!(told, known, "what {module} knows of");
    }
    assert_eq!(told.len(), found.len(), "a row for a module that is not there");
}

#[test]
fn only_the_daemon_is_asynchronous() {
    for file in files(&support::repository().join("src")) {
        if !file.to_string_lossy().contains("/src/daemon/") {
            assert!(!code(&file).contains("tokio"), "{}", file.display());
        }
    }
}

#[test]
fn no_two_types_share_a_name() {
    let declaration =
        Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?(?:struct|enum|trait) ([A-Z]\w*)").unwrap();
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in files(&support::repository().join("src")) {
        for found in declaration.captures_iter(&code(&file)) {
            places.entry(found[1].to_owned()).or_default().insert(file.clone());
        }
    }
    let shared: Vec<_> = places.into_iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:#?}");
}
