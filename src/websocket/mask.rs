//! Takes the client's mask off a payload (RFC 6455 §5.3), in place.
//!
//! Called by the reader for each piece of payload as it arrives. Written in words so that the compiler makes vector
//! instructions of it; a frame cut anywhere goes on with [`rotate`].

/// The key of one frame. Zero-cost to carry, and turned when a payload is cut inside a word of it.
pub(super) type Mask = [u8; 4];

/// Unmasks `payload`, whose first byte falls on the first byte of `mask`.
#[inline]
pub(super) fn unmask(payload: &mut [u8], mask: Mask) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// The key for what follows `taken` bytes already unmasked with `mask`.
#[inline]
pub(super) fn rotate(mask: Mask, taken: usize) -> Mask {
    u32::from_be_bytes(mask).rotate_left(8 * (taken % 4) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::{rotate, unmask};

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn the_example_of_the_rfc_says_hello() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, MASK);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_equals_the_definition() {
        for length in 0..200 {
            let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let mut masked: Vec<u8> = plain.iter().enumerate().map(|(i, byte)| byte ^ MASK[i % 4]).collect();
            unmask(&mut masked, MASK);
            assert_eq!(masked, plain, "length {length}");
        }
    }

    #[test]
    fn a_payload_cut_anywhere_is_unmasked_alike() {
        let mut whole: Vec<u8> = (0..50).collect();
        unmask(&mut whole, MASK);
        for cut in 0..=50 {
            let mut pieces: Vec<u8> = (0..50).collect();
            let (head, tail) = pieces.split_at_mut(cut);
            unmask(head, MASK);
            unmask(tail, rotate(MASK, cut));
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
