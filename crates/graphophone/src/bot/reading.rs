//! What notifications and operations say, in the words of those who wait for it.

use serde_json::Value;

/// Whether a notification says that the call has audio.
pub fn is_audio_active(value: &Value) -> bool {
    value["resourceData"]["mediaState"]["audio"] == "active"
}

/// Whether a notification says that this operation is over.
pub fn is_end_of(value: &Value, operation: &str) -> bool {
    value["changeType"] == "deleted" && value["resourceData"]["id"] == operation
}

/// Whether a notification says that its call is over.
pub fn is_terminated(value: &Value) -> bool {
    value["resourceData"]["state"] == "terminated"
}

/// The receipts of an operation's prompts.
pub fn receipts(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["graphophoneReceipt"]["prompts"].as_array().into_iter().flatten()
}

/// Milliseconds of audio that an operation has sent.
pub fn sent_ms(operation: &Value) -> u64 {
    receipts(operation).filter_map(|prompt| prompt["millisecondsSent"].as_u64()).sum()
}

/// Milliseconds of an operation that the far end has acknowledged, if it reports at all.
pub fn acknowledged_ms(operation: &Value) -> Option<u64> {
    receipts(operation)
        .filter(|prompt| prompt["millisecondsSent"] != 0)
        .map(|prompt| prompt["millisecondsAcknowledged"].as_u64())
        .sum()
}
