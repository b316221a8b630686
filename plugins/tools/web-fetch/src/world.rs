//! What a fetch needs of the world: requests, the time, a little memory between calls. The host gives them, or a test.

use vivarium_sdk::http::{Client, HttpError, Live, Request, Response};
use vivarium_sdk::tool::{settings, state};

/// The world around a fetch.
pub(crate) trait World: Client {
    /// Milliseconds since 1970.
    fn now_ms(&mut self) -> u64;
    /// Waits.
    fn sleep_ms(&mut self, ms: u64);
    /// What an operator has set.
    fn setting(&mut self, name: &str) -> Option<String>;
    /// What an earlier call of this tenant has kept.
    fn get(&mut self, key: &str) -> Option<Vec<u8>>;
    /// Keeps something for later calls; false where there is no room for it, or no memory at all.
    fn set(&mut self, key: &str, value: Vec<u8>) -> bool;
    /// Forgets something.
    fn delete(&mut self, key: &str);
    /// The keys that begin so, at most a thousand.
    fn list(&mut self, prefix: &str) -> Vec<String>;
}

/// The host. Without a grant of state nothing is kept between calls, and everything else goes on.
pub(crate) struct Host;

impl Client for Host {
    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        Live.send(request)
    }
}

impl World for Host {
    fn now_ms(&mut self) -> u64 {
        vivarium_sdk::clock::now_ms()
    }

    fn sleep_ms(&mut self, ms: u64) {
        vivarium_sdk::clock::sleep_ms(ms);
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        settings::get(name)
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        state::get(key).ok().flatten()
    }

    fn set(&mut self, key: &str, value: Vec<u8>) -> bool {
        state::set(key, &value).is_ok()
    }

    fn delete(&mut self, key: &str) {
        // What can not be removed is removed when room is needed again.
        let _ = state::delete(key);
    }

    fn list(&mut self, prefix: &str) -> Vec<String> {
        state::list(prefix, 1000).unwrap_or_default()
    }
}

/// A short name for a long key: FNV-1a in 128 bits. It is no secret, and what is kept under it names what it is.
pub(crate) fn short(text: &str) -> String {
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("{hash:032x}")
}
