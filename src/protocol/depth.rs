//! How deeply JSON may be nested. Text that is only kept is never parsed deeply, but whoever re-encodes it later recurses:
//! a limit where it enters keeps one client's frame from costing anybody a stack.

use crate::protocol::error::{ErrorCode, Fault};

/// Levels of arrays and objects in a frame or body, the outermost included.
pub const MAX_DEPTH: usize = 100;

/// Checks text that is known to be JSON.
///
/// # Errors
/// `bad_request` when it is nested deeper than [`MAX_DEPTH`].
pub fn check(json: &str) -> Result<(), Fault> {
    // Most have fewer brackets than levels are allowed, which is seen many bytes at once.
    if json.bytes().filter(|byte| byte | 0x20 == b'{').count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let message = format!("nested deeper than {MAX_DEPTH} levels");
                    return Err(Fault::new(ErrorCode::BadRequest, message));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_brackets_count() {
        assert!(check(&format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_ok());
        assert!(check(&"[".repeat(MAX_DEPTH + 1)).is_err());
        assert!(check(&format!(r#"["{}\"{}"]"#, "[".repeat(500), "{".repeat(500))).is_ok());
        assert!(check(&"[],".repeat(1000)).is_ok());
    }
}
