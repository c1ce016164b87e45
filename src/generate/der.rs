//! Writes DER (X.690): the few types that X.509 certificates need.
//!
//! Lengths are always the shortest form. A constructed value is written in place and its length put before it
//! afterwards, so nothing needs to know sizes in advance.

use ct_model::Timestamp;

pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const PRINTABLE_STRING: u8 = 0x13;
pub const IA5_STRING: u8 = 0x16;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `[number]`, primitive.
pub const fn context(number: u8) -> u8 {
    0x80 | number
}

/// `[number]`, constructed.
pub const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// DER under construction: whole values, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Der {
    bytes: Vec<u8>,
}

impl Der {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Values that are DER already.
    pub fn raw(&mut self, der: &[u8]) {
        self.bytes.extend_from_slice(der);
    }

    pub fn value(&mut self, tag: u8, content: &[u8]) {
        self.bytes.push(tag);
        let (length, used) = length(content.len());
        self.bytes.extend_from_slice(&length[..used]);
        self.bytes.extend_from_slice(content);
    }

    /// A value whose content `body` writes.
    pub fn nest(&mut self, tag: u8, body: impl FnOnce(&mut Self)) {
        self.bytes.push(tag);
        let start = self.bytes.len();
        self.bytes.push(0);
        body(self);
        let (length, used) = length(self.bytes.len() - start - 1);
        if used == 1 {
            self.bytes[start] = length[0];
        } else {
            self.bytes.splice(start..=start, length[..used].iter().copied());
        }
    }

    pub fn sequence(&mut self, body: impl FnOnce(&mut Self)) {
        self.nest(SEQUENCE, body);
    }

    pub fn boolean_true(&mut self) {
        self.value(BOOLEAN, &[0xff]);
    }

    pub fn null(&mut self) {
        self.value(NULL, &[]);
    }

    /// A non-negative INTEGER of big-endian bytes: no needless zeros, one where the sign bit would be set.
    pub fn unsigned(&mut self, big_endian: &[u8]) {
        let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
        let magnitude = &big_endian[zeros..];
        let sign_byte = magnitude.first().is_none_or(|byte| byte & 0x80 != 0);
        self.bytes.push(INTEGER);
        let (length, used) = length(magnitude.len() + usize::from(sign_byte));
        self.bytes.extend_from_slice(&length[..used]);
        if sign_byte {
            self.bytes.push(0);
        }
        self.bytes.extend_from_slice(magnitude);
    }

    /// A BIT STRING of whole bytes.
    pub fn bit_string(&mut self, body: impl FnOnce(&mut Self)) {
        self.nest(BIT_STRING, |der| {
            der.bytes.push(0);
            body(der);
        });
    }

    pub fn oid(&mut self, arcs: &[u32]) {
        self.nest(OID, |der| {
            der.base128(arcs[0] * 40 + arcs[1]);
            arcs[2..].iter().for_each(|arc| der.base128(*arc));
        });
    }

    fn base128(&mut self, arc: u32) {
        let groups = (u32::BITS - arc.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let continued = if group == 0 { 0 } else { 0x80 };
            self.bytes.push((arc >> (7 * group)) as u8 & 0x7f | continued);
        }
    }

    /// A Time as RFC 5280 section 4.1.2.5 wants it: UTCTime through 2049, GeneralizedTime after.
    pub fn time(&mut self, seconds: i64) {
        let text = Timestamp::from_seconds(seconds).to_string();
        let mut digits: Vec<u8> = text.bytes().take(19).filter(u8::is_ascii_digit).collect();
        digits.push(b'Z');
        if &digits[..4] < b"2050".as_slice() {
            self.value(UTC_TIME, &digits[2..]);
        } else {
            self.value(GENERALIZED_TIME, &digits);
        }
    }
}

/// The length octets of a definite form (X.690 section 8.1.3), and how many of them are used.
fn length(bytes: usize) -> ([u8; 9], usize) {
    let mut octets = [0; 9];
    if bytes < 0x80 {
        octets[0] = bytes as u8;
        return (octets, 1);
    }
    let big_endian = (bytes as u64).to_be_bytes();
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let used = big_endian.len() - zeros;
    octets[0] = 0x80 | used as u8;
    octets[1..=used].copy_from_slice(&big_endian[zeros..]);
    (octets, used + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Der), want: &[u8]) {
        let mut der = Der::default();
        write(&mut der);
        assert_eq!(der.bytes(), want);
    }

    #[test]
    fn short_and_long_lengths() {
        check(|d| d.value(OCTET_STRING, &[7; 2]), &[4, 2, 7, 7]);
        for bytes in [127_usize, 128, 255, 256, 65_535, 65_536] {
            let mut direct = Der::default();
            direct.value(OCTET_STRING, &vec![9; bytes]);
            let head: &[u8] = match bytes {
                127 => &[4, 127],
                128 => &[4, 0x81, 128],
                255 => &[4, 0x81, 255],
                256 => &[4, 0x82, 1, 0],
                65_535 => &[4, 0x82, 255, 255],
                _ => &[4, 0x83, 1, 0, 0],
            };
            assert_eq!(&direct.bytes()[..head.len()], head);
            check(|d| d.nest(OCTET_STRING, |d| d.raw(&vec![9; bytes])), direct.bytes());
        }
    }

    // X.690 section 8.19.5 and RFC 6962 section 3.1.
    #[test]
    fn oids() {
        check(|d| d.oid(&[2, 999, 3]), &[6, 3, 0x88, 0x37, 3]);
        check(|d| d.oid(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 3]), &[6, 10, 0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3]);
        check(|d| d.oid(&[2, 5, 29, 0]), &[6, 3, 0x55, 0x1d, 0]);
    }

    #[test]
    fn integers_are_shortest_and_positive() {
        check(|d| d.unsigned(&[0, 0, 5]), &[2, 1, 5]);
        check(|d| d.unsigned(&[0x80]), &[2, 2, 0, 0x80]);
        check(|d| d.unsigned(&[0, 0]), &[2, 1, 0]);
    }

    #[test]
    fn times_change_type_in_2050() {
        check(|d| d.time(2_524_607_999), b"\x17\x0d491231235959Z");
        check(|d| d.time(2_524_608_000), b"\x18\x0f20500101000000Z");
        check(|d| d.time(253_402_300_799), b"\x18\x0f99991231235959Z");
    }
}
