//! The strict reader against hostile and odd documents.

use proptest::prelude::*;

use super::*;

fn refusal(body: &[u8]) -> String {
    match read(body) {
        Err(BodyError::BotMalformed { message }) => message,
        other => panic!("not refused as malformed: {other:?}"),
    }
}

#[test]
fn messages_say_where_and_what() {
    assert_eq!(refusal(b" \r\n"), "The body is empty: send a JSON object");
    assert_eq!(refusal(b"[1]"), "The body is an array: send a JSON object");
    assert_eq!(refusal(b"null"), "The body is null: send a JSON object");
    assert_eq!(refusal(b"\xff\xfe{\0}\0"), "The body is UTF-16 or UTF-32: send UTF-8");
    assert_eq!(refusal(b"{\"a\":\"\xff\"}"), "The body is not UTF-8 at byte 6");
    assert_eq!(refusal(b"{\"a\":1,}"), "The body is not JSON: trailing comma at line 1 column 8");
    assert_eq!(
        refusal(b"{\n \"a\": NaN}"),
        "The body is not JSON: expected value at line 2 column 7 (JSON has neither NaN nor Infinity)"
    );
    assert!(refusal(b"/* hi */ {}").ends_with("(JSON has no comments)"));
    assert!(refusal(b"{'a':1}").ends_with("(strings take double quotes)"));
    assert!(refusal(br#"{"a":"\ud800"}"#).starts_with("The body is not JSON"));
    assert!(refusal(br#"{"a":"\udc00x"}"#).starts_with("The body is not JSON"));
    assert!(refusal(b"{}{}").contains("trailing characters"));
}

#[test]
fn a_member_named_twice_is_refused_wherever_and_however_it_is_spelled() {
    assert!(refusal(br#"{"a":1,"a":1}"#).starts_with("a: given twice"));
    assert!(refusal(br#"{"x":[{"uri":1,"\u0075ri":2}]}"#).starts_with("x[0].uri: given twice"));
}

#[test]
fn depth_64_is_read_and_65_is_not() {
    let nested = |arrays: usize| format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays));
    assert!(read(nested(63).as_bytes()).is_ok());
    assert!(refusal(nested(64).as_bytes()).contains("nested deeper than 64"));
    assert!(refusal(nested(100_000).as_bytes()).contains("nested deeper than 64"));
}

#[test]
fn floods_are_refused_before_they_are_kept() {
    let many: Vec<String> = (0..50_000).map(|i| format!("\"k{i}\":0")).collect();
    let body = format!("{{{}}}", many.join(","));
    assert!(refusal(body.as_bytes()).starts_with("The body has more than 4000 values"));
    assert_eq!(read(&vec![b' '; MAX_BODY + 1]), Err(BodyError::BotTooLarge { limit: MAX_BODY }));
}

#[test]
fn a_long_path_is_cut_in_the_message() {
    let name = "n".repeat(5000);
    let message = refusal(format!("{{\"{name}\":1,\"{name}\":2}}").as_bytes());
    assert!(message.len() < 300, "{message}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Eighths: serde_json may read other fractions one unit in the last place away.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_back_every_object_that_was_written(value in any_value()) {
        let written = serde_json::json!({ "value": value });
        let read_back = read(written.to_string().as_bytes()).expect("it is JSON");
        prop_assert_eq!(Value::Object(read_back), written);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body);
    }

    #[test]
    fn no_json_like_text_makes_it_panic(body in r#"[\[\]{}:,"\\u0-9a-dtrfnE+.\- ]{0,60}"#) {
        let _ = read(body.as_bytes());
    }
}
