//! Signatures, as the Standard Webhooks specification has them (<https://www.standardwebhooks.com>), so that a receiver can use
//! one of its libraries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vivarium_domain::hmac_sha256;

/// What `webhook-signature` holds for a message.
#[must_use]
pub fn signature(key: &[u8; 32], id: &str, timestamp: i64, body: &[u8]) -> String {
    let code = hmac_sha256(key, &[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(code))
}

/// A key as a receiver is given it.
#[must_use]
pub fn secret_text(key: &[u8; 32]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        // From the reference implementations' tests, whose secret of 24 bytes is filled up with zeros, as HMAC itself does.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut key = [0; 32];
        key[..secret.len()].copy_from_slice(&secret);
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_marked_as_one() {
        assert_eq!(secret_text(&[0; 32]), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }
}
