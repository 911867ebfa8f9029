//! WebSocket frames as a client writes and reads them: masked out, unmasked in. Apart from the server's codec on purpose.

/// Opcodes (RFC 6455 §5.2).
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Writes one frame of a client.
pub(crate) fn write(out: &mut Vec<u8>, fin: bool, opcode: u8, payload: &[u8], key: u32) {
    let key = key.to_be_bytes();
    out.push(u8::from(fin) << 7 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Takes the first frame of a server off `bytes`, if it is whole.
pub(crate) fn read(bytes: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("the server's bytes are no frame: {:02x?}", &bytes[..bytes.len().min(16)]));
    }
    let (head, length) = match second {
        127 if bytes.len() >= 10 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight")) as usize),
        126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        126 | 127 => return Ok(None),
        short => (2, usize::from(short)),
    };
    if bytes.len() < head + length {
        return Ok(None);
    }
    let payload = bytes[head..head + length].to_vec();
    bytes.drain(..head + length);
    Ok(Some((first & 0x0f, payload)))
}
