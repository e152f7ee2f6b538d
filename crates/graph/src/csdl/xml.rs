//! `$metadata`: the table as CSDL XML (OData CSDL XML 4.01), of what is served in a version.

use std::fmt::Write as _;

use super::{ACTIONS, Action, Kind, Member, Since, Type, find, item_of, served_types, types};
use crate::compat::ApiVersion;

/// The document for a version.
pub fn metadata(version: ApiVersion) -> String {
    let served = served_types(version);
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <edmx:Edmx Version=\"4.0\" xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\">\n  \
         <edmx:DataServices>\n",
    );
    for (namespace, is_ours) in [("microsoft.graph", false), ("graphophone", true)] {
        line(&mut out, 4, &format!("<Schema Namespace=\"{namespace}\" xmlns=\"{EDM}\">"));
        for of in types() {
            if served.contains(&of.name) && (of.since == Since::Ours) == is_ours {
                write_type(&mut out, of, version);
            }
        }
        let actions = ACTIONS.iter().filter(|action| {
            // On an operation there is nothing of Graph's.
            action.is_served(version) && action.bound_to.ends_with("Operation") == is_ours
        });
        actions.for_each(|action| write_action(&mut out, action, version));
        if !is_ours {
            line(&mut out, 6, "<EntityContainer Name=\"GraphService\">");
            for name in ["communications", "app"] {
                let singleton = format!(
                    "<Singleton Name=\"{name}\" Type=\"{}\" />",
                    qualified("cloudCommunications")
                );
                line(&mut out, 8, &singleton);
            }
            line(&mut out, 6, "</EntityContainer>");
        }
        line(&mut out, 4, "</Schema>");
    }
    out.push_str("  </edmx:DataServices>\n</edmx:Edmx>\n");
    out
}

const EDM: &str = "http://docs.oasis-open.org/odata/ns/edm";

/// All names and numbers are our own, so nothing has to be escaped.
fn line(out: &mut String, indent: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{text}", "");
}

fn write_type(out: &mut String, of: &Type, version: ApiVersion) {
    let element = match of.kind {
        Kind::Entity => "EntityType",
        Kind::Complex => "ComplexType",
        Kind::Enumeration => "EnumType",
    };
    let base = of.base.map(|base| format!(" BaseType=\"{}\"", qualified(base)));
    let open = if of.is_open { " OpenType=\"true\"" } else { "" };
    let abstracted = if of.is_abstract { " Abstract=\"true\"" } else { "" };
    let head = format!(
        "{element} Name=\"{}\"{}{abstracted}{open}",
        of.name,
        base.as_deref().unwrap_or_default()
    );
    let mut members = of.served_members(version).peekable();
    if members.peek().is_none() {
        return line(out, 6, &format!("<{head} />"));
    }
    line(out, 6, &format!("<{head}>"));
    if of.kind == Kind::Entity && of.base.is_none() {
        line(out, 8, "<Key><PropertyRef Name=\"id\" /></Key>");
    }
    members.for_each(|member| write_member(out, member, of.kind));
    line(out, 6, &format!("</{element}>"));
}

fn write_member(out: &mut String, member: &Member, kind: Kind) {
    let Member { name, of, is_required, is_navigation, .. } = *member;
    let text = match kind {
        Kind::Enumeration => format!("<Member Name=\"{name}\" Value=\"{of}\" />"),
        Kind::Entity | Kind::Complex if is_navigation => format!(
            "<NavigationProperty Name=\"{name}\" Type=\"{}\" ContainsTarget=\"true\" />",
            qualified(of)
        ),
        Kind::Entity | Kind::Complex => {
            format!(
                "<Property Name=\"{name}\" Type=\"{}\"{} />",
                qualified(of),
                never_null(is_required)
            )
        }
    };
    line(out, 8, &text);
}

fn write_action(out: &mut String, action: &Action, version: ApiVersion) {
    line(out, 6, &format!("<Action Name=\"{}\" IsBound=\"true\">", action.name));
    let bound = qualified(action.bound_to);
    line(out, 8, &format!("<Parameter Name=\"bindingParameter\" Type=\"{bound}\" />"));
    for parameter in action.served_parameters(version) {
        let text = format!(
            "<Parameter Name=\"{}\" Type=\"{}\"{} />",
            parameter.name,
            qualified(parameter.of),
            never_null(parameter.is_required)
        );
        line(out, 8, &text);
    }
    if let Some(returned) = action.returns {
        line(out, 8, &format!("<ReturnType Type=\"{}\" />", qualified(returned)));
    }
    line(out, 6, "</Action>");
}

fn never_null(is_required: bool) -> &'static str {
    if is_required { " Nullable=\"false\"" } else { "" }
}

fn qualified(of: &str) -> String {
    let (item, is_list) = item_of(of);
    let is_ours = find(item).is_some_and(|found| found.since == Since::Ours);
    let item = match item {
        primitive if primitive.starts_with("Edm.") => primitive.to_owned(),
        ours if is_ours => format!("graphophone.{ours}"),
        graphs => format!("microsoft.graph.{graphs}"),
    };
    if is_list { format!("Collection({item})") } else { item }
}
