//! The table of Graph's metadata ([`csdl`]) against Microsoft's file, against what is rendered, against
//! this tree's tests, and the documents that are printed from it. `UPDATE_DOCS=1 cargo test -p
//! graphophone-graph --test csdl` prints them anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use graphophone_graph::{
    ApiVersion,
    compat::{self, RULES},
    csdl::{self, ACTIONS, Here, Kind, Member, Since, Type, item_of},
};
use roxmltree::{Document, Node};
use serde_json::Value;

/// In Microsoft's metadata, but not in the extract of its calling part.
const BEYOND_THE_EXTRACT: [&str; 2] = ["cloudCommunications", "communicationsIdentitySet"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn microsofts() -> Value {
    let path = root().join("../shared/spec/csdl-calling-v1.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the extract")).expect("it is JSON")
}

#[test]
fn every_type_and_member_of_microsofts_metadata_is_in_the_table_as_it_is_there() {
    let theirs = microsofts();
    let theirs = theirs["types"].as_object().expect("types");
    for (name, their) in theirs {
        let own = csdl::find(name).unwrap_or_else(|| panic!("no row for the type {name}"));
        let kind = match own.kind {
            Kind::Entity => "EntityType",
            Kind::Complex => "ComplexType",
            Kind::Enumeration => "EnumType",
        };
        assert_eq!(their["kind"], kind, "{name}");
        assert_eq!(own.base, their["base"].as_str(), "{name}");
        let flag = |flag: &str| their[flag].as_bool().unwrap_or(false);
        assert_eq!((own.is_open, own.is_abstract), (flag("open"), flag("abstract")), "{name}");
        assert_eq!(own.since, Since::V1, "{name}");
        let members: BTreeSet<_> = match own.kind {
            Kind::Enumeration => {
                let values = their["members"].as_array().expect("values").iter();
                values.map(|value| (text(&value[0]), text(&value[1]), false, false)).collect()
            }
            Kind::Entity | Kind::Complex => {
                let properties = their["properties"].as_object().into_iter().flatten();
                properties
                    .map(|(name, of)| {
                        let flag = |flag: &str| of[flag].as_bool().expect("a flag");
                        (name.clone(), text(&of["type"]), !flag("nullable"), flag("navigation"))
                    })
                    .collect()
            }
        };
        assert_eq!(documented(own.members), members, "{name}");
    }
    let declared = csdl::types().filter(|own| own.since == Since::V1).map(|own| own.name);
    let unknown: Vec<_> = declared.filter(|name| !theirs.contains_key(*name)).collect();
    assert_eq!(unknown, BEYOND_THE_EXTRACT);
}

#[test]
fn every_action_of_microsofts_metadata_is_in_the_table_as_it_is_there() {
    let theirs = microsofts();
    let theirs = theirs["actions"].as_array().expect("actions");
    for their in theirs {
        let (name, bound) = (text(&their["name"]), text(&their["boundTo"]));
        let own = ACTIONS.iter().find(|own| own.name == name && own.bound_to == bound);
        let own = own.unwrap_or_else(|| panic!("no row for the action {name} on {bound}"));
        assert_eq!(own.returns, their["returns"].as_str(), "{name}");
        let parameters: BTreeSet<_> = their["parameters"]
            .as_array()
            .expect("parameters")
            .iter()
            .map(|of| {
                let nullable = of["nullable"].as_bool().expect("a flag");
                (text(&of["name"]), text(&of["type"]), !nullable, false)
            })
            .collect();
        assert_eq!(documented(own.parameters), parameters, "{name}");
    }
    let declared = ACTIONS.iter().filter(|own| own.since == Since::V1).count();
    assert_eq!(declared, theirs.len(), "an action of v1.0 that Microsoft does not have");
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Name, type, whether it is never null, whether it is a navigation property; of those of v1.0.
fn documented(members: &[Member]) -> BTreeSet<(String, String, bool, bool)> {
    let of_v1 = members.iter().filter(|member| member.since == Since::V1);
    of_v1.map(|m| (m.name.to_owned(), m.of.to_owned(), m.is_required, m.is_navigation)).collect()
}

/// Every verdict in the table with what it is on.
fn rows() -> Vec<(String, csdl::Row)> {
    let mut rows = Vec::new();
    for of in csdl::types() {
        rows.push((of.name.to_owned(), of.row));
        rows.extend(of.members.iter().map(|m| (format!("{}.{}", of.name, m.name), m.row(of.row))));
    }
    for of in ACTIONS {
        rows.push((format!("{}()", of.name), of.row));
        let parameters = of.parameters.iter();
        rows.extend(parameters.map(|p| (format!("{}({})", of.name, p.name), p.row(of.row))));
    }
    rows
}

#[test]
fn every_verdict_has_its_reason_and_a_test_that_exists() {
    let mut tests = BTreeSet::new();
    collect_tests(&root().join("crates"), &mut tests);
    assert!(tests.len() > 500, "{}", tests.len());
    for rule in RULES {
        assert!(tests.contains(rule.test), "{}: there is no test {}", rule.what, rule.test);
    }
    for (name, row) in rows() {
        assert!(tests.contains(row.test), "{name}: there is no test {}", row.test);
        let needs_reason = row.here != Here::Implemented;
        assert_eq!(needs_reason, !row.why.is_empty(), "{name}: {row:?}");
        assert!(!row.why.contains(['|', '\n']), "{name}: it stands in a table");
    }
}

/// Names of the functions that are marked as tests.
fn collect_tests(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect_tests(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let source = fs::read_to_string(&path).expect("source");
            let mut is_marked = false;
            for line in source.lines().map(str::trim) {
                let name = line.split_once("fn ");
                match name {
                    _ if line.starts_with("#[test]") || line.starts_with("#[tokio::test") => {
                        is_marked = true;
                    }
                    Some((before, rest)) if is_marked && !before.contains("//") => {
                        let end = rest.find(['(', '<']).unwrap_or(rest.len());
                        into.insert(rest[..end].to_owned());
                        is_marked = false;
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn the_big_table_of_the_document_is_the_one_in_the_code() {
    let actions = csdl::actions_in_markdown();
    let types = csdl::types_in_markdown();
    let modes = compat::rules_in_markdown();
    for (name, table) in [("modes", modes), ("actions", actions), ("types", types)] {
        put_into_document("docs/graph-compat.md", name, &table);
    }
}

/// Compares what stands between the marks of a name with this, or puts it there.
fn put_into_document(file: &str, name: &str, table: &str) {
    let path = root().join(file);
    let document = fs::read_to_string(&path).expect("the document");
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let (head, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (found, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    if env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{head}{begin}{table}{end}{tail}");
        fs::write(path, new).expect("it can be written");
    } else {
        let how = "UPDATE_DOCS=1 cargo test -p graphophone-graph --test csdl";
        assert!(found == table, "{file} is out of date: {how}");
    }
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children()
        .filter(move |child| child.has_tag_name(("http://docs.oasis-open.org/odata/ns/edm", name)))
}

#[test]
fn the_metadata_is_xml_of_what_is_served_and_names_nothing_that_it_does_not_declare() {
    for version in [ApiVersion::V1, ApiVersion::Beta] {
        let text = csdl::metadata(version);
        let document = Document::parse(&text).expect("it is well-formed");
        let declared: BTreeSet<String> = document
            .descendants()
            .filter(|node| {
                ["EntityType", "ComplexType", "EnumType"].contains(&node.tag_name().name())
            })
            .map(|node| {
                let namespace = node.parent().and_then(|schema| schema.attribute("Namespace"));
                format!(
                    "{}.{}",
                    namespace.expect("a schema"),
                    node.attribute("Name").expect("a name")
                )
            })
            .collect();
        for node in document.descendants() {
            for name in ["Type", "BaseType"].iter().filter_map(|name| node.attribute(*name)) {
                let (item, _) = item_of(name);
                assert!(item.starts_with("Edm.") || declared.contains(item), "{version}: {name}");
            }
        }
        for own in csdl::types() {
            let is_there = declared.contains(&format!("microsoft.graph.{}", own.name))
                || declared.contains(&format!("graphophone.{}", own.name));
            // Types that nothing is served of may be needed by members that are always null.
            assert!(is_there || !own.is_served(version), "{version}: {}", own.name);
            assert!(!is_there || own.since.is_in(version), "{version}: {}", own.name);
        }
        let actions: BTreeSet<(String, String)> = document
            .descendants()
            .filter(|node| node.tag_name().name() == "Action")
            .map(|node| {
                let bound = children(node, "Parameter").next().and_then(|p| p.attribute("Type"));
                let name = node.attribute("Name").expect("a name").to_owned();
                (name, bound.expect("bound").replace("microsoft.graph.", ""))
            })
            .collect();
        let served = ACTIONS.iter().filter(|action| action.is_served(version));
        let served: BTreeSet<_> =
            served.map(|action| (action.name.to_owned(), action.bound_to.to_owned())).collect();
        assert_eq!(actions, served, "{version}");
        let container = document.descendants().find(|n| n.tag_name().name() == "EntityContainer");
        let names: Vec<_> = children(container.expect("a container"), "Singleton")
            .filter_map(|node| node.attribute("Name"))
            .collect();
        assert_eq!(names, ["communications", "app"]);
        for values in document.descendants().filter(|n| n.tag_name().name() == "EnumType") {
            assert!(values.has_children(), "{:?}", values.attribute("Name"));
        }
    }
}

#[test]
fn everything_that_is_rendered_is_declared() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut looked_at = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("snapshots") {
        let path = entry.expect("an entry").path();
        let snapshot = fs::read_to_string(&path).expect("a snapshot");
        let body = snapshot.splitn(3, "---\n").nth(2).expect("a body behind its head");
        let Ok(value) = serde_json::from_str::<Value>(body) else { continue };
        assert_declared(&path.display().to_string(), &value, &mut looked_at);
    }
    for name in ["call", "playPromptOperation", "participantInfo", "commsNotification"] {
        assert!(looked_at.contains_key(name), "{name}: {looked_at:?}");
    }
}

/// Goes through a value and looks up the members of every tagged object in the table.
fn assert_declared(place: &str, value: &Value, looked_at: &mut BTreeMap<String, u32>) {
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| assert_declared(place, item, looked_at))
        }
        Value::Object(members) => {
            let tag = members.get("@odata.type").and_then(Value::as_str);
            if let Some(name) = tag.and_then(|tag| tag.strip_prefix("#microsoft.graph.")) {
                let own = csdl::find(name).unwrap_or_else(|| panic!("{place}: {name}"));
                *looked_at.entry(name.to_owned()).or_default() += 1;
                let known: Vec<_> = csdl::members(own);
                for member in members.keys().filter(|member| !member.contains('@')) {
                    let is_known = known.iter().any(|known| known.name == *member);
                    assert!(is_known || is_kept(own, member), "{place}: {name}.{member}");
                }
            }
            members.values().for_each(|member| assert_declared(place, member, looked_at));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What bots sent in an open type comes back.
fn is_kept(of: &Type, member: &str) -> bool {
    of.is_open && ["operationContext", "coOrganizers"].contains(&member)
}
