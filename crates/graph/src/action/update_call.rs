//! `PATCH` of a call, in open mode: what would change nothing is taken, what would is refused.
//! Graph documents no meaning of it.

use crate::{
    json::{self, BodyError, Value},
    resource::media::Modality,
};

/// Checks that a body written over a call, as it is rendered, would change nothing. Members that a
/// call does not have are ignored.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member that would change.
pub fn parse(body: &[u8], call: &Value) -> Result<(), BodyError> {
    for (name, wanted) in &json::read(body)? {
        let own = call
            .as_object()
            .into_iter()
            .flatten()
            .find(|(own, _)| own.eq_ignore_ascii_case(name) && !own.contains('@'));
        match own {
            Some((own, _)) if own == "requestedModalities" && is_audio(wanted) => {}
            Some((_, current)) if !is_within(wanted, current) => {
                let what = "a call does not change by being written, leave it out";
                return Err(BodyError::argument(name, what));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Bots send what they want of a call in progress; audio is what there is.
fn is_audio(modalities: &Value) -> bool {
    let is_known = |item: &Value| Modality::is_name(item.as_str().unwrap_or_default());
    modalities
        .as_array()
        .is_some_and(|items| items.contains(&Value::from("audio")) && items.iter().all(is_known))
}

/// Whether all that is said is so. Annotations and nulls say nothing.
fn is_within(said: &Value, current: &Value) -> bool {
    match (said, current) {
        (Value::Null, _) => true,
        (Value::Object(said), Value::Object(current)) => said.iter().all(|(name, value)| {
            name.contains('@') || is_within(value, current.get(name).unwrap_or(&Value::Null))
        }),
        (Value::Array(said), Value::Array(current)) => {
            said.len() == current.len()
                && said.iter().zip(current).all(|(said, current)| is_within(said, current))
        }
        _ => said == current,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_change_nothing_is_taken_and_the_rest_is_named() {
        let call = json!({
            "@odata.type": "#microsoft.graph.call", "id": "1", "callbackUri": "https://bot/cb",
            "requestedModalities": ["audio"], "subject": null,
            "source": {"identity": {"user": {"id": "u", "displayName": "U"}}},
            "targets": [{"identity": {"phone": {"id": "+1"}}}],
        });
        let write = |body: Value| parse(body.to_string().as_bytes(), &call);
        for harmless in [
            json!({}),
            json!({"id": "1", "callbackUri": "https://bot/cb", "@odata.type": "x"}),
            json!({"requestedModalities": ["audio", "video"]}),
            json!({"subject": null, "callbackUri": null, "operationContext": {"a": 1}}),
            json!({"source": {"@odata.type": "x", "identity": {"user": {"id": "u"}}}}),
            json!({"targets": [{"identity": {"phone": {"id": "+1"}}}]}),
        ] {
            assert_eq!(write(harmless.clone()), Ok(()), "{harmless}");
        }
        for (harmful, name) in [
            (json!({"CallbackUri": "https://other/"}), "CallbackUri"),
            (json!({"requestedModalities": ["video"]}), "requestedModalities"),
            (json!({"requestedModalities": ["audio", "smell"]}), "requestedModalities"),
            (json!({"subject": "s"}), "subject"),
            (json!({"source": {"identity": {"user": {"id": "v"}}}}), "source"),
            (json!({"targets": []}), "targets"),
        ] {
            let error = write(harmful).expect_err(name).to_string();
            let expected = format!("{name}: a call does not change by being written, leave it out");
            assert_eq!(error, expected);
        }
    }
}
