//! `resultInfo`: why a call or an operation ended.

use graphophone_call::ResultInfo;
use serde_json::{Value, json};

/// The object as Graph writes it. Code and subcode are numbers: clients read no digits in strings.
pub fn render(result: &ResultInfo) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.resultInfo",
        "code": result.code,
        "subcode": result.subcode,
        "message": result.message,
    })
}
