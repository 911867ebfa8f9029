//! WebSocket frames from the client's side (RFC 6455 §5): masked ones out, unmasked ones in. Pure bytes, no I/O.
//!
//! Only what a load generator needs: messages in one frame each. A server that fragments or masks is an error here, not
//! a case. Called by the client connection, and by the raw floor, which sends one server frame again and again.

use thiserror::Error;

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// One whole frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes of the frame with its header.
    pub(crate) length: usize,
}

/// What a server may not send to this client.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("the server sent a masked frame")]
    Masked,
    #[error("the server set reserved bits {0:#04x}")]
    Reserved(u8),
    #[error("the server sent a message in fragments, which this client does not put together")]
    Fragmented,
    #[error("the server announced a frame of {0} bytes")]
    TooLong(u64),
}

/// Longest frame a server may send: the read buffer holds one such frame and more.
pub(crate) const LONGEST: usize = 160 * 1024;

/// The first frame in `bytes`, or nothing while it is incomplete.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved(first & 0x70));
    }
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let (length, head) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2),
    };
    if length > LONGEST as u64 {
        return Err(FrameError::TooLong(length));
    }
    if first & 0x80 == 0 || first & 0x0F == 0 {
        return Err(FrameError::Fragmented);
    }
    let end = head + length as usize;
    Ok(bytes.get(head..end).map(|payload| Frame { opcode: first & 0x0F, payload, length: end }))
}

/// Appends a masked client frame. The mask is never zero in a run, so the server pays for unmasking as it does in life.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: u32) {
    head(out, opcode, payload.len(), 0x80);
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends an unmasked server frame; for the raw floor and for tests.
pub(crate) fn encode_as_server(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

fn head(out: &mut Vec<u8>, opcode: u8, length: usize, mask_bit: u8) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(mask_bit | length as u8),
        126..=0xFFFF => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7: a single-frame masked text message that contains "Hello".
    #[test]
    fn the_masked_example_of_the_rfc_comes_out_byte_for_byte() {
        let mut out = Vec::new();
        encode(&mut out, TEXT, b"Hello", 0x37fa_213d);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn every_length_form_is_read_back_whole_and_never_before_its_last_byte() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, LONGEST] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            encode_as_server(&mut bytes, TEXT, &payload);
            assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(None), "{length} bytes, one short");
            let whole = bytes.len();
            bytes.extend_from_slice(b"\x81\x01y");
            assert_eq!(decode(&bytes), Ok(Some(Frame { opcode: TEXT, payload: &payload, length: whole })));
        }
    }

    #[test]
    fn masked_client_frames_carry_the_length_forms_of_the_rfc() {
        for (length, head) in [(125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut out = Vec::new();
            encode(&mut out, TEXT, &vec![0; length], 0x0102_0304);
            assert_eq!(out.len(), head + length);
            assert_eq!(&out[head..head + 5], [1, 2, 3, 4, 1], "zeroes under the mask show the mask");
        }
    }

    #[test]
    fn what_a_server_must_not_send_is_an_error() {
        assert_eq!(decode(b"\x81\x81abcdX"), Err(FrameError::Masked));
        assert_eq!(decode(b"\xC1\x00"), Err(FrameError::Reserved(0x40)));
        assert_eq!(decode(b"\x01\x00"), Err(FrameError::Fragmented));
        assert_eq!(decode(b"\x80\x00"), Err(FrameError::Fragmented));
        assert_eq!(decode(b"\x82\x7f\x00\x00\x00\xff\x00\x00\x00\x00"), Err(FrameError::TooLong(0xff << 32)));
    }
}
