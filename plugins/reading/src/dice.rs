//! The library that reads PDF files can also encrypt them, and for that it links a source of randomness. Reading needs
//! none, and this plugin is given none.

/// What the library `getrandom` calls on a target that has no randomness of its own.
#[expect(unsafe_code, reason = "`getrandom` finds its custom backend by this name, and defines its signature")]
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(_to: *mut u8, _bytes: usize) -> Result<(), getrandom::Error> {
    Err(getrandom::Error::UNSUPPORTED)
}
