//! The house rules that a machine can check: fences hold, the crate map is the workspace's, linked
//! files exist, nothing unfinished is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    // Asked at run time: a target directory may serve several checkouts.
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    Path::new(&here).join("../..").canonicalize().expect("the workspace")
}

/// Crate name → (directory, dependencies declared in `[dependencies]`).
fn crates() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !member.is_empty())
        .map(|member| {
            let dir = root().join(member);
            let text = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
            let name = text.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
            let dependencies = text
                .split("[dependencies]")
                .nth(1)
                .unwrap_or_default()
                .lines()
                .skip(1)
                .take_while(|line| !line.starts_with('['))
                .filter_map(|line| line.split(['.', ' ', '=']).next())
                .filter(|dependency| !dependency.is_empty() && !dependency.starts_with('#'))
                .map(str::to_owned)
                .collect();
            (name.trim_matches('"').to_owned(), (dir, dependencies))
        })
        .collect()
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn fenced_libraries_stay_in_their_crates() {
    let fences = [
        ("pgwire", vec!["wire"]),
        ("sqlparser", vec![]),
        ("datafusion", vec!["sql"]),
        ("openraft", vec!["replication"]),
        ("rocksdb", vec!["storage"]),
    ];
    for (name, (_, dependencies)) in crates() {
        for (library, homes) in &fences {
            assert!(
                !dependencies.contains(*library) || homes.contains(&name.as_str()),
                "{name} depends on {library}, which belongs to {homes:?}"
            );
        }
    }
}

#[test]
fn the_crate_map_is_the_workspaces() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let crates = crates();
    let mut drawn = BTreeMap::new();
    for line in architecture.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let edges: BTreeSet<String> = cells[3]
            .split(", ")
            .filter(|edge| crates.contains_key(*edge))
            .map(str::to_owned)
            .collect();
        drawn.insert(cells[1].trim_matches('`').to_owned(), edges);
    }
    for (name, (_, dependencies)) in &crates {
        let Some(edges) = drawn.get(name) else { panic!("{name} is missing from the crate map") };
        if name == "shanghai" {
            continue; // wires all of them
        }
        let actual: BTreeSet<String> =
            dependencies.iter().filter(|d| crates.contains_key(*d)).cloned().collect();
        assert_eq!(edges, &actual, "edges of {name}: the map's on the left");
    }
    assert_eq!(drawn.len(), crates.len());
}

#[test]
fn paths_that_documents_name_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "crates/README.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for word in text.split(|c: char| c.is_whitespace() || "`(),;".contains(c)) {
            let word = word.trim_end_matches('.');
            let local = ["crates/", "sql/", "tests/", "examples/", "scripts/"];
            if local.iter().any(|prefix| word.starts_with(prefix)) {
                assert!(root().join(word).exists(), "{document} names {word}, which is not there");
            }
        }
    }
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let mut files = Vec::new();
    for (dir, _) in crates().values() {
        rust_files(&dir.join("src"), &mut files);
    }
    // Spelled apart, so that this file passes its own test.
    let unwanted = [["dbg", "!("], ["todo", "!("], ["unimplemented", "!("], ["#[ign", "ore"]];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for parts in &unwanted {
            let found = text.find(&parts.concat());
            assert!(found.is_none(), "{} has {}", file.display(), parts.concat());
        }
    }
}
