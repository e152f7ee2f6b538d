//! Request bodies in every dialect: what is accepted is within the documented bounds, what a
//! strict mode accepts the open mode accepts as the same, and the reader's values round-trip.

use graphophone_graph::{
    ApiVersion, Compat,
    action::{answer, cancel_media_processing, play_prompt},
    json::{self, MAX_DEPTH, MAX_VALUES, Value},
    path,
    resource::create_call,
    uri,
};

const VERSIONS: [ApiVersion; 2] = [ApiVersion::V1, ApiVersion::Beta];
const STRICT: [Compat; 2] = [Compat::StrictBeta, Compat::StrictV1];

pub(crate) fn run(data: &[u8]) {
    check_reader(data);
    for version in VERSIONS {
        check_play_prompt(data, version);
        let open = create_call::parse(data, version, Compat::Open);
        let open_answer = answer::parse(data, version, Compat::Open);
        let open_cancel = cancel_media_processing::parse(data, version, Compat::Open);
        for compat in STRICT {
            if let Ok(strict) = create_call::parse(data, version, compat) {
                assert_eq!(open.as_ref(), Ok(&strict), "{compat:?} accepts another call");
            }
            if let Ok(strict) = answer::parse(data, version, compat) {
                assert_eq!(open_answer.as_ref(), Ok(&strict), "{compat:?} accepts another answer");
            }
            if let Ok(strict) = cancel_media_processing::parse(data, version, compat) {
                assert_eq!(open_cancel.as_ref(), Ok(&strict), "{compat:?} cancels something else");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = path::parse(text);
        if let Ok(url) = uri::parse_http(text) {
            assert!(matches!(url.scheme(), "http" | "https") && url.has_host());
        }
    }
}

fn check_reader(data: &[u8]) {
    let mut read = None;
    let used = allocation_counter::measure(|| read = Some(json::read(data)));
    // Values are counted, so small ones cannot make much of little.
    let bound = 4 * data.len() as u64 + 512 * MAX_VALUES as u64;
    assert!(used.bytes_max <= bound, "{} bytes", used.bytes_max);
    let Ok(members) = read.expect("measured") else { return };
    let value = Value::Object(members);
    let (depth, count) = measure(&value);
    assert!(depth <= MAX_DEPTH && count <= MAX_VALUES, "{depth} deep, {count} values");
    let printed = value.to_string();
    let again = json::read(printed.as_bytes()).expect("what was read can be read again");
    assert_eq!(Value::Object(again).to_string(), printed, "read again, it is something else");
}

fn measure(value: &Value) -> (usize, usize) {
    let inner = |found: &mut dyn Iterator<Item = &Value>| {
        found
            .map(measure)
            .fold((1, 1), |(depth, count), (inner, more)| (depth.max(inner + 1), count + more))
    };
    match value {
        Value::Array(items) => inner(&mut items.iter()),
        Value::Object(members) => inner(&mut members.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (0, 1),
    }
}

fn check_play_prompt(data: &[u8], version: ApiVersion) {
    let open = play_prompt::parse(data, version, Compat::Open);
    if let Ok(action) = &open {
        assert!((1..=play_prompt::MAX_PROMPTS).contains(&action.prompts.len()));
        for prompt in &action.prompts {
            assert!((1..=play_prompt::MAX_REPEAT).contains(&prompt.repeat));
        }
        let context = action.client_context.as_deref().unwrap_or_default();
        assert!(context.encode_utf16().count() <= 256);
    }
    for compat in STRICT {
        if let Ok(strict) = play_prompt::parse(data, version, compat) {
            assert_eq!(open.as_ref(), Ok(&strict), "{compat:?} accepts another action");
        }
    }
}
