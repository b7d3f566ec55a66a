//! Code that several fuzz targets share.

use serde_json::{Value, json};

/// Compares the JSON that was read with the JSON that was written from it: each part must
/// still be present, or be a default.
///
/// A struct can also be deserialized from a list of its fields; then there is nothing to
/// compare.
///
/// # Panics
///
/// If a part was lost.
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
                    Some(rewritten) => compare(value, rewritten),
                    None => assert!(may_be_left_out(value), "{name:?} was lost: {value}"),
                }
            }
        }
        (Value::Array(read), Value::Array(written)) => {
            assert_eq!(read.len(), written.len());
            for (value, rewritten) in read.iter().zip(written) {
                compare(value, rewritten);
            }
        }
        // Another representation of the same value.
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => {}
        (read, written) => assert_eq!(read, written),
    }
}

/// Whether the value is the default of some field.
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
