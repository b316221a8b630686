//! Lines for the operator's log: [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
//! [`error!`](crate::error) take what `format!` takes.

/// How much a line matters.
pub use crate::bindings::mode::vivarium::plugin::log::Level;

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::mode::vivarium::plugin::log::write(level, message);
    // Outside of a host there is nobody to read it but the person who runs the tests.
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{level:?}: {message}");
    }
}

/// Makes a panic leave its message in the operator's log before the instance ends. The `export_…!` macros do this.
#[doc(hidden)]
pub fn report_panics() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| write(Level::Error, &panic.to_string())));
}

/// Writes a line for the plugin's author.
#[macro_export]
macro_rules! debug {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Debug, &format!($($part)+)) };
}

/// Writes a line that is worth knowing.
#[macro_export]
macro_rules! info {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Info, &format!($($part)+)) };
}

/// Writes that something went wrong and was dealt with.
#[macro_export]
macro_rules! warn {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Warn, &format!($($part)+)) };
}

/// Writes that something went wrong.
#[macro_export]
macro_rules! error {
    ($($part:tt)+) => { $crate::log::write($crate::log::Level::Error, &format!($($part)+)) };
}
