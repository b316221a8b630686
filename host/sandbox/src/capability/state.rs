//! The key-value space of a plugin in a tenant. No grant gives it yet, so every operation says so.

use crate::bindings::vivarium::plugin::state as wit;
use crate::guest::Guest;

fn denied<T>() -> Result<T, wit::StateError> {
    Err(wit::StateError::Denied("no grant of this host includes state".to_owned()))
}

impl wit::Host for Guest {
    async fn get(&mut self, _key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, wit::StateError>> {
        self.count_host_call()?;
        Ok(denied())
    }

    async fn set(&mut self, _key: String, _value: Vec<u8>) -> wasmtime::Result<Result<(), wit::StateError>> {
        self.count_host_call()?;
        Ok(denied())
    }

    async fn delete(&mut self, _key: String) -> wasmtime::Result<Result<(), wit::StateError>> {
        self.count_host_call()?;
        Ok(denied())
    }

    async fn list(
        &mut self,
        _prefix: String,
        _max_keys: u32,
    ) -> wasmtime::Result<Result<Vec<String>, wit::StateError>> {
        self.count_host_call()?;
        Ok(denied())
    }
}
