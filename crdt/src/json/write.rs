//! The canonical writer.

use super::{DOUBLE_EXACT_END, Json};

const HEX: &[u8; 16] = b"0123456789abcdef";

pub(super) fn write(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Int(int) => {
            if *int < 0 {
                out.push(b'-');
            }
            unsigned(int.unsigned_abs(), out);
        }
        Json::Uint(uint) => unsigned(*uint, out),
        Json::Float(float) => double(*float, out),
        Json::String(text) => string(text, out),
        Json::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Json::Object(fields) => {
            out.push(b'{');
            // Byte order is UTF-16 order unless a key holds a character from U+E000 on.
            if fields.keys().all(|key| key.bytes().all(|byte| byte < 0xee)) {
                members(fields.iter(), out);
            } else {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
                members(sorted.into_iter(), out);
            }
            out.push(b'}');
        }
    }
}

fn members<'a>(fields: impl Iterator<Item = (&'a String, &'a Json)>, out: &mut Vec<u8>) {
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(key, out);
        out.push(b':');
        write(value, out);
    }
}

fn unsigned(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        let digit = (number % 10) as u8;
        *slot = b'0' + digit;
        used += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    debug_assert!(number == 0 && (1..=digits.len()).contains(&used), "all digits are there");
    out.extend_from_slice(digits.split_at(digits.len() - used).1);
}

fn double(float: f64, out: &mut Vec<u8>) {
    if !float.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let mut buffer = ryu_js::Buffer::new();
    let text = buffer.format_finite(if float == 0.0 { 0.0 } else { float });
    if float.abs() < DOUBLE_EXACT_END || text.contains('e') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    // Below 1e21 the plain digits would be read back as an integer.
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (first, rest) = digits.split_at(1);
    let fraction = rest.trim_end_matches('0');
    out.extend_from_slice(sign.as_bytes());
    out.extend_from_slice(first.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(b"e+");
    unsigned(rest.len() as u64, out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(b"00");
            out.extend([byte >> 4, byte & 15].iter().filter_map(|nibble| HEX.get(usize::from(*nibble))));
        }
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}
