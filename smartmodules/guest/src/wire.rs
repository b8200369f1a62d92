//! The parts of Fluvio's encoding in a batch of records: big-endian numbers, zigzag varints, and
//! bytes with a length prefix.

/// Reads bytes from front to back. Methods return `None` if there are too few bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Reads a 32-bit count.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        // Fluvio reads a negative count as an empty list.
        Some(usize::try_from(i32::from_be_bytes(*number)).unwrap_or(0))
    }

    /// Reads a 16-bit count.
    pub(crate) fn short(&mut self) -> Option<usize> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(usize::from(u16::from_be_bytes(*number)))
    }

    /// Reads a 64-bit number.
    pub(crate) fn long(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*number))
    }

    /// Reads a text with a 16-bit length prefix.
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.take(length)
    }

    /// Reads a zigzag varint.
    pub(crate) fn varint(&mut self) -> Option<i64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
            }
        }
        None
    }

    /// Reads bytes with a varint length prefix.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }
}

/// Appends a length as a zigzag varint.
pub(crate) fn write_length(length: usize, out: &mut Vec<u8>) {
    let mut bits = (length as u64) << 1;
    while bits > 0x7f {
        out.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Appends a text with a 16-bit length prefix, cut to 65,535 bytes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    let length = text.floor_char_boundary(usize::from(u16::MAX));
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..length).unwrap_or_default());
}

/// Returns the number of bytes that [`write_length`] appends.
pub(crate) fn length_size(length: usize) -> usize {
    let bits = (length as u64) << 1;
    let significant = (u64::BITS - bits.leading_zeros()).max(1);
    significant.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_fluvio() {
        for (number, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (64, &[0x80, 1]),
            (8191, &[0xfe, 0x7f]),
            (-134_217_729, &[0x81, 0x80, 0x80, 0x80, 1]),
            (
                i64::MAX,
                &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
            (
                i64::MIN,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
        ] {
            assert_eq!(Reader(bytes).varint(), Some(number));
        }
        assert_eq!(Reader(&[0x80, 0x80]).varint(), None);
        assert_eq!(Reader(&[0xff; 20]).varint(), None);
    }

    #[test]
    fn lengths_are_read_as_they_were_written() {
        for length in [
            0,
            1,
            63,
            64,
            8191,
            8192,
            1_048_575,
            1_048_576,
            u32::MAX as usize,
        ] {
            let mut out = Vec::new();
            write_length(length, &mut out);
            assert_eq!(out.len(), length_size(length), "{length}");
            assert_eq!(Reader(&out).varint(), i64::try_from(length).ok());
        }
    }
}
