//! The table for people: the big part of docs/graph-compat.md.

use super::{ACTIONS, Kind, Row, Since, TYPES, Type};

/// All actions with their parameters.
pub fn actions() -> String {
    let mut out = String::from(
        "| action | parameter | of | here | why | test |\n|---|---|---|---|---|---|\n",
    );
    for action in ACTIONS {
        let bound = match action.bound_to {
            "call" => String::new(),
            other => format!(" on {other}"),
        };
        let head = format!("`{}`{bound}", action.name);
        push(&mut out, &[&head, ""], action.since, action.row);
        for parameter in action.parameters {
            let name = format!("`{}`", parameter.name);
            push(&mut out, &["", &name], parameter.since, parameter.row(action.row));
        }
    }
    out
}

/// All types with their members.
pub fn types() -> String {
    let mut out =
        String::from("| type | member | of | here | why | test |\n|---|---|---|---|---|---|\n");
    TYPES.into_iter().flatten().for_each(|of| push_type(&mut out, of));
    out
}

fn push_type(out: &mut String, of: &Type) {
    let what = match of.kind {
        Kind::Entity => "entity",
        Kind::Complex => "object",
        Kind::Enumeration => "values",
    };
    let open = if of.is_open { ", open" } else { "" };
    push(out, &[&format!("`{}`", of.name), &format!("*{what}{open}*")], of.since, of.row);
    for member in of.members {
        push(out, &["", &format!("`{}`", member.name)], member.since, member.row(of.row));
    }
}

fn push(out: &mut String, cells: &[&str; 2], since: Since, row: Row) {
    let [first, second] = cells;
    let line = format!(
        "| {first} | {second} | {} | {} | {} | {} |\n",
        since.name(),
        row.here.name(),
        row.why,
        row.test
    );
    out.push_str(&line);
}
