//! The numbers of a header, where all readers see the same: octal digits, or a number in base 256.
//!
//! GNU tar reads a sign as the beginning of base 64, Python reads `1_0`, and some readers cut a number that is too
//! large. So anything else is refused.

/// A number that is not negative.
pub(super) fn unsigned(field: &[u8]) -> Option<u64> {
    u64::try_from(signed(field)?).ok()
}

/// A number. Only a time can be negative.
pub(super) fn signed(field: &[u8]) -> Option<i64> {
    match field.split_first()? {
        // GNU tar and Python know only these two first bytes.
        (0x80, rest) => binary(0, rest).filter(|number| *number >= 0),
        (0xff, rest) => binary(-1, rest).filter(|number| *number < 0),
        _ => octal(field),
    }
}

/// A number in base 256. The bytes that an i64 has no room for must repeat its sign.
fn binary(sign: i64, bytes: &[u8]) -> Option<i64> {
    let (upper, lower) = bytes.split_at(bytes.len().saturating_sub(8));
    let fill = u8::from_ne_bytes([if sign < 0 { 0xff } else { 0 }]);
    let number = lower.iter().fold(sign, |number, byte| (number << 8) | i64::from(*byte));
    upper.iter().all(|byte| *byte == fill).then_some(number)
}

/// Blanks, octal digits, and then only blanks and null bytes. A field of null bytes only is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let is_end = |byte: &u8| matches!(byte, 0 | b' ');
    if field.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let start = field.iter().position(|byte| *byte != b' ')?;
    let end = field[start..].iter().position(is_end).map_or(field.len(), |length| start + length);
    let (digits, rest) = (&field[start..end], &field[end..]);
    let are_octal = !digits.is_empty() && digits.iter().all(|digit| matches!(digit, b'0'..=b'7'));
    if !are_octal || !rest.iter().all(is_end) {
        return None;
    }
    i64::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_octal_or_of_base_256() {
        for (field, number) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"0012345\0 ", 0o12345),
            (b"777777777777", 0o777_777_777_777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"\x80\0\0\0\0\0\x02\x01", 513),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
        ] {
            assert_eq!(signed(field), Some(number), "{field:?}");
            assert_eq!(unsigned(field), u64::try_from(number).ok(), "{field:?}");
        }
        for wrong in [
            &b""[..],
            b"+0000000003\0",
            b"-0000000003\0",
            b"        ",
            b"\x000000644",
            b"12 3\0\0\0\0",
            b"0o17\0\0\0\0",
            b"1_0\0\0\0\0\0",
            b"0000008\0",
            b"\t000644\0",
            b"\x80\0\0\x01\0\0\0\0\0\0\0\x03",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"\x81\0\0\0\0\0\0\x03",
            b"\xff\0\0\0\0\0\0\0\0\0\0\0",
            b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(signed(wrong), None, "{wrong:?}");
        }
    }
}
