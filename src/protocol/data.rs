//! Payload that is kept to the byte must still be JSON that every encoding can carry: text that a parser would refuse
//! later (half a surrogate pair, a number no float holds) is refused where it enters.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::protocol::{
    depth,
    error::{ErrorCode, Fault},
};

/// Any JSON value, read to its leaves and thrown away; allocates nothing for most.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Leaves;

        impl<'de> Visitor<'de> for Leaves {
            type Value = Readable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_str<E>(self, _: &str) -> Result<Readable, E> {
                Ok(Readable)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Readable, A::Error> {
                while items.next_element::<Readable>()?.is_some() {}
                Ok(Readable)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Readable, A::Error> {
                while entries.next_entry::<Readable, Readable>()?.is_some() {}
                Ok(Readable)
            }
        }

        deserializer.deserialize_any(Leaves)
    }
}

/// Checks `data` of a publish or signal.
///
/// # Errors
/// `bad_request` that says where it cannot be read, or that it is nested too deeply.
pub fn check(data: &RawValue) -> Result<(), Fault> {
    depth::check(data.get())?;
    match serde_json::from_str::<Readable>(data.get()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(ErrorCode::BadRequest, format!("`data` cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_encoding_could_not_carry_is_refused() {
        let readable = |json: &str| check(&RawValue::from_string(json.to_owned()).expect("looks like json")).is_ok();
        for json in [r#"{"a":[1,-2,3.5e10,null,true,"\ud83d\ude00 \u00e4"]}"#, "\"x\"", "[]", "18446744073709551615"] {
            assert!(readable(json), "{json}");
        }
        for json in [r#""\ud800""#, "1e999", r#"{"a":{"b":"\udc00"}}"#, r#"{"\ud800":1}"#] {
            assert!(!readable(json), "{json}");
        }
    }
}
