//! Whether the engine works: makes an instance of the smallest component there is.

use wasmtime::component::{Component, Linker};
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::plugin::Sandbox;

/// A component with nothing in it.
const NOTHING: [u8; 8] = *b"\0asm\x0d\0\x01\0";

impl Sandbox {
    /// Makes an instance of a component with nothing in it. A pool that is full is one that works.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn check(&self) -> Result<(), String> {
        let engine = self.engine();
        let component = Component::new(engine, NOTHING).map_err(|error| format!("{error:#}"))?;
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        match Linker::new(engine).instantiate_async(&mut store, &component).await {
            Ok(_) => Ok(()),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => Ok(()),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}
