//! permessage-deflate (RFC 7692) without context takeover: each message is a stream of its own, so a socket that has agreed
//! to it keeps nothing between messages, and what is compressed once can be sent to many.
//!
//! One compressor and one decompressor for each thread, made when it first needs them. `frame` calls the one, `reader` the
//! other; which sockets have agreed is not known here.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::read_error::ReadError;

/// Smaller payloads are sent as they are: a packet has 60 bytes of its own, and an event of 200 bytes loses 50 for 7 µs
/// (`bench/benches/deflate.rs`, as the next one).
pub(super) const WORTH_IT: usize = 256;
/// Of nine. Up to 1 KB the second to ninth give the same; at 4 KB the ninth wins a hundredth for five times the time, and the
/// first loses a third everywhere.
const LEVEL: u32 = 3;
/// §7.2.1: ends every compressed message and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// What decompression begins with, as a multiple of what came.
const USUAL_RATIO: usize = 4;
/// Bytes of room that outlive a large message.
const KEEP: usize = 64 * 1024;

/// A compressor and the room for what it makes.
struct Packer {
    stream: Compress,
    out: Vec<u8>,
}

thread_local! {
    static PACKER: RefCell<Option<Packer>> = const { RefCell::new(None) };
    static UNPACKER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// The most that a message of `limit` bytes may take on the wire: what does not compress grows by some bytes for each 16 KB.
pub(super) fn most_on_wire(limit: usize) -> usize {
    limit.saturating_add(limit >> 8).saturating_add(64)
}

/// Gives `then` the compressed payload, or `None` when that is not smaller.
pub(super) fn deflate<T>(payload: &[u8], then: impl FnOnce(Option<&[u8]>) -> T) -> T {
    if payload.len() < WORTH_IT {
        return then(None);
    }
    PACKER.with_borrow_mut(|packer| {
        let Packer { stream, out } = packer
            .get_or_insert_with(|| Packer { stream: Compress::new(Compression::new(LEVEL), false), out: Vec::new() });
        stream.reset();
        out.clear();
        out.reserve_exact(payload.len());
        let done = stream.compress_vec(payload, out, FlushCompress::Sync);
        // Room is left, so nothing is missing.
        let whole = done.is_ok() && stream.total_in() == payload.len() as u64 && out.len() < out.capacity();
        let packed = out.strip_suffix(&TAIL).filter(|packed| whole && packed.len() < payload.len());
        let result = then(packed);
        out.shrink_to(KEEP);
        result
    })
}

/// The message that `packed` was made of, if that has no more than `limit` bytes: not one more is ever made.
pub(super) fn inflate(packed: &[u8], limit: usize) -> Result<Vec<u8>, ReadError> {
    UNPACKER.with_borrow_mut(|stream| {
        let stream = stream.get_or_insert_with(|| Decompress::new(false));
        stream.reset(false);
        // One more than allowed shows that it is too much.
        let most = limit.saturating_add(1);
        let mut out = Vec::with_capacity(packed.len().saturating_mul(USUAL_RATIO).min(most));
        for mut rest in [packed, &TAIL] {
            loop {
                let before = (stream.total_in(), out.len());
                let status = stream.decompress_vec(rest, &mut out, FlushDecompress::Sync);
                let status = status.map_err(|_| ReadError::BadCompression)?;
                rest = &rest[(stream.total_in() - before.0) as usize..];
                if out.len() > limit {
                    return Err(ReadError::InflatesTooBig { limit });
                }
                if status == Status::StreamEnd {
                    // §7.2.3.4: a last block may be followed by more of the message.
                    stream.reset(false);
                } else if out.len() == out.capacity() {
                    out.reserve_exact(out.capacity().max(WORTH_IT).min(most - out.len()));
                    continue;
                }
                if rest.is_empty() {
                    break;
                }
                if stream.total_in() == before.0 && out.len() == before.1 {
                    return Err(ReadError::BadCompression);
                }
            }
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(payload: &[u8]) -> Vec<u8> {
        deflate(payload, |packed| packed.expect("smaller").to_vec())
    }

    #[test]
    fn a_message_comes_back_and_the_one_before_it_does_not_matter() {
        let (first, second) = ("sleep, ".repeat(100), "wake, ".repeat(5000));
        let [first_packed, second_packed] = [&first, &second].map(|text| packed(text.as_bytes()));
        for _ in 0..2 {
            assert_eq!(inflate(&second_packed, 1 << 16).as_deref(), Ok(second.as_bytes()));
            assert_eq!(inflate(&first_packed, 1 << 16).as_deref(), Ok(first.as_bytes()));
        }
        assert_eq!(packed(first.as_bytes()), first_packed);
    }

    #[test]
    fn what_is_short_or_does_not_compress_stays_as_it_is() {
        // By Marsaglia's xorshift.
        let noise = std::iter::successors(Some(1_u32), |&last| {
            let next = last ^ (last << 13);
            let next = next ^ (next >> 17);
            Some(next ^ (next << 5))
        });
        let noise: Vec<u8> = noise.take(4096).map(|word| word as u8).collect();
        for payload in [&b""[..], &[b'a'; WORTH_IT - 1], &noise] {
            deflate(payload, |packed| assert!(packed.is_none(), "{} bytes", payload.len()));
        }
        deflate(&[b'a'; WORTH_IT], |packed| assert!(packed.is_some()));
    }

    #[test]
    fn a_bomb_is_never_made() {
        let bomb = packed(&vec![b'0'; 16 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(inflate(&bomb, 65_536), Err(ReadError::InflatesTooBig { limit: 65_536 }));
        let exact = packed(&[b'0'; 65_536]);
        assert_eq!(inflate(&exact, 65_536).map(|bytes| bytes.len()), Ok(65_536));
        assert_eq!(inflate(&exact, 65_535), Err(ReadError::InflatesTooBig { limit: 65_535 }));
    }

    /// RFC 7692 §7.2.3.
    #[test]
    fn every_kind_of_block_is_read() {
        let rows: [(&[u8], &[u8]); 7] = [
            (&[], b""),
            (&[0x00], b""),
            (&[0x02, 0x00], b""),
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
            (&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        ];
        for (packed, plain) in rows {
            assert_eq!(inflate(packed, 100).as_deref(), Ok(plain), "{packed:x?}");
        }
    }

    #[test]
    fn what_no_compressor_makes_is_refused() {
        for packed in [&[0x06][..], &[0xff; 8], &[0x00, 0x05, 0x00, 0x00, 0x00]] {
            assert_eq!(inflate(packed, 100), Err(ReadError::BadCompression), "{packed:x?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_made_smaller_comes_back(payload in proptest::collection::vec(0_u8..4, 0..6000)) {
            deflate(&payload, |packed| {
                if let Some(packed) = packed {
                    assert_eq!(inflate(packed, payload.len()).as_deref(), Ok(&payload[..]));
                }
            });
        }

        #[test]
        fn any_bytes_end_within_the_limit(packed in proptest::collection::vec(any::<u8>(), 0..600), limit in 0_usize..2000) {
            if let Ok(bytes) = inflate(&packed, limit) {
                prop_assert!(bytes.len() <= limit);
            }
        }
    }
}
