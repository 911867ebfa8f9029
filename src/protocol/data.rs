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
    if is_plain(data.get().as_bytes()) {
        return Ok(());
    }
    match serde_json::from_str::<Readable>(data.get()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(ErrorCode::BadRequest, format!("`data` cannot be read: {error}"))),
    }
}

/// Known to be JSON, it has nothing that could not be read: no escape, no exponent, no number of hundreds of digits. Most
/// data is like that, and reading a large one to its leaves costs as much as everything else that is done with it.
fn is_plain(json: &[u8]) -> bool {
    // Without a branch for each byte, so that many are looked at at once.
    let exponents =
        json.iter().zip(json.iter().skip(1)).filter(|(one, next)| one.is_ascii_digit() & (**next | 0x20 == b'e'));
    // A float holds any number of 308 digits; one with more fills a whole chunk.
    let has_long_number = || json.chunks_exact(128).any(|chunk| chunk.iter().all(u8::is_ascii_digit));
    !json.contains(&b'\\') && exponents.count() == 0 && !has_long_number()
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
        let long = format!("[{}]", "9".repeat(400));
        for json in [&*long, r#""\ud800""#, "1e999", "[0.5E+999]", r#"{"a":{"b":"\udc00"}}"#, r#"{"\ud800":1}"#] {
            assert!(!readable(json), "{json}");
        }
    }

    #[test]
    fn what_is_plain_is_not_read_again_and_nothing_else_is_plain() {
        for json in [r#"{"a":[1,-2,3.5,null,true,"the end ä"],"e":"7 eggs"}"#, "\"x\"", "[]", "0"] {
            assert!(is_plain(json.as_bytes()), "{json}");
        }
        for json in [r#""\n""#, "1e9", "[-2.5E7]", r#""7e""#, &*"9".repeat(309)] {
            assert!(!is_plain(json.as_bytes()), "{json}");
        }
    }
}
