//! The pages must be true: crates and their arrows, licences and sources of what we depend on,
//! names that house rules forbid.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crate_name(directory: &str) -> String {
    match directory {
        "graphophone" => directory.to_owned(),
        other => format!("graphophone-{other}"),
    }
}

/// The second table of ARCHITECTURE.md: crate → what it may depend on.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page");
    let table = page.split("| crate | reason |").nth(1).expect("the crate table");
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let allowed = cells[2].split(',').map(str::trim).filter(|name| *name != "–");
            (crate_name(cells[0].trim_matches('`')), allowed.map(crate_name).collect())
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_page_says() {
    let documented = documented();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest = fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let allowed = documented.get(&name).unwrap_or_else(|| panic!("{name} is not on the page"));
        for dependency in manifest["dependencies"].as_table().unwrap().keys() {
            if dependency.starts_with("graphophone") {
                assert!(allowed.contains(dependency), "{name} → {dependency} is not on the page");
            }
        }
        if name == "graphophone-call" {
            // Pure: neither a runtime nor a clock nor a random generator can be reached.
            let all: Vec<_> = manifest["dependencies"].as_table().unwrap().keys().collect();
            assert_eq!(all, ["thiserror", "uuid"]);
            assert!(manifest["dependencies"]["uuid"].get("features").is_none());
        }
        found.insert(name);
    }
    assert_eq!(found, documented.into_keys().collect(), "the page lists other crates");
}

#[test]
fn dependencies_come_from_the_registry_under_licences_we_allow() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: Vec<spdx::Licensee> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| spdx::Licensee::parse(text.as_str().unwrap()).unwrap())
        .collect();
    let banned: Vec<&str> = deny["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["crate"].as_str().unwrap())
        .collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let mut checked = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if package["source"].is_null() || !used.contains(package["id"].as_str().unwrap()) {
            continue;
        }
        assert!(!banned.contains(&name), "{name} is banned in deny.toml");
        assert!(package["source"].as_str().unwrap().starts_with("registry+"), "{name}");
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name}: no licence"));
        let expression = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).unwrap();
        let is_allowed =
            expression.evaluate(|wanted| allowed.iter().any(|have| have.satisfies(wanted)));
        assert!(is_allowed, "{name} has licence {licence}, which deny.toml does not allow");
        checked += 1;
    }
    assert!(checked > 100, "only {checked} packages were looked at");
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_none_is_a_drawer() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    assert!(files.len() > 50);
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        for drawer in ["util", "utils", "common", "helpers", "manager", "core", "types"] {
            assert_ne!(name, drawer, "{}: a name that says nothing", file.display());
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("//!"),
            "{}: the first line must say what it owns",
            file.display()
        );
    }
}

#[test]
fn sip_and_sql_stay_behind_their_walls() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let path = file.display().to_string();
        for (library, wall) in [("sipx_sip::", "crates/sip/"), ("rusqlite::", "crates/store/")] {
            // The test kit makes the store refuse from outside, as a disk does.
            let is_inside = path.contains(wall)
                || path.ends_with("architecture.rs")
                || path.ends_with("testkit/src/full_disk.rs");
            assert!(is_inside || !text.contains(library), "{path} uses {library}");
        }
    }
}
