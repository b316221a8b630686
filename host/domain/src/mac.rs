//! HMAC-SHA256 (RFC 2104): for what is signed and for keys that are made from keys. Twenty lines over a hash that is here
//! already, held to the RFC's own examples; that is less to trust than two more crates.

use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 64;

/// The code of `parts`, one after the other, under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK_BYTES];
    let short: [u8; 32];
    let key = if key.len() > BLOCK_BYTES {
        short = Sha256::digest(key).into();
        short.as_slice()
    } else {
        key
    };
    for (byte, of_key) in block.iter_mut().zip(key) {
        *byte = *of_key;
    }
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_rfc_4231() {
        let code = |key: &[u8], data: &[u8]| hex::encode(hmac_sha256(key, &[data]));
        assert_eq!(code(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(
            code(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            code(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn parts_are_one_text() {
        assert_eq!(hmac_sha256(b"k", &[b"ab", b"", b"c"]), hmac_sha256(b"k", &[b"abc"]));
    }
}
