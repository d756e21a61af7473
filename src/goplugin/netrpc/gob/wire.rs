//! gob's primitives (`doc.go`, "Encoding Details").

use super::error::Error;

/// A buffer that had to grow beyond this, in bytes, is given back once it is empty.
pub(super) const KEPT_BYTES: usize = 64 * 1024;

/// Reads primitives from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An unsigned integer: one byte below 128, or the negated count of the big-endian bytes that follow it.
    pub(super) fn uint(&mut self) -> Result<u64, Error> {
        let (&first, rest) = self.rest.split_first().ok_or(Error::Truncated)?;
        if first < 0x80 {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        let width = usize::from(first.wrapping_neg());
        if width > size_of::<u64>() {
            return Err(Error::BadInteger);
        }
        let (digits, rest) = rest.split_at_checked(width).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(digits.iter().fold(0, |number, &digit| number << 8 | u64::from(digit)))
    }

    /// A signed integer: the lowest bit says whether the others are complemented.
    pub(super) fn int(&mut self) -> Result<i64, Error> {
        let coded = self.uint()?;
        let number = (coded >> 1).cast_signed();
        Ok(if coded & 1 == 1 { !number } else { number })
    }

    /// A float: its IEEE 754 bits, bytes reversed, since most floats end in zeros.
    pub(super) fn float(&mut self) -> Result<f64, Error> {
        Ok(f64::from_bits(self.uint()?.swap_bytes()))
    }

    /// Bytes with their count before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let count = self.uint()?;
        let count = usize::try_from(count).map_err(|_| Error::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Writes an unsigned integer.
pub(super) fn put_uint(out: &mut Vec<u8>, number: u64) {
    let digits = number.to_be_bytes();
    let first = digits.iter().position(|&digit| digit != 0).unwrap_or(digits.len());
    match digits.get(first..).unwrap_or_default() {
        [] => out.push(0),
        [digit] if *digit < 0x80 => out.push(*digit),
        digits => {
            // At most 8, so the negated count is one byte.
            out.extend(u8::try_from(digits.len()).map(u8::wrapping_neg));
            out.extend_from_slice(digits);
        }
    }
}

/// Writes a signed integer.
pub(super) fn put_int(out: &mut Vec<u8>, number: i64) {
    let coded = number.cast_unsigned() << 1;
    put_uint(out, if number < 0 { !coded } else { coded });
}

/// Writes bytes with their count before them.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Empties a buffer, and gives it back to the system when one large value made it grow.
pub(super) fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uint(bytes: &[u8]) -> Result<u64, Error> {
        Cursor::new(bytes).uint()
    }

    #[test]
    fn integers_are_as_gos_documentation_shows_them() {
        assert_eq!(uint(&[0]), Ok(0));
        assert_eq!(uint(&[7]), Ok(7));
        assert_eq!(uint(&[0xfe, 0x01, 0x00]), Ok(256));
        assert_eq!(uint(&[0xff, 0x80]), Ok(128));
        assert_eq!(uint(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(u64::MAX));
        assert_eq!(Cursor::new(&[0xfd, 1, 1, 3]).int(), Ok(-0x8082));
        assert_eq!(Cursor::new(&[0xfe, 0x31, 0x40]).float(), Ok(17.0).map(|_: f64| f64::from_bits(0x4031 << 48)));
    }

    #[test]
    fn integers_survive_the_way_there_and_back() {
        let edges = [0, 1, 63, 64, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, 1 << 56, u64::MAX - 1, u64::MAX];
        for number in edges {
            let mut bytes = Vec::new();
            put_uint(&mut bytes, number);
            put_int(&mut bytes, number.cast_signed());
            let mut cursor = Cursor::new(&bytes);
            assert_eq!((cursor.uint(), cursor.int()), (Ok(number), Ok(number.cast_signed())));
            assert!(cursor.is_empty());
        }
    }

    #[test]
    fn what_is_cut_or_too_wide_is_refused() {
        assert_eq!(uint(&[]), Err(Error::Truncated));
        assert_eq!(uint(&[0xfe, 1]), Err(Error::Truncated));
        assert_eq!(uint(&[0xf7, 1, 2, 3, 4, 5, 6, 7, 8, 9]), Err(Error::BadInteger));
        assert_eq!(uint(&[0x80]), Err(Error::BadInteger));
        assert_eq!(Cursor::new(&[3, b'a', b'b']).bytes(), Err(Error::Truncated));
        assert_eq!(Cursor::new(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 0]).bytes(), Err(Error::Truncated));
    }
}
