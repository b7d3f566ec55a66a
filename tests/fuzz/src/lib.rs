//! What more than one fuzzing target needs.

use serde_json::{Value, json};

/// Holds the JSON that was read against the JSON that is written for it: each
/// part must be there again, or stand for nothing.
///
/// A structure is also read from a list of its fields, in which case there is
/// nothing to hold against each other.
///
/// # Panics
///
/// When something was read over.
pub fn assert_nothing_lost(read: &[u8], written: &str) {
    let read: Value = serde_json::from_slice(read).expect("it was read as JSON before");
    let written: Value = serde_json::from_str(written).expect("what is written is JSON");
    compare(&read, &written);
}

fn compare(read: &Value, written: &Value) {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            for (name, value) in read {
                match written.get(name) {
                    Some(again) => compare(value, again),
                    None => assert!(may_be_left_out(value), "{name:?} was lost: {value}"),
                }
            }
        }
        (Value::Array(read), Value::Array(written)) => {
            assert_eq!(read.len(), written.len());
            for (value, again) in read.iter().zip(written) {
                compare(value, again);
            }
        }
        // Another spelling of the same.
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => {}
        (read, written) => assert_eq!(read, written),
    }
}

/// The defaults of all fields that have one.
fn may_be_left_out(value: &Value) -> bool {
    [
        json!(null),
        json!({}),
        json!([]),
        json!(""),
        json!(0),
        json!(true),
        json!(false),
        json!("all"),
        json!({ "all": null }),
    ]
    .contains(value)
}
