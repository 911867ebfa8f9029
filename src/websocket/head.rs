//! The header of a client's frame (RFC 6455 §5.2): decoded from as many bytes as are there, refused by the first bad one.
//!
//! Every rule that the header alone can break is checked here and nowhere else, in the order of its bytes, so that a
//! header cut anywhere gives the same verdict as a whole one. Called by the reader; `frame` shares [`Opcode`].

use super::deflate::most_on_wire;
use super::mask::Mask;
use super::read_error::ReadError;
use super::reader::Terms;

/// The longest header: two bytes, a 64-bit length, a mask.
pub(super) const LONGEST: usize = 14;

/// §5.5: what a control frame may carry.
pub(super) const CONTROL_LIMIT: usize = 125;

/// RFC 7692 §6: the first frame of a compressed message.
pub(super) const RSV1: u8 = 0x40;

/// A message of which fragments have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    /// Bytes so far, as they came.
    pub(super) length: usize,
    pub(super) deflated: bool,
}

/// The four bits that say what a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, ReadError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            unknown => Err(ReadError::UnknownOpcode(unknown)),
        }
    }

    #[inline]
    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// The message that begins here is compressed.
    pub(super) deflated: bool,
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// Bytes of payload announced.
    pub(super) length: usize,
    pub(super) mask: Mask,
}

impl Head {
    /// Decodes the header `bytes` begins with; `None`: cut, and nothing wrong so far. `open` is the length so far of the
    /// message whose fragments are being received, if there is one.
    #[inline]
    pub(super) fn decode(bytes: &[u8], open: Option<Open>, terms: Terms) -> Result<Option<Self>, ReadError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        // RFC 7692 §6: RSV1 stands at the begin of a compressed message and nowhere else.
        let deflated = first & RSV1 != 0;
        if first & 0x30 != 0 || (deflated && (!terms.compressed || !matches!(first & 0x0f, 0x1 | 0x2))) {
            return Err(ReadError::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0f)?;
        match opcode {
            Opcode::Continuation if open.is_none() => return Err(ReadError::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if open.is_some() => return Err(ReadError::InterruptedMessage),
            Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => return Err(ReadError::FragmentedControl),
            _ => {}
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(ReadError::NotMasked);
        }
        let (length, mask_at) = match second & 0x7f {
            short @ 0..=125 => (u64::from(short), 2),
            _ if opcode.is_control() => return Err(ReadError::LongControl),
            126 => {
                let Some(field) = array_at::<2>(bytes, 2) else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(field));
                if length <= 125 {
                    return Err(ReadError::LengthNotMinimal);
                }
                (length, 4)
            }
            _ => {
                let Some(field) = array_at::<8>(bytes, 2) else { return Ok(None) };
                let length = u64::from_be_bytes(field);
                if length <= u64::from(u16::MAX) {
                    return Err(ReadError::LengthNotMinimal);
                }
                if length >> 63 != 0 {
                    return Err(ReadError::LengthOutOfRange);
                }
                (length, 10)
            }
        };
        // Control frames do not count: a limit below 125 must not make pings impossible.
        let Open { length: so_far, deflated: open_deflated } = open.unwrap_or_default();
        let limit = terms.max_message;
        let most = if deflated || open_deflated { most_on_wire(limit) } else { limit };
        if !opcode.is_control() && length > most.saturating_sub(so_far) as u64 {
            return Err(ReadError::TooBig { length: length.saturating_add(so_far as u64), limit });
        }

        let Some(mask) = array_at::<4>(bytes, mask_at) else { return Ok(None) };
        // No cut: a length over the limit, itself a `usize`, was refused above.
        Ok(Some(Self { fin, opcode, deflated, size: mask_at + 4, length: length as usize, mask }))
    }
}

#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::{Head, Opcode, Open};
    use crate::websocket::{ReadError, Terms};

    fn terms(max_message: usize) -> Terms {
        Terms { max_message, compressed: false }
    }

    #[test]
    fn a_header_cut_anywhere_waits_for_the_rest() {
        let heads: [(&[u8], usize); 3] = [
            (&[0x81, 0x85, 1, 2, 3, 4], 5),
            (&[0x82, 0xfe, 1, 0, 1, 2, 3, 4], 256),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65_536),
        ];
        for (bytes, length) in heads {
            for cut in 0..bytes.len() {
                assert_eq!(Head::decode(&bytes[..cut], None, terms(1 << 20)), Ok(None), "{bytes:?} cut at {cut}");
            }
            let head = Head::decode(bytes, None, terms(1 << 20)).unwrap().unwrap();
            assert_eq!((head.size, head.length, head.mask), (bytes.len(), length, [1, 2, 3, 4]));
        }
    }

    #[test]
    fn each_rule_is_checked_with_the_first_byte_that_can_break_it() {
        let open = Some(Open { length: 10, deflated: false });
        let rows: [(&[u8], Option<Open>, ReadError); 20] = [
            (&[0xc1], None, ReadError::ReservedBits),
            (&[0xa1], None, ReadError::ReservedBits),
            (&[0x91], None, ReadError::ReservedBits),
            (&[0x83], None, ReadError::UnknownOpcode(3)),
            (&[0x8f], None, ReadError::UnknownOpcode(15)),
            (&[0x80], None, ReadError::UnexpectedContinuation),
            (&[0x00], None, ReadError::UnexpectedContinuation),
            (&[0x81], open, ReadError::InterruptedMessage),
            (&[0x02], open, ReadError::InterruptedMessage),
            (&[0x09], open, ReadError::FragmentedControl),
            (&[0x08], None, ReadError::FragmentedControl),
            (&[0x81, 0x05], None, ReadError::NotMasked),
            (&[0x89, 0xfe], None, ReadError::LongControl),
            (&[0x88, 0xff], None, ReadError::LongControl),
            (&[0x81, 0xfe, 0, 125], None, ReadError::LengthNotMinimal),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], None, ReadError::LengthNotMinimal),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], None, ReadError::LengthOutOfRange),
            (&[0x81, 0xfe, 4, 1], None, ReadError::TooBig { length: 1025, limit: 1024 }),
            (&[0x80, 0xfe, 3, 247], open, ReadError::TooBig { length: 1025, limit: 1024 }),
            (
                &[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                None,
                ReadError::TooBig { length: i64::MAX as u64, limit: 1024 },
            ),
        ];
        for (bytes, open, error) in rows {
            assert_eq!(Head::decode(bytes, open, terms(1024)), Err(error), "{bytes:?}");
            assert_eq!(
                Head::decode(&bytes[..bytes.len() - 1], open, terms(1024)),
                Ok(None),
                "{bytes:?} without its last"
            );
        }
    }

    #[test]
    fn control_frames_are_free_of_the_message_limit() {
        let head = Head::decode(&[0x89, 0xfd, 0, 0, 0, 0], Some(Open { length: 5, deflated: false }), terms(5))
            .unwrap()
            .unwrap();
        assert_eq!((head.opcode, head.length), (Opcode::Ping, 125));
    }
    #[test]
    fn the_bit_of_compression_stands_where_a_message_begins_and_only_if_agreed() {
        let agreed = Terms { max_message: 1024, compressed: true };
        let open = Some(Open { length: 10, deflated: true });
        for (first, open, allowed) in [
            (0xc1, None, true),
            (0x42, None, true),
            (0x81, None, true),
            (0xc0, open, false),
            (0xc9, None, false),
            (0xca, open, false),
            (0xc8, None, false),
            (0xe1, None, false),
            (0xd1, None, false),
        ] {
            let refused = Err(ReadError::ReservedBits);
            assert_eq!(Head::decode(&[first], open, agreed), if allowed { Ok(None) } else { refused }, "{first:x}");
            assert_eq!(
                Head::decode(&[first], open, terms(1024)).is_ok(),
                first & 0x70 == 0,
                "{first:x}, nothing agreed"
            );
        }
        let head = Head::decode(&[0xc1, 0x85, 1, 2, 3, 4], None, agreed).unwrap().unwrap();
        assert!(head.deflated && head.opcode == Opcode::Text);
    }

    #[test]
    fn what_does_not_compress_may_be_a_little_longer_on_the_wire() {
        let agreed = Terms { max_message: 1024, compressed: true };
        let announced = |first: u8, length: u16| [&[first, 0xfe][..], &length.to_be_bytes(), &[0; 4]].concat();
        assert!(Head::decode(&announced(0xc1, 1092), None, agreed).is_ok());
        for (first, length) in [(0xc1, 1093), (0x81, 1025)] {
            let error = ReadError::TooBig { length: u64::from(length), limit: 1024 };
            assert_eq!(Head::decode(&announced(first, length), None, agreed), Err(error), "{length}");
        }
    }
}
