//! JSON as Tombolo reads and writes it: exact numbers, canonical bytes.
//!
//! A number without fraction or exponent that fits `i64` or `u64` is an integer; any other is the nearest double; an
//! integer literal that no double equals is an error. [`Json::to_bytes`] writes RFC 8785 with two differences: integers
//! are printed in full, and doubles from 2⁵³ on always carry an exponent, so that what was a double is read as one
//! again.

mod parse;
pub mod pointer;
mod write;

use std::collections::BTreeMap;

pub use parse::{JsonError, JsonReason};

/// The fields of a JSON object.
pub type Fields = BTreeMap<String, Json>;

/// Containers within containers that a write may hold.
pub const WRITE_DEPTH_MAX: usize = 64;
/// Containers within containers that are parsed and shown; deeper ones (merging can make them) are shown as null.
pub const VIEW_DEPTH_MAX: usize = 128;
/// Doubles from here on have no neighbour at a distance of one.
const DOUBLE_EXACT_END: f64 = 9_007_199_254_740_992.0;

/// A JSON value. Two values are equal when their canonical bytes are: `5`, `5.0` and `5u64` are one value.
#[derive(Debug, Clone)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits `i64`.
    Int(i64),
    /// An integer above `i64::MAX` (smaller ones are legal too and equal to the same [`Json::Int`]).
    Uint(u64),
    /// A double. Values that are not finite are written as `null`.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object. Its order in memory is by bytes, in writing by UTF-16 units.
    Object(Fields),
}

/// What makes numbers equal: the whole number, or the bits of a double that no integer is printed like.
#[derive(PartialEq)]
enum Number {
    Whole(i128),
    Double(u64),
}

impl Json {
    /// Parses one JSON text; nothing but white space may follow it.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        parse::parse(bytes)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        write::write(self, &mut out);
        out
    }

    /// Containers within containers: 0 for a scalar, 1 for `{}` and `[]`.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(fields) => 1 + fields.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The fields, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Fields> {
        if let Self::Object(fields) = self { Some(fields) } else { None }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number, if this is a whole one that fits `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.number()? {
            Number::Whole(whole) => i64::try_from(whole).ok(),
            Number::Double(_) => None,
        }
    }

    fn number(&self) -> Option<Number> {
        match self {
            Self::Int(int) => Some(Number::Whole(i128::from(*int))),
            Self::Uint(uint) => Some(Number::Whole(i128::from(*uint))),
            Self::Float(float) => Some(match whole(*float) {
                Some(int) => Number::Whole(i128::from(int)),
                None => Number::Double(float.to_bits()),
            }),
            _ => None,
        }
    }
}

/// The integer a double is printed as, if it is.
fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() < DOUBLE_EXACT_END).then_some(float as i64)
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => self.number().is_some_and(|number| Some(number) == other.number()),
        }
    }
}

impl Eq for Json {}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(bool) => serializer.serialize_bool(*bool),
            Self::Int(int) => serializer.serialize_i64(*int),
            Self::Uint(uint) => serializer.serialize_u64(*uint),
            Self::Float(float) => match whole(*float) {
                Some(int) => serializer.serialize_i64(int),
                None => serializer.serialize_f64(*float),
            },
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(fields) => serializer.collect_map(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        String::from_utf8(Json::parse(json.as_bytes()).unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for (given, written) in [
            ("-0", "0"),
            ("-0.0", "0"),
            ("5.0", "5"),
            ("1e3", "1000"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("9007199254740992.0", "9.007199254740992e+15"),
            ("1e20", "1e+20"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("1e-7", "1e-7"),
            ("1e-999", "0"),
        ] {
            assert_eq!(text(given), written, "{given}");
            assert_eq!(text(written), written, "again: {given}");
        }
        for wrong in ["18446744073709551617", "1e999", "-1e999", "01", "1.", ".5", "+1", "1e", "-", "NaN"] {
            assert!(Json::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn strings_and_key_order_are_canonical() {
        assert_eq!(text("\"\\u0000\\u001F\\n\\/\\u00e9\\ud83d\\ude00\""), "\"\\u0000\\u001f\\n/é😀\"");
        // U+FB33 sorts after U+1F600 in UTF-16, before it in bytes.
        assert_eq!(text("{\"\u{fb33}\":1,\"\u{1f600}\":2,\"a\":{}}"), "{\"a\":{},\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    #[test]
    fn errors_name_line_column_and_reason() {
        let error = Json::parse(b"{\n  \"a\": 1,\n  \"a\": 2}").unwrap_err();
        assert_eq!((error.line, error.column), (3, 3));
        assert!(matches!(error.reason, JsonReason::DuplicateKey(_)));
        for wrong in
            ["", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "tru", "\"\\ud800\"", "\"\n\"", "1 2", "\"\\x\"", "\u{feff}1"]
        {
            assert!(Json::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(matches!(Json::parse(b"\"\xff\"").unwrap_err().reason, JsonReason::Utf8));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(Json::parse(nested(VIEW_DEPTH_MAX).as_bytes()).unwrap().depth(), VIEW_DEPTH_MAX);
        assert_eq!(Json::parse(nested(VIEW_DEPTH_MAX + 1).as_bytes()).unwrap_err().reason, JsonReason::TooDeep);
    }

    #[test]
    fn equality_is_that_of_canonical_bytes() {
        assert_eq!(Json::Int(5), Json::Float(5.0));
        assert_eq!(Json::Uint(5), Json::Int(5));
        assert_ne!(Json::Int(1 << 53), Json::Float(DOUBLE_EXACT_END));
        assert_ne!(Json::Int(0), Json::Null);
    }
}
