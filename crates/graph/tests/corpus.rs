//! The 119 playPrompt bodies of `../shared/corpus/json` through the parser, each with the outcome
//! that its row expects, in the default and in the strict profile. Not finding them is a failure.

use std::{fs, path::PathBuf};

use graphophone_graph::{
    ApiVersion, BodyError, Compat,
    action::play_prompt::{self, PlayPrompt},
    uri,
};
use serde_json::Value;

/// Loopback, as the test prompt server; no packet is sent here.
const CDN: &str = "http://127.0.0.1:8123";

/// Rows whose status the server decides by policy, not the parser by syntax. The parser must take
/// them, so that the policy gets to see them.
const ADDRESS_POLICY: [&str; 24] = [
    "051_uri_http_policy",
    "060_ssrf_loopback",
    "061_ssrf_loop_short",
    "062_ssrf_loop_dec",
    "063_ssrf_loop_hex",
    "064_ssrf_loop_oct",
    "065_ssrf_zero",
    "066_ssrf_v6loop",
    "067_ssrf_v6mapped",
    "068_ssrf_v6mapped_hex",
    "069_ssrf_v6compat",
    "070_ssrf_nat64",
    "071_ssrf_6to4",
    "072_ssrf_linklocal",
    "073_ssrf_v6meta",
    "074_ssrf_v6ll",
    "075_ssrf_private10",
    "076_ssrf_cgnat",
    "077_ssrf_multicast",
    "078_ssrf_broadcast",
    "079_ssrf_localhost",
    "080_ssrf_localhost_dot",
    "081_ssrf_fullwidth",
    "082_ssrf_circled",
];

/// Rows that differ in their Content-Type only; HTTP 415 is the server's to say.
const CONTENT_TYPE_POLICY: [&str; 4] =
    ["115_ct_text", "116_ct_form", "118_ct_charset_latin1", "119_ct_missing"];

/// Refused rows whose fault is in the JSON, not in an argument: `BadRequest`, not `8523`.
const MALFORMED: [&str; 18] = [
    "003_doc_example_trailing_commas",
    "016_ctx_lone_surrogate",
    "092_empty_body",
    "093_not_json",
    "094_array_root",
    "095_null_root",
    "096_truncated",
    "097_two_docs",
    "098_trailing_garbage",
    "100_utf16",
    "101_invalid_utf8",
    "102_dup_key_prompts",
    "103_dup_key_uri",
    "107_deep_100k",
    "108_deep_odata_any",
    "109_big_number",
    "110_nan",
    "111_comment",
];

/// Too many values in one body.
const FLOOD: &str = "113_keys_50k";

/// Accepted by the default profile, refused by the strict ones, by the row's own words.
const OPEN_ONLY: [&str; 4] =
    ["017_no_odata_type_prompt", "026_loop_true_v1", "104_key_case", "105_unknown_property"];

struct Row {
    name: String,
    versions: Vec<ApiVersion>,
    status: u64,
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    BadRequest,
    Argument,
    TooLarge,
}

#[test]
fn every_row_ends_as_expected_in_the_open_profile() {
    for row in rows() {
        let name = row.name.as_str();
        let expected = match row.status {
            _ if is_policy(name) || OPEN_ONLY.contains(&name) => Outcome::Accepted,
            _ => by_status(&row),
        };
        for version in &row.versions {
            assert_eq!(outcome(&row.body, *version, Compat::Open), expected, "{name} {version}");
        }
    }
}

#[test]
fn every_row_ends_as_expected_in_the_strict_profiles() {
    for row in rows() {
        let name = row.name.as_str();
        let expected = match row.status {
            _ if OPEN_ONLY.contains(&name) => Outcome::Argument,
            _ if is_policy(name) => Outcome::Accepted,
            _ => by_status(&row),
        };
        for version in &row.versions {
            let strict = match version {
                ApiVersion::V1 => [Compat::StrictBeta, Compat::StrictV1].as_slice(),
                ApiVersion::Beta => &[Compat::StrictBeta],
            };
            for compat in strict {
                let outcome = outcome(&row.body, *version, *compat);
                assert_eq!(outcome, expected, "{name} {version} {compat:?}");
            }
        }
    }
}

#[test]
fn every_list_above_names_rows_that_exist() {
    let rows = rows();
    assert_eq!(rows.len(), 119);
    let lists: [&[&str]; 5] =
        [&ADDRESS_POLICY, &CONTENT_TYPE_POLICY, &MALFORMED, &OPEN_ONLY, &[FLOOD]];
    for name in lists.concat() {
        assert!(rows.iter().any(|row| row.name == name), "{name}");
    }
}

#[test]
fn refusals_repeat_little_of_the_caller_and_nothing_raw() {
    for row in rows() {
        if let Err(error) = play_prompt::parse(&row.body, ApiVersion::V1, Compat::StrictV1) {
            let text = error.to_string();
            assert!(text.chars().count() <= 400, "{}: {text}", row.name);
            assert!(!text.contains(char::is_control), "{}: {text:?}", row.name);
        }
    }
}

#[test]
fn forbidden_addresses_reach_the_guard_as_what_they_are() {
    for row in rows().iter().filter(|row| ADDRESS_POLICY.contains(&row.name.as_str())) {
        let prompt = accepted(row).prompts.swap_remove(0);
        let url = uri::parse_http(&prompt.uri).expect("the parser took it");
        let host = url.host_str().expect("http has hosts").to_owned();
        let is_address = url.domain().is_none();
        assert!(
            is_address || row.name.contains("localhost") || row.name.contains("http"),
            "{host}"
        );
    }
}

#[test]
fn accepted_values_are_the_ones_that_were_sent() {
    let find = |name: &str| {
        let all = rows();
        accepted(all.iter().find(|row| row.name == name).expect("it is in the corpus"))
    };
    let context = |name| find(name).client_context;
    let wave = Some(format!("{CDN}/wav/g01_ref_16k_mono16.wav"));
    assert_eq!(context("011_ctx_empty").as_deref(), Some(""));
    assert_eq!(context("012_ctx_null"), None);
    assert_eq!(context("006_ctx_256").map(|text| text.len()), Some(256));
    let controls = "a\0b\r\nX-Evil: 1\u{1b}[31m\u{2028}\u{202e}\"\\</script>";
    assert_eq!(context("015_ctx_controls").as_deref(), Some(controls));
    assert_eq!(find("004_twenty_prompts").prompts.len(), 20);
    assert!(find("025_loop_true").looping);
    assert!(find("026_loop_true_v1").looping);
    assert!(!find("029_loop_null").looping);
    assert_eq!(find("086_rid_empty").prompts[0].resource_id, None);
    assert_eq!(find("088_rid_nul_slash").prompts[0].resource_id.as_deref(), Some("a\0/b\\c:*?"));
    assert_eq!(find("104_key_case").client_context.as_deref(), Some("x"));
    assert_eq!(find("114_escape_all").prompts.pop().map(|prompt| prompt.uri), wave);
}

fn by_status(row: &Row) -> Outcome {
    match row.status {
        200 => Outcome::Accepted,
        400 if MALFORMED.contains(&row.name.as_str()) || row.name == FLOOD => Outcome::BadRequest,
        400 => Outcome::Argument,
        413 => Outcome::TooLarge,
        other => panic!("{}: no rule for status {other}", row.name),
    }
}

fn is_policy(name: &str) -> bool {
    ADDRESS_POLICY.contains(&name) || CONTENT_TYPE_POLICY.contains(&name)
}

fn outcome(body: &[u8], version: ApiVersion, compat: Compat) -> Outcome {
    match play_prompt::parse(body, version, compat) {
        Ok(_) => Outcome::Accepted,
        Err(BodyError::BotMalformed { .. }) => Outcome::BadRequest,
        Err(BodyError::BotArgument { .. }) => Outcome::Argument,
        Err(BodyError::BotTooLarge { .. }) => Outcome::TooLarge,
    }
}

fn accepted(row: &Row) -> PlayPrompt {
    let version = row.versions[0];
    play_prompt::parse(&row.body, version, Compat::Open).expect("the row is accepted")
}

fn rows() -> Vec<Row> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/json");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let index: Vec<Value> = serde_json::from_slice(&read("index.json")).expect("it is JSON");
    index
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("it is a string").to_owned();
            Row {
                name: text("file").trim_end_matches(".json").to_owned(),
                versions: match text("version").as_str() {
                    "v1.0" => vec![ApiVersion::V1],
                    "beta" => vec![ApiVersion::Beta],
                    _ => vec![ApiVersion::V1, ApiVersion::Beta],
                },
                status: row["status"].as_u64().expect("it is a number"),
                body: with_cdn(&read(&text("file"))),
            }
        })
        .collect()
}

fn with_cdn(body: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"{CDN}";
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(CDN.as_bytes());
        rest = &rest[at + MARK.len()..];
    }
    out.extend_from_slice(rest);
    out
}
